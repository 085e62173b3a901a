import { validator } from "hono-openapi";
import type { ValidationTargets } from "hono";
import * as v from "valibot";
import { Problem } from "../problem.ts";
import { refuseContentCoding } from "./request.ts";

type Schema = v.GenericSchema | v.GenericSchemaAsync;
type Issue = { message: string; path?: readonly (PropertyKey | { key: PropertyKey })[] | undefined };

const JSON_TYPE = /^application\/(merge-patch\+)?json\s*(;|$)/i;
const OTHER_CHARSET = /;\s*charset\s*=\s*"?(?!utf-8"?\s*(;|$))/i;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/**
 * Parses one part of the request. A path that cannot name anything is `not_found`, a header that is not well formed
 * `invalid_header`, the rest `invalid_input`: also a query parameter that the schema does not name, and a body that
 * is an array where the schema does not say so.
 */
export function valid<Target extends keyof ValidationTargets, S extends Schema>(target: Target, schema: S) {
  const checked = validator(target, schema, (result) => {
    if (target === "query") refuse(unknownNames(schema, result.data));
    if (result.success) return;
    if (target === "param") throw new Problem("not_found");
    refuse(
      result.error.map((issue: Issue) => ({ pointer: pointerTo(issue), detail: issue.message })),
      target === "header" ? "invalid_header" : "invalid_input",
    );
  });
  if (target !== "json") return checked;

  const strictly: typeof checked = async (c, next) => {
    const body = await readJson(c.req.raw);
    if (Array.isArray(body) && schema.type !== "array")
      refuse([{ pointer: "", detail: "Invalid type: Expected Object but received Array" }]);
    // What the validator asks for.
    c.req.json = <T>() => Promise.resolve(body as T);
    return checked(c, next);
  };
  // With what describes the body in /openapi.json.
  return Object.assign(strictly, checked);
}

function refuse(
  errors: { pointer: string; detail: string }[],
  code: "invalid_input" | "invalid_header" = "invalid_input",
): void {
  if (errors.length > 0) throw new Problem(code, { errors });
}

/**
 * The value of a body in JSON; merge patches (RFC 7396) are JSON. Throws `invalid_json`, `unsupported_media_type` when
 * the request does not say that it is JSON in UTF-8, or `invalid_input` for text that Postgres cannot hold.
 */
async function readJson(request: Request): Promise<unknown> {
  if (!request.body) throw new Problem("invalid_json", { detail: "The request has no body, and needs one." });
  refuseContentCoding(request.headers);
  const type = request.headers.get("content-type") ?? "";
  if (!JSON_TYPE.test(type) || OTHER_CHARSET.test(type)) {
    const isPatch = request.method === "PATCH";
    throw new Problem("unsupported_media_type", {
      headers: isPatch
        ? { "accept-patch": "application/merge-patch+json, application/json" }
        : { accept: "application/json" },
    });
  }
  const bytes = await request.arrayBuffer();
  let text: string;
  let body: unknown;
  try {
    text = utf8.decode(bytes);
    body = JSON.parse(text);
  } catch (cause) {
    throw new Problem("invalid_json", { cause });
  }
  // JSON can write these two only so.
  if (/\\u(0000|d[89a-f])/i.test(text)) refuse(unfitText(body));
  return body;
}

/** Where a value has text with U+0000 or half of a surrogate pair in it, which no Postgres text can hold. */
function unfitText(body: unknown) {
  const values: [pointer: string, value: unknown][] = [["", body]];
  // Not recursive: a body may be nested as deep as it is long.
  for (const [pointer, value] of values) {
    if (typeof value === "object" && value !== null)
      for (const [name, member] of Object.entries(value))
        values.push([`${pointer}/${escaped(name)}`, member]);
  }
  return values.flatMap(([pointer, value]) =>
    typeof value === "string" && (value.includes("\0") || !value.isWellFormed())
      ? [{ pointer, detail: "Invalid text: U+0000 or half of a surrogate pair" }]
      : [],
  );
}

/** A misspelt filter would otherwise answer the whole list. */
function unknownNames(schema: Schema, query: unknown) {
  const known: unknown = "entries" in schema ? schema.entries : query;
  return Object.keys(Object(query))
    .filter((name) => !Object.hasOwn(Object(known), name))
    .map((name) => ({ pointer: `/${escaped(name)}`, detail: "There is no such query parameter here." }));
}

/** RFC 6901. */
export const pointerTo = ({ path = [] }: Issue): string =>
  path.map((step) => `/${escaped(String(typeof step === "object" ? step.key : step))}`).join("");

const escaped = (key: string) => key.replaceAll("~", "~0").replaceAll("/", "~1");

/** A path parameter that names a row. */
export const ById = v.object({ id: v.pipe(v.string(), v.uuid()) });
