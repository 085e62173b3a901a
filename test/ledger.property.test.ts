import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Policy } from "../src/policy.ts";
import { IDLE_MS, type Entry } from "../src/tenant/limits/ledger.ts";
import { IdealLimits, mostInAny, RUNS } from "./support/ideal-limits.ts";
import { minute, month, StoredTenant } from "./support/stored-tenant.ts";

/** In ms; long runs take their time. */
const TIMEOUT = 5000 + 100 * RUNS;

const plan = fc.constantFrom<Policy[]>(
  [minute(40)],
  [minute(100)],
  [minute(330)],
  [{ name: "second", limit: 8, window: 1 }, minute(64)],
  [minute(100), month(200)],
  [month(70)],
  [{ name: "quarter", limit: 20, window: 15 }],
  [minute(20), { name: "hour", limit: 160, window: 3600 }],
);
const start = fc.constantFrom(
  Date.UTC(2028, 1, 28, 12),
  Date.UTC(2028, 1, 29, 23, 59, 20),
  Date.UTC(2026, 11, 31, 23, 59, 50),
);
const gap = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 50 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 6000 }) },
  { weight: 1, arbitrary: fc.constantFrom(999, 1000, IDLE_MS - 1, IDLE_MS, 14_999, 59_999, 60_000, 60_001) },
);
const event = fc.record({
  kind: fc.constantFrom("hits", "hits", "hits", "hits", "confirm", "confirm", "fail", "crash", "plan"),
  gap,
  times: fc.integer({ min: 1, max: 15 }),
  cost: fc.oneof(
    { weight: 3, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 12 }) },
  ),
  survives: fc.boolean(),
  plan,
});
type Event = typeof event extends fc.Arbitrary<infer E> ? E : never;
const events = fc.array(event, { minLength: 1, maxLength: 40, size: "max" });

/** The most that a crash may cost: a 32nd of the smallest limit of a minute or longer. */
function share(policies: Policy[]): number {
  const slow = policies.filter(({ window }) => window === "month" || window >= 60);
  return Math.floor(Math.min(...slow.map(({ limit }) => limit)) / 32);
}

/** Runs a schedule; `each` sees every decision before its units are counted anywhere else. */
function run(
  tenant: StoredTenant,
  first: Policy[],
  schedule: Event[],
  each: (entry: Entry, policies: Policy[], units: number) => void = () => undefined,
  restarted: (reserve: number) => void = () => undefined,
): void {
  let policies = first;
  for (const { kind, gap: wait, times, cost, survives, plan: next } of schedule) {
    tenant.pass(wait);
    if (kind === "confirm") tenant.confirm();
    if (kind === "fail") tenant.fail(survives);
    if (kind === "crash") restarted(tenant.restart(survives));
    if (kind === "plan") policies = next;
    if (kind === "hits")
      for (let hit = 0; hit < times; hit++) each(tenant.hit(policies, cost), policies, cost);
  }
}

describe("over any arrivals, crashes, pauses and lost or late confirmations", () => {
  it(
    "never more than the limit is answered in any half-open window or month",
    () => {
      const property = fc.property(plan, start, fc.boolean(), events, (policies, t, prompt, schedule) => {
        const tenant = new StoredTenant(t, prompt);
        run(
          tenant,
          policies,
          schedule.map((each) => ({ ...each, plan: policies })),
        );
        const answered = tenant.answered.sort((a, b) => a.at - b.at);
        for (const { window, limit } of policies)
          expect(mostInAny(window, answered)).toBeLessThanOrEqual(limit);
      });
      fc.assert(property, { numRuns: RUNS * 2 });
    },
    TIMEOUT,
  );

  it(
    "never more is answered than an ideal log admits, under changing plans too",
    () => {
      const property = fc.property(plan, start, fc.boolean(), events, (policies, t, prompt, schedule) => {
        const tenant = new StoredTenant(t, prompt);
        run(tenant, policies, schedule);
        const ideal = new IdealLimits();
        // A window counts from the first unit that is answered under it.
        for (const { at, units, plan: inForce } of tenant.answered.sort((a, b) => a.at - b.at))
          expect(units === 0 ? "admitted" : ideal.decide(inForce, units, at).outcome).toBe("admitted");
      });
      fc.assert(property, { numRuns: RUNS * 2 });
    },
    TIMEOUT,
  );

  it(
    "never fewer than if each crash had spent one reserve, at most a 32nd of the tightest limit",
    () => {
      const property = fc.property(plan, start, fc.boolean(), events, (policies, t, prompt, schedule) => {
        const tenant = new StoredTenant(t, prompt);
        const ideal = new IdealLimits();
        run(
          tenant,
          policies,
          schedule.map((each) => ({ ...each, plan: policies })),
          ({ decision }, inForce, units) => {
            const expected = ideal.judge(inForce, units, tenant.now);
            const admitted = decision.outcome === "admitted";
            if (admitted) ideal.spend(units, tenant.now);
            // Admitting more than this ideal is right: it counts each crash as a whole reserve spent.
            expect(admitted || expected.outcome === decision.outcome).toBe(true);
            const least = expected.standings.map(({ remaining }) => remaining - (admitted ? units : 0));
            for (const [index, { remaining }] of decision.standings.entries())
              expect(remaining).toBeGreaterThanOrEqual(least[index] ?? Number.NaN);
          },
          (reserve) => {
            expect(reserve).toBeLessThanOrEqual(share(policies));
            ideal.spend(reserve, tenant.now);
          },
        );
      });
      fc.assert(property, { numRuns: RUNS });
    },
    TIMEOUT,
  );

  it(
    "exactly the ideal decides when the object restarts only after a pause",
    () => {
      const property = fc.property(plan, start, events, (policies, t, schedule) => {
        const tenant = new StoredTenant(t, true);
        const ideal = new IdealLimits();
        const orderly = schedule.map((each) => ({
          ...each,
          kind: each.kind === "fail" ? "confirm" : each.kind,
          gap: each.kind === "crash" ? each.gap + 10_000 : each.gap,
        }));
        run(
          tenant,
          policies,
          orderly,
          ({ decision }, inForce, units) =>
            expect(decision).toEqual(ideal.decide(inForce, units, tenant.now)),
          (reserve) => expect(reserve).toBe(0),
        );
      });
      fc.assert(property, { numRuns: RUNS });
    },
    TIMEOUT,
  );
});
