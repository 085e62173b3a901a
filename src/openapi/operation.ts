import { addGlobalDefs } from "@valibot/to-json-schema";
import { describeRoute, resolver } from "hono-openapi";
import type * as v from "valibot";
import { type Scope, API_KEY_SCOPES } from "../authority.ts";
import type { ProblemCode } from "../problem.ts";
import type { TAGS } from "./parts.ts";

/** A schema of JSON, the media types of text (or a schema of JSON among them), or null for no body. */
type Answer = v.GenericSchema | readonly (string | v.GenericSchema)[] | null;

/** A chapter of the document: one of partywall's by its name, or the product's own. */
export type Tag = { name: string; description: string };

type Operation = {
  /** What it does. Of "a; b", b begins the description. */
  summary: string;
  /** What else to know of it, in sentences. Who may call it, and what HTTP adds, document.ts says. */
  description?: string;
  tag: keyof typeof TAGS | Tag;
  /** The row that it answers, with its ETag. A GET then heeds If-None-Match. */
  row?: v.GenericSchema;
  /** The row that it makes and answers, with its ETag and Location. */
  made?: v.GenericSchema;
  /** Other answers that are no problem, by status. Whoever declares 304 answers an ETag, and heeds If-None-Match. */
  answers?: Partial<Record<200 | 201 | 202 | 204 | 206 | 304, Answer>>;
  /** Its own problems; document.ts adds those that follow from its method, token, body and parameters. */
  problems?: readonly ProblemCode[];
  /** False for a route that takes no token; else a tenant's, unless it is the operator's. */
  token?: boolean | "operator";
};

/** What an answer without a body means. */
const EMPTY: Record<string, string> = { 204: "Done", 304: "It has not changed" };

/** Where document.ts finds what an operation says of itself. */
export type Described = {
  "x-problems"?: readonly ProblemCode[];
  "x-tag"?: Tag;
  "x-row"?: boolean;
  /** The role that an operator needs: operatorOnly() says it. */
  "x-operator"?: string;
};

/** Describes a route for /openapi.json. `id` is the operation's name in clients, such as `listProjects`. */
export function operation(
  id: string,
  { summary, description, tag, row, made, answers = {}, problems = [], token = true }: Operation,
) {
  const all: [status: string | number, says: string, Answer][] = [];
  if (row) all.push([200, "The row", row]);
  if (made) all.push([201, "The new row", made]);
  for (const [status, answer] of Object.entries(answers))
    all.push([status, EMPTY[status] ?? summary, answer]);
  const responses = all.map(([status, says, answer]) => [
    status,
    { description: says, ...contentOf(answer) },
  ]);
  const described: Parameters<typeof describeRoute>[0] & Described = {
    operationId: id,
    summary,
    ...(description ? { description } : {}),
    tags: [typeof tag === "string" ? tag : tag.name],
    ...(typeof tag === "string" ? {} : { "x-tag": tag }),
    "x-row": Boolean(row ?? made),
    ...(token === false ? { security: [] } : {}),
    ...(token === "operator" ? { security: [{ operatorToken: [] }] } : {}),
    "x-problems": problems,
    responses: Object.fromEntries(responses),
  };
  return describeRoute(described);
}

function contentOf(answer: Answer) {
  if (answer === null) return {};
  const kinds = "kind" in answer ? [answer] : answer;
  const content = kinds.map((kind) =>
    typeof kind === "string"
      ? [kind, { schema: { type: "string" } }]
      : ["application/json", { schema: resolver(kind) }],
  );
  return { content: Object.fromEntries(content) };
}

/** Describes a route as one that needs this scope, for /openapi.json. */
export function needing(scope: Scope) {
  const keyMayHaveIt = API_KEY_SCOPES.some((known) => known === scope);
  return describeRoute({
    security: [{ accessToken: [scope] }, ...(keyMayHaveIt ? [{ apiKey: [scope] }] : [])],
  });
}

/** Names schemas for /openapi.json, and so the types of its clients: such as `nameSchemas({ Project, NewProject })`. */
export const nameSchemas: (schemas: Record<string, v.GenericSchema>) => void = addGlobalDefs;
