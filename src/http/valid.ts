import type { Context, ValidationTargets } from "hono";
import { validator } from "hono-openapi";
import * as v from "valibot";
import { Problem } from "../problem.ts";
import { hasNoBytes, readBody } from "./body.ts";
import { MAX_FAULTS, parse, pointerTo, type Fault, type Schema } from "./faults.ts";
import { Uuid } from "../values.ts";

const FORM = "application/x-www-form-urlencoded";
const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(;|$)/i;
const JSON_TYPE = /^application\/(merge-patch\+)?json\s*(;|$)/i;
const OTHER_CHARSET = /;\s*charset\s*=\s*"?(?!utf-8"?\s*(;|$))/i;
/** Valibot's types of members that may be missing. */
const MAY_BE_MISSING = /^(exact_optional|optional|nullish)$/;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** What is read of a request, each in its way, and the problem of one that is not valid. */
const PARTS = {
  json: { read: readJson, problem: "invalid_input" },
  form: { read: readForm, problem: "invalid_input" },
  query: { read: (c) => parametersOf(new URL(c.req.url).searchParams), problem: "invalid_input" },
  header: { read: readHeaders, problem: "invalid_header" },
  param: { read: (c) => c.req.param(), problem: "not_found" },
} as const satisfies Partial<Record<keyof ValidationTargets, Part>>;
type Part = {
  read: (c: Context, schema: Schema) => unknown;
  problem: "invalid_input" | "invalid_header" | "not_found";
};

/**
 * Parses one part of the request. A path that cannot name anything is `not_found`, a header that is not well formed
 * `invalid_header`, the rest `invalid_input`, or what `problemOf` makes of it: also a query parameter that the schema
 * does not name, and a body that is an array where the schema does not say so. No body is what an optional schema says, and
 * of a POST whose schema requires no member the same as `{}`.
 * What parses headers says which: `heeds`, for heededKeys().
 */
export function valid<Target extends keyof typeof PARTS, S extends Schema>(
  target: Target,
  schema: S,
  problemOf?: (errors: Fault[], given: unknown) => Problem,
) {
  // For /openapi.json alone: what it would read and say itself has no bounds.
  const described = validator(target, schema, undefined, target === "form" ? { media: FORM } : undefined);
  const { read, problem }: Part = PARTS[target];
  const checked: typeof described = async (c, next) => {
    const given = await read(c, schema);
    // The body is read once; whoever asks for it again gets this.
    if (target === "json") c.req.json = <T>() => Promise.resolve(given as T);
    const misplaced = target === "query" ? unknownNames(schema, given) : misplacedArray(schema, given);
    const parsed = misplaced.length > 0 ? { faults: misplaced } : await parse(schema, given);
    if ("faults" in parsed) {
      const { faults } = parsed;
      throw (
        problemOf?.(faults, given) ?? new Problem(problem, problem === "not_found" ? {} : { errors: faults })
      );
    }
    c.req.addValidatedData(target, parsed.output as object);
    await next();
  };
  return Object.assign(checked, described, target === "header" && { heeds: Object.keys(entriesOf(schema)) });
}

/**
 * The value of a body in JSON; merge patches (RFC 7396) are JSON. Throws `invalid_json`, or `unsupported_media_type` when
 * the request does not say that it is JSON in UTF-8.
 */
async function readJson(c: Context, schema: Schema): Promise<unknown> {
  const { headers, method } = c.req.raw;
  const type = headers.get("content-type") ?? "";
  const isJson = JSON_TYPE.test(type) && !OTHER_CHARSET.test(type);
  if (!isJson && !(await hasNoBytes(c)))
    throw new Problem("unsupported_media_type", {
      headers:
        method === "PATCH"
          ? { "accept-patch": "application/merge-patch+json, application/json" }
          : { accept: "application/json" },
    });
  const bytes = isJson ? await readBody(c) : new Uint8Array();
  if (bytes.length === 0) {
    if (schema.type === "optional") return undefined;
    if (method === "POST" && requiresNothing(schema)) return {};
    throw new Problem("invalid_json", { detail: "The request has no body, and needs one." });
  }
  try {
    return JSON.parse(utf8.decode(bytes)) as unknown;
  } catch (cause) {
    throw new Problem("invalid_json", { cause });
  }
}

const requiresNothing = (schema: Schema): boolean =>
  "entries" in schema &&
  Object.values(entriesOf(schema)).every((entry: Schema) => MAY_BE_MISSING.test(entry.type));

/** The parameters of a form; none when there is no body. */
async function readForm(c: Context): Promise<Parameters> {
  const { body, headers } = c.req.raw;
  if (body && !FORM_TYPE.test(headers.get("content-type") ?? ""))
    throw new Problem("unsupported_media_type", {
      detail: `Send a form, with Content-Type: ${FORM}.`,
      headers: { accept: FORM },
    });
  return parametersOf(new URLSearchParams(Buffer.from(await readBody(c)).toString()));
}

/** Parameters by name; of one that was given several times, all its values. */
type Parameters = Record<string, string | string[]>;

function parametersOf(given: URLSearchParams): Parameters {
  const parameters = Object.create(null) as Parameters;
  for (const [name, value] of given) {
    const others = parameters[name];
    if (others === undefined) parameters[name] = value;
    else if (Array.isArray(others)) others.push(value);
    else parameters[name] = [others, value];
  }
  return parameters;
}

/** The headers that the schema names. */
function readHeaders(c: Context, schema: Schema): Parameters {
  const parameters = Object.create(null) as Parameters;
  for (const name of Object.keys(entriesOf(schema))) {
    const value = c.req.header(name);
    if (value !== undefined) parameters[name] = value;
  }
  return parameters;
}

const entriesOf = (schema: Schema): object => ("entries" in schema ? Object(schema.entries) : {});

/** A misspelt filter would otherwise answer the whole list. */
function unknownNames(schema: Schema, query: unknown): Fault[] {
  const known = entriesOf(schema);
  return Object.keys(Object(query))
    .filter((name) => !Object.hasOwn(known, name))
    .slice(0, MAX_FAULTS)
    .map((name) => ({ pointer: pointerTo([name]), detail: "There is no such query parameter here." }));
}

/** Valibot takes an array for an object. */
const misplacedArray = (schema: Schema, body: unknown): Fault[] =>
  Array.isArray(body) && schema.type !== "array" ? [{ pointer: "", detail: "Expected an object." }] : [];

/** A path parameter that names a row. */
export const ById = v.object({ id: Uuid });
