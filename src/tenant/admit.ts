import { factory } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { settings } from "../env.ts";
import { Problem } from "../problem.ts";
import { rateLimitHeaders } from "./headers.ts";
import type { Admission, Tenant } from "./object.ts";

/** The tenant's Durable Object, beside the database if this is what creates it. */
export function tenantObject(namespace: Env["TENANT"], tenantId: string): DurableObjectStub<Tenant> {
  return namespace.getByName(tenantId, {
    locationHint: settings.TENANT_LOCATION_HINT,
  });
}

/**
 * Lets a request on only when the caller's tenant is active and within its limits, by one call to the tenant's
 * object; then opens the tenant's database for it. Over a limit: 429. Object out of reach: 503, and not admitted.
 */
export const admit = factory.createMiddleware(async function admit(c, next) {
  const { tenantId, userId } = c.var.caller;
  const asked = performance.now();
  const admission = await askObject(c.env.TENANT, tenantId, 1);
  c.var.spans.admit = performance.now() - asked;

  if (admission.status === "unknown") throw new Problem("unauthenticated");
  if (admission.status !== "active") throw new Problem(`tenant_${admission.status}`);
  const { decision } = admission;
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

async function askObject(namespace: Env["TENANT"], tenantId: string, cost: number): Promise<Admission> {
  try {
    return await tenantObject(namespace, tenantId).admit(cost);
  } catch (error) {
    throw new Problem("unavailable", {
      detail: "The tenant's limits are out of reach.",
      headers: { "retry-after": "1" },
      cause: error,
    });
  }
}
