import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Policy } from "../src/policy.ts";
import { IDLE_MS } from "../src/tenant/limits/ledger.ts";
import { RUNS } from "./support/ideal-limits.ts";
import { minute, month, StoredTenant } from "./support/stored-tenant.ts";

/** In ms; long runs take their time. */
const TIMEOUT = 5000 + 100 * RUNS;

/** Three minutes of twice as many requests as a limit a minute admits. */
function saturated(limit: number): { tenant: StoredTenant; admitted: number } {
  const tenant = new StoredTenant(1_800_000_000_000, true);
  const policies = [minute(limit)];
  let admitted = 0;
  for (let request = 0; request < 6 * limit; request++) {
    if (tenant.hit(policies, 1).decision.outcome === "admitted") admitted += 1;
    tenant.pass(30_000 / limit);
  }
  return { tenant, admitted };
}

describe("the rows of one tenant", () => {
  const limits = [1, 10, 20, 31, 32, 33, 47, 48, 63, 64, 94, 95, 96, 97, 300, 1000, 3000];

  it.each(limits)("stay within 63 a minute when a limit of %i is saturated", (limit) => {
    expect(saturated(limit).tenant.rowsPerMinute).toBeLessThanOrEqual(63);
  });

  it("are at most 2.2 per 1,000 admitted when a limit of 30,000 is saturated", () => {
    const { tenant, admitted } = saturated(30_000);
    expect(admitted).toBe(90_000);
    expect(tenant.rowsPerMinute).toBeLessThanOrEqual(63);
    expect((1000 * tenant.rows.length) / admitted).toBeLessThanOrEqual(2.2);
  });

  it.each(limits)("stay within 63 a minute when a tenant with a limit of %i pauses on purpose", (limit) => {
    const policies = [minute(limit)];
    const tenant = new StoredTenant(1_800_000_000_000, true);
    for (let round = 0; round < 40; round++) {
      // The units of as long at once, then just long enough a pause for the exact state to be written.
      for (let unit = 0; unit < Math.max(1, (limit * IDLE_MS) / 60_000); unit++) tenant.hit(policies, 1);
      tenant.pass(IDLE_MS);
    }
    expect(tenant.rowsPerMinute).toBeLessThanOrEqual(63);
    expect(tenant.rowsPerMinute).toBeGreaterThanOrEqual(Math.min(16, limit));
  });

  it(
    "stay within 63 a minute over any traffic and any delay of storage",
    () => {
      const traffic = fc.array(
        fc.record({
          times: fc.integer({ min: 1, max: 120 }),
          cost: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 9 })),
          between: fc.constantFrom(0, 0, 1, 10, 200),
          pause: fc.constantFrom(0, 100, 1000, IDLE_MS - 1, IDLE_MS, IDLE_MS, IDLE_MS, IDLE_MS + 1),
          confirm: fc.boolean(),
        }),
        { minLength: 5, maxLength: 60, size: "max" },
      );
      const shortest = fc.constantFrom<Policy[]>(
        [],
        [{ name: "second", limit: 20, window: 1 }],
        [month(5000)],
      );
      const property = fc.property(
        fc.oneof(fc.constantFrom(...limits), fc.integer({ min: 1, max: 400 })),
        shortest,
        fc.boolean(),
        traffic,
        (limit, more, prompt, phases) => {
          const tenant = new StoredTenant(1_800_000_000_000, prompt);
          const policies = [...more, minute(limit)];
          for (const { times, cost, between, pause, confirm } of phases) {
            for (let hit = 0; hit < times; hit++) {
              tenant.hit(policies, cost);
              tenant.pass(between);
            }
            if (confirm) tenant.confirm();
            tenant.pass(pause);
          }
          expect(tenant.rowsPerMinute).toBeLessThanOrEqual(63);
        },
      );
      fc.assert(property, { numRuns: RUNS });
    },
    TIMEOUT,
  );

  it("hold nobody back but the first, for limits of 64 and more and prompt storage", () => {
    for (const limit of limits.filter((each) => each >= 64 && each % 32 < 30)) {
      const tenant = new StoredTenant(1_800_000_000_000, true);
      const waits = Array.from({ length: limit }, () => tenant.hit([minute(limit)], 1).wait);
      expect(waits.filter(Boolean).length).toBe(1);
    }
  });
});
