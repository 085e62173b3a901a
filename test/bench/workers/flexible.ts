import { neon, neonConfig } from "@neondatabase/serverless";
import { env } from "cloudflare:workers";
import { RateLimiterPostgres, RateLimiterRes } from "rate-limiter-flexible";
import { counts, limitedApp, POLICY } from "./limited.ts";

const bound = env as unknown as { LIMITER_DATABASE_URL: string; NEON_FETCH_ENDPOINT: string };
neonConfig.fetchEndpoint = bound.NEON_FETCH_ENDPOINT;
const sql = neon(bound.LIMITER_DATABASE_URL, { fullResults: true });

/** The one method of node-postgres that the limiter calls, over Neon's HTTP: a Worker cannot share connections. */
const client = {
  async query({ text, values }: { text: string; values: unknown[] }) {
    const result = await sql.query(text, values);
    counts.rows += result.rowCount;
    return result;
  },
};

const limiter = new RateLimiterPostgres({
  storeClient: client,
  storeType: "client",
  tableName: "limiter_flexible",
  tableCreated: true,
  clearExpiredByTimeout: false, // A Worker has no timers of its own.
  points: POLICY.limit,
  duration: POLICY.window,
});

/** rate-limiter-flexible, which refuses by throwing. */
export default limitedApp(async (tenantId) => {
  try {
    const { remainingPoints, msBeforeNext } = await limiter.consume(tenantId);
    return { admitted: true, remaining: remainingPoints, resetMs: msBeforeNext };
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    return { admitted: false, remaining: 0, resetMs: refusal.msBeforeNext };
  }
});
