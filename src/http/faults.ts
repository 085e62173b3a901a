import type * as v from "valibot";
import type { ProblemDetails } from "../problem.ts";

/** What is wrong with one value of a request. */
export type Fault = NonNullable<ProblemDetails["errors"]>[number];
export type Schema = v.GenericSchema | v.GenericSchemaAsync;

/** So many faults are told of a request at most, and no more are looked for. */
export const MAX_FAULTS = 20;
/** Characters that a fault's pointer, and its detail, may have. */
export const MAX_FAULT_TEXT = 200;
/** Levels that a value may be nested. */
const MAX_DEPTH = 32;

/**
 * What a schema makes of a value, or what is wrong with the value: 20 faults at most, after which the schema looks at
 * nothing more. Also what no schema says: how deep a value may be nested, and that Postgres can hold every text in it.
 */
export async function parse<S extends Schema>(
  schema: S,
  value: unknown,
): Promise<{ output: v.InferOutput<S> } | { faults: Fault[] }> {
  if (isDeeper(value, MAX_DEPTH))
    return { faults: [{ pointer: "", detail: `This is nested deeper than ${MAX_DEPTH} levels.` }] };
  const unfit: Fault[] = [];
  findUnfitText(value, undefined, unfit);
  if (unfit.length > 0) return { faults: unfit.slice(0, MAX_FAULTS) };
  const { issues, value: output } = await schema["~run"]({ value }, stopAfter(MAX_FAULTS));
  return issues
    ? { faults: issues.slice(0, MAX_FAULTS).map(faultOf) }
    : { output: output as v.InferOutput<S> };
}

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === "object" &&
  value !== null &&
  (levels === 0 || Object.values(value).some((member) => isDeeper(member, levels - 1)));

/** The way to a value: its own key, and the way to what it is in. */
type Place = { readonly key: string; readonly in: Place | undefined } | undefined;

/** Adds a fault for each value, and each name, with U+0000 or half of a surrogate pair in it. */
function findUnfitText(value: unknown, place: Place, faults: Fault[]): void {
  if (typeof value === "string" && !isFit(value)) faults.push(unfitText("text", place));
  if (typeof value !== "object" || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    const own = { key, in: place };
    if (!isFit(key)) faults.push(unfitText("name", own));
    findUnfitText(member, own, faults);
    if (faults.length >= MAX_FAULTS) return;
  }
}

const isFit = (text: string) => !text.includes("\0") && text.isWellFormed();

function unfitText(what: "text" | "name", place: Place): Fault {
  const keys: string[] = [];
  for (let at = place; at; at = at.in) keys.unshift(at.key);
  return { pointer: pointerTo(keys), detail: `This ${what} has U+0000 or half of a surrogate pair in it.` };
}

/** Valibot's configuration that has it stop soon after so many issues, and tell of one for each value. */
function stopAfter(max: number): v.Config<v.BaseIssue<unknown>> {
  let found = 0;
  return {
    abortPipeEarly: true,
    // Valibot reads `lang` once for each issue that it makes, and `abortEarly` before it goes on after one.
    get lang() {
      found += 1;
      return undefined;
    },
    get abortEarly() {
      return found >= max;
    },
  };
}

const faultOf = (issue: v.BaseIssue<unknown>): Fault => ({
  pointer: pointerTo((issue.path ?? []).map(({ key }) => String(key))),
  detail: detailOf(issue).slice(0, MAX_FAULT_TEXT),
});

/** What is expected, as a sentence. Never the value itself: it may be long, or a secret. */
function detailOf({ kind, type, expected, message, received, requirement, input }: v.BaseIssue<unknown>) {
  if (expected === "never") return "There is no such member here.";
  // Only of a member that is missing, valibot says the name in place of what is expected.
  if (received === "undefined" && type.endsWith("object")) return "This is missing.";
  // What a schema says itself is a sentence, or a phrase such as "a whole number from 1 to 100".
  if (!message.startsWith("Invalid ")) return /^[A-Z]/.test(message) ? message : `Expected ${message}.`;
  if (kind === "schema") return `Expected ${nounsOf(expected ?? "")}.`;
  const amount = `${amountOf(type)} ${String(requirement ?? 1)}`;
  const unit = `${Array.isArray(input) ? "item" : "character"}${requirement === 1 || type === "non_empty" ? "" : "s"}`;
  if (/^(min_|max_)?length$|^non_empty$/.test(type)) return `Expected ${amount} ${unit}.`;
  if (/^(min|max)_value$/.test(type)) return `Expected ${amount}.`;
  return `Expected ${FORMS[type] ?? "another value"}.`;
}

function amountOf(type: string): string {
  if (type === "length") return "exactly";
  return type.startsWith("max") ? "at most" : "at least";
}

/** What valibot's checks look for. */
const FORMS: Readonly<Record<string, string>> = {
  email: "an email address",
  rfc_email: "an email address",
  integer: "a whole number",
  iso_date: "a date such as 2026-11-30",
  iso_timestamp: "a time such as 2026-11-30T12:00:00Z",
  url: "a URL",
  uuid: "a UUID",
};

const NOUNS: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  boolean: "true or false",
  Object: "an object",
  Array: "an array",
};

/** Valibot's `("a" | "b")` as `"a" or "b"`, and `(string | null)` as `a string or null`. */
function nounsOf(expected: string): string {
  const names = expected.replaceAll(/[()]/g, "").split(" | ");
  const nouns = [...new Set(names.map((name) => NOUNS[name] ?? name))];
  const last = nouns.pop() ?? "";
  return nouns.length > 0 ? `${nouns.join(", ")} or ${last}` : last;
}

/** A JSON pointer (RFC 6901); where it would be longer than 200 characters, it leads to what encloses the value. */
export function pointerTo(keys: readonly string[]): string {
  let pointer = "";
  for (const key of keys) {
    const step = `/${key.slice(0, MAX_FAULT_TEXT).replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (pointer.length + step.length > MAX_FAULT_TEXT) return pointer;
    pointer += step;
  }
  return pointer;
}
