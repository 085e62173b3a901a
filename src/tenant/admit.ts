import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { factory, type Edge } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { settings } from "../env.ts";
import { Problem } from "../problem.ts";
import { Calls } from "./calls.ts";
import { Denials } from "./denials.ts";
import { rateLimitHeaders } from "./headers.ts";
import type { Answer, Tenant } from "./object.ts";

const calls = new Calls();
const denials = new Denials();

/**
 * Lets a request on only when the caller's tenant is active and within its limits, by one call to the tenant's
 * object at most; then opens the tenant's database for it. Over a limit: 429. Object out of reach: 503, not admitted.
 */
export const admit = factory.createMiddleware(async function admit(c, next) {
  const { tenantId, userId } = c.var.caller;
  const answer = await askTenant(c, tenantId, costOf(c));
  if (answer.status === "unknown") throw new Problem("unauthenticated");
  if (answer.status !== "active") throw new Problem(`tenant_${answer.status}`);

  const { decision } = answer;
  for (const [name, value] of Object.entries(rateLimitHeaders(decision.standings, Date.now())))
    c.header(name, value);
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
      c.set("db", openTenantDb(tenantId, userId, c.var.spans));
      await next();
  }
});

/** The tenant's Durable Object, beside the database if this is what creates it. */
export function tenantObject(namespace: Env["TENANT"], tenantId: string): DurableObjectStub<Tenant> {
  return namespace.getByName(tenantId, { locationHint: settings.TENANT_LOCATION_HINT });
}

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

/** The tenant's own answer: as it was given before if it must be the same, else in one call. Throws `unavailable`. */
async function askTenant(c: Context<Edge>, tenantId: string, cost: number): Promise<Answer> {
  const askedAt = Date.now();
  const denied = denials.recall(tenantId, cost, askedAt);
  if (denied) return { status: "active", decision: denied };
  const started = performance.now();
  try {
    const ask = (all: number[]) => askObject(c.env.TENANT, tenantId, all);
    const answer = await calls.ask(tenantId, cost, ask, (call) => c.executionCtx.waitUntil(call));
    if (answer.status === "active" && answer.decision.outcome === "refused")
      denials.remember(tenantId, cost, answer.decision, askedAt, Date.now());
    return answer;
  } catch (error) {
    throw new Problem("unavailable", {
      detail: "The tenant's limits are out of reach.",
      headers: { "retry-after": "1" },
      cause: error,
    });
  } finally {
    c.var.spans.admit = performance.now() - started;
  }
}

/** Asks the object once, and once more with the same id if the call may be made again (never when overloaded). */
async function askObject(namespace: Env["TENANT"], tenantId: string, all: number[]): Promise<Answer[]> {
  const callId = crypto.randomUUID();
  try {
    return await tenantObject(namespace, tenantId).admit(callId, all);
  } catch (error) {
    const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
    if (!retryable || overloaded) throw error;
    // A stub is broken after an error; the object may have decided, and then says so again.
    return await tenantObject(namespace, tenantId).admit(callId, all);
  }
}
