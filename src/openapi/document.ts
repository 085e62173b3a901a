import { createHash } from "node:crypto";
import type { Hono } from "hono";
import { generateSpecs } from "hono-openapi";
import * as v from "valibot";
import { factory, type Edge } from "../context.ts";
import { settings } from "../env.ts";
import { PROBLEMS, type ProblemCode } from "../problem.ts";
import {
  EXAMPLES,
  HEADERS,
  INFO,
  introduction,
  LENGTHS,
  PARAMETERS,
  PROBLEM,
  SECURITY_SCHEMES,
  TAGS,
  TEXTS,
  type Header,
  type Parameter,
  type Schema,
} from "./parts.ts";
import { isKnown } from "../http/etag.ts";
import { partFor, type Audience } from "./audience.ts";
import { exampleOf } from "./examples.ts";
import { operation, type Described, type Tag } from "./operation.ts";
import { describeRules } from "./wording.ts";

type Ref = { $ref: string };
type Content = Record<string, { schema: Schema; example?: unknown }>;
type Answer = { description: string; headers?: Record<string, Header | Ref>; content?: Content };
type Operation = Described & {
  operationId: string;
  summary: string;
  description?: string;
  tags: string[];
  security?: Record<string, string[]>[];
  parameters?: (Parameter | Ref)[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, Answer | Ref>;
};
type Method = "get" | "post" | "put" | "patch" | "delete";
type Route = { path: string; method: Method; operation: Operation };

/** What any route with a token may answer, whatever it does: its tenant's object, or its host, may refuse it. */
const WITH_TOKEN: ProblemCode[] = [
  "cost_above_limit",
  "unauthenticated",
  "insufficient_scope",
  "wrong_host",
  "tenant_read_only",
  "tenant_suspended",
  "tenant_closing",
  "tenant_erasing",
  "not_found",
  "quota_exceeded",
  "too_many_attempts",
  "unavailable",
];
const WITHOUT_TOKEN: ProblemCode[] = ["too_many_attempts", "unavailable"];
const FOR_OPERATORS: ProblemCode[] = [...WITHOUT_TOKEN, "unauthenticated", "insufficient_scope"];
const WITH_BODY: ProblemCode[] = ["body_timeout", "body_too_large", "unsupported_media_type"];
const WITH_JSON: ProblemCode[] = ["invalid_json", "invalid_input"];
/** What a change answers that takes no Idempotency-Key. */
const WITHOUT_KEY: ProblemCode[] = ["idempotency_key_unsupported"];
/** What follows from a parameter's place, or its name. */
const WITH_PARAMETER: Record<string, ProblemCode> = {
  query: "invalid_input",
  path: "not_found",
  header: "invalid_header",
  cursor: "invalid_cursor",
};

/**
 * Answers the OpenAPI 3.1 document of the app's routes that are for everybody, or for operators. It is the same until the
 * next deploy, and made once.
 */
export function describeApi(app: () => Hono<Edge>, audience: Audience) {
  let made: { json: string; tag: string } | undefined;
  const isPublic = audience === "everybody";
  return factory.createHandlers(
    operation(isPublic ? "getOpenapiJson" : "getOperatorOpenapiJson", {
      summary: isPublic ? "This document" : "The OpenAPI document of the operators' routes",
      tag: isPublic ? "Platform" : "Operator",
      answers: { 200: v.record(v.string(), v.unknown()), 304: null },
      token: isPublic ? false : "operator",
    }),
    async (c) => {
      made ??= tagged(JSON.stringify(partFor(audience, JSON.parse(await documentOf(app())))));
      c.header("Cache-Control", isPublic ? "public, max-age=300" : "private, no-cache");
      c.header("ETag", made.tag);
      if (isKnown(c, made.tag)) return c.body(null, 304);
      c.header("Content-Type", "application/json");
      return c.body(made.json);
    },
  );
}

const tagged = (json: string) => ({
  json,
  tag: `"${createHash("sha256").update(json).digest("base64url")}"`,
});

/** What each route says of itself, for everybody and for operators, and what holds for all of them, said of each by rule; as JSON. */
export async function documentOf(app: Hono<Edge>): Promise<string> {
  const generated: unknown = await generateSpecs(app, {
    excludeStaticFile: false,
    defaultValidationErrorResponse: false,
  });
  // As JSON: the library's types say less of it than those here.
  const { paths, components } = generated as {
    paths: Record<string, Record<Method, Operation>>;
    components: { schemas: Record<string, Schema> };
  };
  const routes: Route[] = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, described]) => ({
      path,
      method: method as Method,
      operation: described,
    })),
  );
  const shared: Shared = { parameters: {}, responses: {} };
  const tags = tagsOf(routes);
  for (const route of routes) {
    const { method, operation: described } = route;
    const isRow = described["x-row"] === true;
    delete described["x-row"];
    if (isRow && method === "get") described.responses["304"] = { description: "It has not changed" };
    describeSecurity(route);
    describeInWords(route, isRow);
    describeProblems(route, shared);
    describeParameters(described, shared);
    describeHeaders(described, isRow);
    if (method === "patch") describeMergePatch(described);
    if (method === "post") describeMissingBody(described, components.schemas);
  }
  const schemas = { ...components.schemas, Problem: PROBLEM };
  const document = {
    openapi: "3.1.0",
    info: {
      title: settings.API_NAME,
      ...INFO,
      description: introduction(settings.ISSUER),
      contact: { name: settings.API_NAME },
    },
    servers: [{ url: "/", description: "Where this document is", "x-internal": false }],
    tags,
    paths,
    components: { schemas, ...shared, headers: HEADERS, securitySchemes: SECURITY_SCHEMES },
  };
  describeValues(document);
  describeExamples(routes, schemas);
  return JSON.stringify(document).replaceAll("#/$defs/", "#/components/schemas/");
}

/** The chapters: partywall's, and before the last two of them those that the product's routes bring. */
function tagsOf(routes: Route[]): Tag[] {
  const own = new Map<string, Tag>();
  for (const { operation: described } of routes) {
    const tag = described["x-tag"];
    delete described["x-tag"];
    if (tag) own.set(tag.name, tag);
  }
  const known = Object.entries(TAGS).map(([name, description]) => ({ name, description }));
  return [...known.slice(0, -2), ...own.values(), ...known.slice(-2)];
}

type Shared = { parameters: Record<string, Parameter>; responses: Record<string, Answer> };

const ref = (kind: string, name: string): Ref => ({ $ref: `#/components/${kind}/${name}` });

/** What a summary says after its semicolon is the beginning of the description. */
function describeInWords({ method, operation: described }: Route, isRow: boolean): void {
  const { description, security = [], parameters = [], responses } = described;
  const [summary = "", ...more] = described.summary.replace(" (merge patch)", "").split("; ");
  described.summary = summary;
  const rules = describeRules({
    security,
    parameters: new Set(parameters.flatMap((given) => ("name" in given ? [given.name] : []))),
    isPatch: method === "patch",
    isCached: (isRow && method === "get") || responses["304"] !== undefined,
    stepsUp: described["x-problems"]?.includes("step_up_required") ?? false,
  });
  const sentences = more.map((part) => `${part.charAt(0).toUpperCase()}${part.slice(1)}.`);
  described.description = [...sentences, ...(description ? [description] : []), rules].join(" ");
}

/** An example of each named schema, which operations inherit, and of what bodies have that is not named. */
function describeExamples(routes: Route[], schemas: Record<string, Schema>): void {
  for (const [name, schema] of Object.entries(schemas)) {
    const { only, with: own } = EXAMPLES[name] ?? {};
    const given = Object.entries({ ...Object(exampleOf(schema, schemas)), ...own });
    schema["examples"] ??= [Object.fromEntries(given.filter(([member]) => only?.includes(member) ?? true))];
  }
  for (const { operation: described } of routes) {
    const bodies = [described.requestBody, ...Object.values(described.responses)];
    for (const body of bodies)
      for (const [type, media] of Object.entries((body && "content" in body && body.content) || {}))
        if (!("$ref" in media.schema) && /json|form/.test(type))
          media.example = exampleOf(media.schema, schemas);
  }
}

function describeSecurity({ operation: described }: Route): void {
  const role = described["x-operator"];
  delete described["x-operator"];
  described.security ??= [{ accessToken: [] }, { apiKey: [] }];
  // OpenAPI 3.1 has room for a role's name here.
  if (role !== undefined) described.security = [{ operatorToken: [role] }];
}

const isOperators = ({ security = [] }: Operation) => security.some((scheme) => "operatorToken" in scheme);

const isTenants = ({ security = [] }: Operation) => security.some((scheme) => "accessToken" in scheme);

/** All the problems that a route may answer; those of the same status are one response, shared by all that have it. */
function describeProblems({ method, operation: described }: Route, { responses }: Shared): void {
  const { parameters = [], requestBody } = described;
  const places = parameters.flatMap((parameter) =>
    "name" in parameter ? [parameter.in, parameter.name] : [],
  );
  const codes = new Set<ProblemCode>([
    ...(described["x-problems"] ?? []),
    ...(isTenants(described) ? WITH_TOKEN : isOperators(described) ? FOR_OPERATORS : WITHOUT_TOKEN),
    ...(requestBody ? WITH_BODY : []),
    ...(requestBody?.content["application/json"] ? WITH_JSON : []),
    ...places.flatMap((place) => WITH_PARAMETER[place] ?? []),
    ...(method === "get" || places.includes("idempotency-key") ? [] : WITHOUT_KEY),
    "internal",
  ]);
  delete described["x-problems"];
  const known = Object.keys(PROBLEMS) as ProblemCode[];
  const statuses = Map.groupBy(
    known.filter((code) => codes.has(code)),
    (code) => PROBLEMS[code].status,
  );
  for (const [status, alike] of statuses) {
    const name = alike.join(".");
    responses[name] = {
      description: alike.map((code) => `${PROBLEMS[code].title} (\`${code}\`)`).join("; "),
      headers: {
        "X-Request-Id": ref("headers", "X-Request-Id"),
        RateLimit: ref("headers", "RateLimit"),
        "RateLimit-Policy": ref("headers", "RateLimit-Policy"),
        ...(status === 401 ? { "WWW-Authenticate": ref("headers", "WWW-Authenticate") } : {}),
        ...(status === 429 ? { "Retry-After": ref("headers", "Retry-After") } : {}),
        ...(status === 403
          ? { "WWW-Authenticate": { ...HEADERS["WWW-Authenticate"], required: false } }
          : {}),
        ...(status === 409 || status === 503
          ? { "Retry-After": { ...HEADERS["Retry-After"], required: false } }
          : {}),
      },
      content: {
        "application/problem+json": {
          schema: {
            allOf: [
              ref("schemas", "Problem"),
              { properties: { type: { enum: alike.map(typeOf) }, status: { const: status } } },
            ],
          },
        },
      },
    };
    described.responses[status] = ref("responses", name);
  }
}

function typeOf(code: ProblemCode): string {
  const problem = PROBLEMS[code];
  return "type" in problem ? problem.type : `/problems/${code}`;
}

/** Parameters by the names that HTTP has for them; one that several routes take is described once. */
function describeParameters(described: Operation, { parameters: shared }: Shared): void {
  const given = described.parameters ?? [];
  if (described.responses["304"])
    given.push({ in: "header", name: "if-none-match", schema: { type: "string" } });
  if (given.length === 0) return;
  described.parameters = given.map((parameter) => {
    if ("$ref" in parameter) return parameter;
    const name =
      parameter.in === "header"
        ? parameter.name.replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase())
        : parameter.name;
    const known = PARAMETERS[name];
    const whole = { ...parameter, name, ...known, schema: { ...parameter.schema, ...known?.schema } };
    if (!(name in PARAMETERS)) return whole;
    const first = (shared[name] ??= whole);
    return JSON.stringify(first) === JSON.stringify(whole) ? ref("parameters", name) : whole;
  });
}

/** The headers of an answer that is no problem. */
function describeHeaders(described: Operation, isRow: boolean): void {
  const { parameters = [], responses } = described;
  const mayRepeat = parameters.some((given) => "$ref" in given && given.$ref.endsWith("/Idempotency-Key"));
  for (const [status, answer] of Object.entries(responses)) {
    if ("$ref" in answer) continue;
    const present: Partial<Record<keyof typeof HEADERS, boolean>> = {
      "X-Request-Id": true,
      RateLimit: isTenants(described),
      "RateLimit-Policy": isTenants(described),
      ETag: (isRow && status !== "204") || responses["304"] !== undefined,
      Location: isRow && status === "201",
      "Idempotency-Replayed": mayRepeat && status === "201",
    };
    answer.headers = Object.fromEntries(
      Object.entries(present).flatMap(([name, is]) => (is ? [[name, ref("headers", name)]] : [])),
    );
  }
}

function describeMergePatch({ requestBody }: Operation): void {
  const json = requestBody?.content["application/json"];
  if (json) requestBody.content["application/merge-patch+json"] = json;
}

/** valid() takes a POST without a body for one of `{}` where no member is required. */
function describeMissingBody({ requestBody }: Operation, schemas: Record<string, Schema>): void {
  const json = requestBody?.content["application/json"]?.schema;
  if (!json) return;
  const schema = schemas[String(json["$ref"]).replace(/^.*\//, "")] ?? json;
  if (schema["type"] === "object" && Object(schema["required"]).length === 0) requestBody.required = false;
}

/** Says of every text what it is and looks like, by the name of the member that holds it, and of every number its size. */
function describeValues(value: unknown, name = ""): void {
  if (typeof value !== "object" || value === null) return;
  const schema = value as Schema;
  if (schema["type"] === "string" && !("enum" in schema) && !("const" in schema) && !("pattern" in schema))
    Object.assign(schema, { ...TEXTS.find(([pattern]) => pattern.test(name))?.[1], ...schema });
  const length = LENGTHS[String(schema["format"])];
  if (length !== undefined) schema["maxLength"] ??= length;
  if (schema["type"] === "integer")
    schema["format"] ??= Number(schema["maximum"]) < 2 ** 31 ? "int32" : "int64";
  // That of null, not of a member that is not there.
  if ("anyOf" in schema) delete schema["default"];
  for (const [keyword, part] of Object.entries(schema)) {
    if (keyword === "properties")
      for (const [member, of] of Object.entries(Object(part))) describeValues(of, member);
    else if (keyword === "anyOf" && Array.isArray(part)) for (const of of part) describeValues(of, name);
    else if (keyword !== "examples") describeValues(part);
  }
}
