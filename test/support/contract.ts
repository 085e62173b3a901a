import { Validator, type Schema } from "@cfworker/json-schema";
import { app } from "../../src/app.ts";
import { documentOf } from "../../src/openapi/document.ts";

type Header = { required?: boolean; schema: Schema };
type Answer = { headers?: Record<string, Header>; content?: Record<string, { schema: Schema }> };
export type Parameter = { in: "path" | "query" | "header"; name: string; required?: boolean; schema: Schema };
type Operation = {
  operationId: string;
  security: Record<string, string[]>[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, { schema: Schema }> };
  responses: Record<string, Answer>;
};
export type Route = Operation & { method: string; path: string };

/** Headers that mean something to clients: one that is answered is to be documented. */
const TELLING = [
  "ETag",
  "Location",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "WWW-Authenticate",
  "Idempotency-Replayed",
];

let routes: Promise<Route[]> | undefined;

/** Every operation of /openapi.json, with what it refers to put in. */
export const documented = (): Promise<Route[]> => (routes ??= readRoutes());

async function readRoutes(): Promise<Route[]> {
  const document: unknown = JSON.parse(await documentOf(app));
  const { paths } = resolve(document, document) as { paths: Record<string, Record<string, Operation>> };
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
  );
}

/** A value with each `$ref` replaced by what it points at; no schema here contains itself. */
function resolve(value: unknown, root: unknown): unknown {
  if (Array.isArray(value)) return value.map((part) => resolve(part, root));
  if (typeof value !== "object" || value === null) return value;
  if ("$ref" in value) {
    const steps = String(value.$ref).slice("#/".length).split("/");
    return resolve(
      steps.reduce((at: unknown, step) => Object(at)[step.replaceAll("~1", "/")], root),
      root,
    );
  }
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, resolve(part, root)]));
}

/** The operation behind this method and path; undefined where there is none, which the document leaves unsaid. */
async function find(method: string, path: string): Promise<Route | undefined> {
  const of = method === "HEAD" ? "GET" : method;
  const [pathname = ""] = path.split("?");
  return (await documented())
    .filter((route) => route.method === of && shapeOf(route).test(pathname))
    .sort((a, b) => a.path.split("{").length - b.path.split("{").length)[0];
}

const shapes = new WeakMap<Route, RegExp>();
function shapeOf(route: Route): RegExp {
  let shape = shapes.get(route);
  if (!shape)
    shapes.set(
      route,
      (shape = new RegExp(`^${route.path.replaceAll(/[.]/g, "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`)),
    );
  return shape;
}

/** Throws, naming route, status and place, when the Worker answers something that /openapi.json does not say. */
export async function checkDocumented(method: string, path: string, response: Response): Promise<void> {
  const route = await find(method, path);
  if (!route) return;
  const fault = await faultIn(route, method, response);
  if (fault)
    throw new Error(
      `${method} ${route.path} answered ${response.status}, not as /openapi.json says: ${fault}`,
    );
}

async function faultIn(route: Route, method: string, response: Response): Promise<string | undefined> {
  const answer = route.responses[response.status];
  if (!answer) return `the status is not documented. ${await response.clone().text()}`;
  const { headers = {}, content } = answer;
  for (const [name, { required, schema }] of Object.entries(headers)) {
    const value = response.headers.get(name);
    if (value === null && required) return `the header ${name} is missing`;
    const fault = value !== null && faultOf(schema, schema["type"] === "integer" ? Number(value) : value);
    if (fault) return `the header ${name} is ${value}: ${fault}`;
  }
  const extra = TELLING.find((name) => response.headers.has(name) && !(name in headers));
  if (extra) return `the header ${extra} is not documented`;

  const isText = !/^application\/zip$/.test(response.headers.get("content-type") ?? "");
  const body = isText ? await response.clone().text() : "bytes";
  if (!content || method === "HEAD") return body === "" ? undefined : `there is a body: ${body}`;
  const [type = ""] = (response.headers.get("content-type") ?? "").split(";");
  const media = content[type];
  if (!media) return `the content type ${type} is not documented`;
  if (!type.endsWith("json")) return undefined;
  const fault = faultOf(media.schema, JSON.parse(body));
  return fault && `${fault} in ${body}`;
}

const validators = new WeakMap<Schema, Validator>();

/** What is not valid, and where; also a member that the schema does not name. */
function faultOf(schema: Schema, value: unknown): string | undefined {
  let validator = validators.get(schema);
  if (!validator) validators.set(schema, (validator = new Validator(closed(schema), "2020-12", false)));
  const { valid, errors } = validator.validate(value);
  if (valid) return undefined;
  const deepest = errors.sort((a, b) => b.instanceLocation.length - a.instanceLocation.length)[0];
  return deepest && `${deepest.instanceLocation}: ${deepest.error}`;
}

/** The schema with no members allowed but those that it names: it leaves clients room, and the Worker none. */
function closed(schema: Schema, isPart = false): Schema {
  const each = (part: unknown): unknown =>
    Array.isArray(part) ? part.map(each) : typeof part === "object" && part !== null ? closed(part) : part;
  const whole: Schema = Object.fromEntries(
    Object.entries(schema).map(([keyword, part]: [string, unknown]) => {
      if (keyword === "properties")
        return [
          keyword,
          Object.fromEntries(Object.entries(Object(part)).map(([name, of]) => [name, each(of)])),
        ];
      if (keyword === "allOf") return [keyword, (part as Schema[]).map((of) => closed(of, true))];
      return [keyword, ["enum", "const", "examples"].includes(keyword) ? part : each(part)];
    }),
  );
  const isObject = "properties" in schema || "allOf" in schema;
  return isObject && !isPart && !("additionalProperties" in schema)
    ? { ...whole, unevaluatedProperties: false }
    : whole;
}
