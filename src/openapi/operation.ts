import { addGlobalDefs } from "@valibot/to-json-schema";
import { describeRoute, resolver } from "hono-openapi";
import type * as v from "valibot";
import { type Scope, API_KEY_SCOPES } from "../authority.ts";
import type { ProblemCode } from "../problem.ts";

/** A schema of JSON, the media types of text, or null for no body. */
type Answer = v.GenericSchema | readonly string[] | null;

type Operation = {
  summary: string;
  tag: string;
  /** One for each status that is no problem. Whoever declares 304 answers an ETag, and heeds If-None-Match. */
  answers: Partial<Record<200 | 201 | 202 | 204 | 304, Answer>>;
  /** Its own problems; document.ts adds those that follow from its method, token, body and parameters. */
  problems?: readonly ProblemCode[];
  /** False for a route that takes no token. */
  token?: boolean;
};

/** What document.ts finds an operation's own problems under. */
export type Described = { "x-problems"?: readonly ProblemCode[] };

/** Describes a route for /openapi.json. */
export function operation({ summary, tag, answers, problems = [], token = true }: Operation) {
  const responses = Object.entries(answers).map(([status, answer]) => [
    status,
    { description: summary, ...contentOf(answer) },
  ]);
  const described: Parameters<typeof describeRoute>[0] & Described = {
    summary,
    tags: [tag],
    ...(token ? {} : { security: [] }),
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
