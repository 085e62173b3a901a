import { describeRoute, resolver } from "hono-openapi";
import * as v from "valibot";
import { PROBLEMS, type ProblemCode } from "../problem.ts";

const ProblemDocument = v.object({
  type: v.string(),
  title: v.string(),
  status: v.number(),
  detail: v.string(),
  instance: v.string(),
  errors: v.optional(v.array(v.object({ pointer: v.string(), detail: v.string() }))),
  "violated-policies": v.optional(v.array(v.string())),
});

/** What any route with a token may answer beside its own problems. */
const WITH_TOKEN = [
  "unauthenticated",
  "insufficient_scope",
  "tenant_suspended",
  "quota_exceeded",
  "unavailable",
] as const;
const WITHOUT_TOKEN = ["too_many_attempts", "unavailable"] as const;

type Operation = {
  summary: string;
  tag: string;
  /** A schema per success status; null for an answer without a body. */
  answers: Partial<Record<200 | 201 | 204, v.GenericSchema | null>>;
  problems?: readonly ProblemCode[];
  /** False for a route that takes no token. */
  token?: boolean;
};

/** Describes a route for /openapi.json. */
export function operation({ summary, tag, answers, problems = [], token = true }: Operation) {
  const ok = Object.entries(answers).map(([status, schema]) => [
    status,
    schema
      ? { description: summary, content: { "application/json": { schema: resolver(schema) } } }
      : { description: summary },
  ]);
  const codes: ProblemCode[] = [...(token ? WITH_TOKEN : WITHOUT_TOKEN), ...problems];
  const statuses = Map.groupBy(codes, (code) => PROBLEMS[code].status);
  const failed = [...statuses].map(([status, kinds]) => [
    String(status),
    {
      description: kinds.map((code) => `${PROBLEMS[code].title} (${code})`).join("; "),
      content: { "application/problem+json": { schema: resolver(ProblemDocument) } },
    },
  ]);
  return describeRoute({
    summary,
    tags: [tag],
    ...(token ? { security: [{ bearer: [] }] } : { security: [] }),
    responses: Object.fromEntries([...ok, ...failed]),
  });
}
