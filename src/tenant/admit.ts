import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { factory, timed, type Edge } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { logProblem, Problem } from "../problem.ts";
import { askTenant, knownRefusal, outOfReach, passesWithoutObject } from "./ask.ts";
import { rateLimit, rateLimitPolicy } from "./headers.ts";
import type { Admission } from "./object.ts";

/**
 * Lets a request on only when the caller's tenant is active and within its limits, by one call to the tenant's
 * object at most; then opens the tenant's database for it. Over a limit: 429. Object out of reach: 503, not admitted.
 */
export const admit = factory.createMiddleware(async function admit(c, next) {
  const { tenantId, userId } = c.get("caller");
  const cost = costOf(c);
  const answer = knownRefusal(tenantId, cost) ?? (await ask(c, tenantId, cost));
  if (answer.status === "unknown") throw new Problem("unauthenticated");
  if (answer.status !== "active") throw new Problem(`tenant_${answer.status}`);

  const { decision } = answer;
  if (decision.standings.length > 0) {
    c.header("RateLimit-Policy", rateLimitPolicy(decision.standings, Date.now()));
    c.header("RateLimit", rateLimit(decision.standings));
  }
  switch (decision.outcome) {
    case "refused":
      throw new Problem("quota_exceeded", {
        "violated-policies": decision.violated,
        headers: { "retry-after": String(Math.ceil(decision.retryAfterMs / 1000)) },
      });
    case "impossible":
      throw new Problem("cost_above_limit", { "violated-policies": decision.violated });
    case "admitted":
      c.set("standings", decision.standings);
      c.set(
        "db",
        openTenantDb(tenantId, userId, (started) => timed(c, "db", started)),
      );
      await next();
  }
});

const weights = new WeakMap<object, number>();

/** Makes a route cost more than the 1 unit that any request costs, such as a bulk route or an export. */
export function costs(units: number) {
  const weighing = factory.createMiddleware(async (_, next) => next());
  weights.set(weighing, units);
  return weighing;
}

/** The units that the route behind this request says it costs. */
function costOf(c: Context<Edge>): number {
  return matchedRoutes(c).reduce((cost, { handler }) => weights.get(handler) ?? cost, 1);
}

/** The tenant's answer, or, where its plan says so, a pass on the gateway's binding alone. Throws `unavailable`. */
async function ask(c: Context<Edge>, tenantId: string, cost: number): Promise<Admission> {
  const started = performance.now();
  const guard = c.env.TENANT_GUARD;
  if (guard && !(await guard.limit({ key: tenantId })).success)
    throw new Problem("too_many_attempts", { headers: { "retry-after": "60" } });
  try {
    return await askTenant(c.env.TENANT, tenantId, cost, (call) => c.executionCtx.waitUntil(call));
  } catch (cause) {
    const problem = outOfReach(cause);
    if (!guard || !passesWithoutObject(tenantId)) throw problem;
    logProblem(problem, c.get("requestId"), c.req.path);
    c.header("RateLimit-Exact", "?0");
    return { status: "active", decision: { outcome: "admitted", standings: [] } };
  } finally {
    timed(c, "admit", started);
  }
}
