import { env } from "cloudflare:workers";
import { factory, timed } from "../../../src/context.ts";
import { logged } from "../../../src/edge/log.ts";
import { takenMethods } from "../../../src/edge/methods.ts";
import { allowedOrigins, answerProblem, observe } from "../../../src/edge/gateway.ts";
import { identify } from "../../../src/edge/identify.ts";
import type { Standing } from "../../../src/policy.ts";
import { Problem } from "../../../src/problem.ts";
import { tenantRoutes } from "../../../src/routes/tenant.ts";
import { rateLimit, rateLimitPolicy } from "../../../src/edge/headers.ts";

/** What a limiter finds; after a refusal, more is to be had in `resetMs`. */
export type Verdict = { admitted: boolean; remaining: number; resetMs: number };

/** Decides on one request of this tenant, of a cost of 1. */
export type Limiter = (tenantId: string) => Promise<Verdict>;

const variables = env as unknown as Record<string, unknown>;

/** At most `limit` in any window of so many seconds, or in each. */
export const POLICY = {
  name: "window",
  limit: Number(variables["LIMIT"]),
  window: Number(variables["WINDOW"]),
};

/** What the limiters of this Worker have done: its objects run in the same isolate. */
export const counts = { rows: 0 };

/** Everything that partywall does with `GET /v1/tenant/limits` but for its limiter, which is another. */
export function limitedApp(limiter: Limiter) {
  const admit = factory.createMiddleware(async function admit(c, next) {
    const started = performance.now();
    const { admitted, remaining, resetMs } = await limiter(c.get("credential").tenantId);
    timed(c, "admit", started);
    const standings: Standing[] = [{ ...POLICY, remaining, resetMs }];
    c.header("RateLimit-Policy", rateLimitPolicy(standings, Date.now()));
    c.header("RateLimit", rateLimit(standings));
    if (!admitted)
      throw new Problem("quota_exceeded", {
        "violated-policies": [POLICY.name],
        headers: { "retry-after": String(Math.ceil(resetMs / 1000)) },
      });
    c.set("standings", standings);
    await next();
  });
  return factory
    .createApp()
    .use(
      observe,
      logged,
      allowedOrigins,
      takenMethods(() => []),
    )
    .get("/bench/counts", (c) => c.json(counts))
    .use("/v1/*", identify, admit)
    .route("/v1/tenant", tenantRoutes)
    .onError(answerProblem);
}
