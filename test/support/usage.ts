import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeEach, vi } from "vitest";
import { settings } from "../../src/env.ts";
import { tenantObject } from "../../src/tenant/stub.ts";
import { stage } from "./client.ts";

/**
 * Stops the clock in each test of a file, and has objects look soon whether it is time to store: pass() then lets time go on,
 * so that nobody has to wait for it. No bound of a request is as long as theirs.
 */
export function timeStandsStill(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const setting = globalThis.setTimeout;
    const hurried = (run: () => void, ms: number) => setting(run, ms > 7_000 && ms <= 8_000 ? 20 : ms);
    vi.spyOn(globalThis, "setTimeout").mockImplementation(hurried as typeof setTimeout);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });
}

export const pass = (ms: number): void => void vi.setSystemTime(Date.now() + ms);

/** Has the tenant's object come to rest, and go out of memory: it has stored all by then. */
export async function evict(tenantId: string): Promise<void> {
  pass(8_000);
  await evictDurableObject(tenantObject(tenantId));
}

/** Lets a minute pass, and has the object's alarm ring if it is set. Returns whether it was. */
export function flush(tenantId: string): Promise<boolean> {
  pass(60_000);
  return runDurableObjectAlarm(tenantObject(tenantId));
}

/** Has the tenant have used so much on a day; what is stored is measured on it if `bytes_stored` is given. */
export const used = (tenantId: string, day: string, figures: Record<string, number>) =>
  stage.query(
    `insert into control.usage_days (tenant_id, day, ${Object.keys(figures).join(", ")})
     values ($1, $2, ${Object.keys(figures)
       .map((_, index) => `$${index + 3}`)
       .join(", ")})`,
    [tenantId, day, ...Object.values(figures)],
  );

/** What Postgres has of the tenant's days, hours or keys, summed up. */
export async function recorded(
  tenantId: string,
  table: "days" | "hours" | "keys" | "months" = "days",
): Promise<Record<string, number>> {
  const [row] = await stage.query(
    `select coalesce(sum(requests), 0)::int as requests, coalesce(sum(refused), 0)::int as refused,
      coalesce(sum(units), 0)::int as units, coalesce(sum(errors), 0)::int as errors,
      coalesce(sum(bytes_out), 0)::int as bytes_out, coalesce(sum(db_ms), 0)::int as db_ms,
      coalesce(sum(object_ms), 0)::int as object_ms, coalesce(sum(object_rows), 0)::int as object_rows
    from control.usage_${table} where tenant_id = $1`,
    [tenantId],
  );
  return row as Record<string, number>;
}

/** How many requests with usage were sent to Postgres since fetch was spied upon. */
export const flushes = (tenantId: string): number =>
  vi
    .mocked(globalThis.fetch)
    .mock.calls.filter(
      ([url, init]) =>
        String(url) === settings.NEON_FETCH_ENDPOINT &&
        String(init?.body).includes("select record_usage") &&
        String(init?.body).includes(tenantId),
    ).length;
