import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Decision, Policy } from "../src/policy.ts";
import { Limits } from "../src/tenant/limits/limits.ts";
import { CELLS } from "../src/tenant/limits/sliding-log.ts";
import { IdealLimits, mostInAny, RUNS } from "./support/ideal-limits.ts";

/** In ms; long runs take their time. */
const TIMEOUT = 5000 + 100 * RUNS;

const policy = fc.oneof(
  fc.record({ limit: fc.integer({ min: 0, max: 12 }), window: fc.constantFrom(1, 2, 60, 86_400) }),
  fc.record({ limit: fc.integer({ min: 0, max: 30 }), window: fc.constant("month" as const) }),
);
const policies = fc
  .array(policy, { minLength: 1, maxLength: 3 })
  .map((list): Policy[] => list.map((each, index) => ({ name: `p${index}`, ...each })));

const start = fc.oneof(
  fc.constantFrom(
    Date.UTC(2028, 1, 28, 23, 59, 58), // the eve of a leap day
    Date.UTC(2028, 1, 29, 23, 59, 59, 999),
    Date.UTC(2027, 1, 28, 23, 59, 59),
    Date.UTC(2026, 11, 31, 23, 59, 57, 500),
    Date.UTC(2100, 1, 28, 23, 59, 59), // no leap year
    -1000,
  ),
  fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) }),
);
const gap = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 400 }) },
  { weight: 3, arbitrary: fc.constantFrom(0, 1, 999, 1000, 1001, 1999, 2000, 59_999, 60_000, 60_001) },
  { weight: 1, arbitrary: fc.integer({ min: -3000, max: 0 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 8_000 }).map((eighths) => eighths / 8) },
  { weight: 1, arbitrary: fc.constantFrom(86_399_999, 86_400_000, 20 * 86_400_000) },
);
const step = fc.record({
  kind: fc.constantFrom("decide", "decide", "decide", "decide", "decide", "look", "plan", "restart"),
  gap,
  cost: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 14 })),
  plan: fc.nat({ max: 2 }),
});

/** Asks a copy, so that asking changes nothing. */
const ask = (limits: Limits, plan: Policy[], cost: number, at: number): Decision["outcome"] =>
  new Limits(structuredClone(limits.snapshot())).decide(plan, cost, at).outcome;

/** Asserts that a refusal holds at earlier instants and ends at exactly the promised one. */
function expectHonest(limits: Limits, plan: Policy[], cost: number, now: number, retryAfterMs: number): void {
  const earlier = [retryAfterMs - 1, retryAfterMs - 0.125, retryAfterMs / 2, retryAfterMs - 1000, 0];
  for (const early of earlier.filter((ms) => ms >= 0))
    expect(ask(limits, plan, cost, now + early)).toBe("refused");
  expect(ask(limits, plan, cost, now + retryAfterMs)).toBe("admitted");
}

/** How long a decision holds a request back, in ms; ∞ when it always will. */
function heldBack(decision: Decision): number {
  if (decision.outcome === "refused") return decision.retryAfterMs;
  return decision.outcome === "admitted" ? 0 : Infinity;
}

describe("limits up to 1024", () => {
  it(
    "decide, count and promise as an ideal log does, over any arrivals, plans, clocks and restarts",
    () => {
      const plans = fc.array(policies, { minLength: 3, maxLength: 3 });
      const property = fc.property(
        plans,
        start,
        fc.array(step, { minLength: 1, maxLength: 60 }),
        (choice, t, steps) => {
          let limits = new Limits();
          const ideal = new IdealLimits();
          let now = t;
          let plan = choice[0] ?? [];
          for (const { kind, gap: wait, cost, plan: next } of steps) {
            now += wait;
            if (kind === "plan") plan = choice[next] ?? [];
            if (kind === "restart") limits = new Limits(structuredClone(limits.snapshot()));
            if (kind === "restart" || kind === "plan") continue;
            const look = kind === "look";
            const seen = look ? limits.standings(plan, now) : limits.decide(plan, cost, now);
            expect(seen).toEqual(look ? ideal.standings(plan, now) : ideal.decide(plan, cost, now));
            if ("outcome" in seen && seen.outcome === "refused")
              expectHonest(limits, plan, cost, now, seen.retryAfterMs);
          }
        },
      );
      fc.assert(property, { numRuns: RUNS });
    },
    TIMEOUT,
  );

  it(
    "never admit more than the limit in any half-open window or month",
    () => {
      const property = fc.property(policies, start, fc.array(step, { maxLength: 80 }), (plan, t, steps) => {
        const limits = new Limits();
        const hits: { at: number; units: number }[] = [];
        let clock = -Infinity;
        let now = t;
        for (const { gap: wait, cost } of steps) {
          now += wait;
          clock = Math.max(clock, now);
          if (limits.decide(plan, cost, now).outcome === "admitted") hits.push({ at: clock, units: cost });
        }
        for (const { window, limit } of plan) expect(mostInAny(window, hits)).toBeLessThanOrEqual(limit);
      });
      fc.assert(property, { numRuns: RUNS });
    },
    TIMEOUT,
  );
});

describe("limits above 1024", () => {
  // Phases of steady traffic: enough distinct instants to fill the log, and few numbers to shrink.
  const phase = fc.record({
    hits: fc.integer({ min: 100, max: 1500 }),
    gap: fc.oneof(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: 60 }),
    ),
    cost: fc.oneof(fc.constant(1), fc.constant(1), fc.integer({ min: 1, max: 60 })),
    pause: fc.constantFrom(0, 0, 1, 500, 30_000, 60_000),
    restart: fc.boolean(),
  });
  const large = fc.record({
    limit: fc.oneof(fc.constantFrom(1025, 1500, 3000), fc.integer({ min: 1025, max: 5000 })),
    window: fc.constantFrom(10, 10, 7, 60),
    start,
    phases: fc.array(phase, { minLength: 1, maxLength: 6 }),
  });

  it(
    "admit late by less than a 1024th of the window, never too much, and within 1025 cells",
    () => {
      const property = fc.property(large, ({ limit, window, start: t, phases }) => {
        const plan = [{ name: "large", limit, window }];
        let limits = new Limits();
        const ideal = new IdealLimits();
        const late = new IdealLimits(() => (window * 1000) / 1024);
        late.standings(plan, t); // opens the window
        const hits: { at: number; units: number }[] = [];
        let now = t;
        for (const { hits: count, gap: wait, cost, pause, restart } of phases) {
          for (let hit = 0; hit < count; hit++) {
            now += wait;
            const least = hit % 16 === 0 ? heldBack(ideal.judge(plan, cost, now)) : 0;
            const most = hit % 16 === 0 ? heldBack(late.judge(plan, cost, now)) : Infinity;
            const decision = limits.decide(plan, cost, now);
            const held = heldBack(decision);
            expect(held).toBeGreaterThanOrEqual(least);
            expect(held).toBeLessThanOrEqual(most);
            if (held > 0 && hit % 256 === 0) expectHonest(limits, plan, cost, now, held);
            if (held > 0) continue;
            ideal.spend(cost, now);
            late.spend(cost, now);
            hits.push({ at: now, units: cost });
          }
          const snapshot = structuredClone(limits.snapshot());
          const cells = snapshot.counters.map((counter) =>
            counter.window === "month" ? 0 : counter.times.length,
          );
          expect(Math.max(...cells)).toBeLessThanOrEqual(CELLS);
          if (restart) limits = new Limits(snapshot);
          now += pause;
        }
        expect(mostInAny(window, hits)).toBeLessThanOrEqual(limit);
      });
      fc.assert(property, { numRuns: Math.ceil(RUNS / 10) });
    },
    TIMEOUT,
  );
});
