import { addGlobalDefs } from "@valibot/to-json-schema";
import { describeRoute, resolver } from "hono-openapi";
import type * as v from "valibot";
import { type Scope, API_KEY_SCOPES } from "../authority.ts";
import type { ProblemCode } from "../problem.ts";
import type { TAGS } from "./parts.ts";

/** A schema of JSON, the media types of text, or null for no body. */
type Answer = v.GenericSchema | readonly string[] | null;

/** A chapter of the document: one of partywall's by its name, or the product's own. */
export type Tag = { name: string; description: string };

type Operation = {
  summary: string;
  tag: keyof typeof TAGS | Tag;
  /** The operation's name in clients; else one is made of its method and path. */
  id?: string;
  /** One for each status that is no problem. Whoever declares 304 answers an ETag, and heeds If-None-Match. */
  answers: Partial<Record<200 | 201 | 202 | 204 | 304, Answer>>;
  /** Its own problems; document.ts adds those that follow from its method, token, body and parameters. */
  problems?: readonly ProblemCode[];
  /** False for a route that takes no token; else a tenant's, unless it is the operator's. */
  token?: boolean | "operator";
};

/** Where document.ts finds what an operation says of itself. */
export type Described = { "x-problems"?: readonly ProblemCode[]; "x-tag"?: Tag; "x-id"?: string };

/** Describes a route for /openapi.json. */
export function operation({ summary, tag, id, answers, problems = [], token = true }: Operation) {
  const responses = Object.entries(answers).map(([status, answer]) => [
    status,
    { description: summary, ...contentOf(answer) },
  ]);
  const described: Parameters<typeof describeRoute>[0] & Described = {
    summary,
    tags: [typeof tag === "string" ? tag : tag.name],
    ...(typeof tag === "string" ? {} : { "x-tag": tag }),
    ...(id === undefined ? {} : { "x-id": id }),
    ...(token === false ? { security: [] } : {}),
    ...(token === "operator" ? { security: [{ operatorToken: [] }] } : {}),
    "x-problems": problems,
    responses: Object.fromEntries(responses),
  };
  return describeRoute(described);
}

function contentOf(answer: Answer) {
  if (answer === null) return {};
  if ("kind" in answer) return { content: { "application/json": { schema: resolver(answer) } } };
  return { content: Object.fromEntries(answer.map((type) => [type, { schema: { type: "string" } }])) };
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
