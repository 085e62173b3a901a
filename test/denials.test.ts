import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Decision, Policy } from "../src/policy.ts";
import { Denials, refusalAt } from "../src/tenant/denials.ts";
import { Limits } from "../src/tenant/limits/limits.ts";

const policies: Policy[] = [
  { name: "second", limit: 3, window: 1 },
  { name: "minute", limit: 10, window: 60 },
];

describe("a remembered denial", () => {
  it("is what the object would have answered, at any time and for any cost", () => {
    const request = fc.record({
      wait: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 20_000 })),
      cost: fc.integer({ min: 1, max: 4 }),
      /** How long the call is under way, before and after the object decides. */
      there: fc.integer({ min: 0, max: 300 }),
      back: fc.integer({ min: 0, max: 300 }),
    });
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 60 }), (requests) => {
        const [object, denials] = [new Limits(), new Denials()];
        let now = 0;
        /** Costs whose denial was given since anything was last spent: a promise holds if nobody else spends. */
        const promised = new Set<number>();
        for (const { wait, cost, there, back } of requests) {
          now += wait;
          const at = (time: number) => new Limits(object.snapshot()).decide(policies, cost, time).outcome;
          const recalled = denials.recall("t", cost, now);
          if (recalled) {
            expect(at(now)).toBe("refused");
            if (promised.has(cost)) expect(at(now + refusalAt(recalled, now).retryAfterMs)).toBe("admitted");
            continue;
          }
          const decision: Decision = object.decide(policies, cost, now + there);
          if (decision.outcome === "refused") denials.remember("t", cost, decision, now, now + there + back);
          if (decision.outcome === "refused") promised.add(cost);
          else promised.clear();
          now += there + back;
        }
      }),
      { numRuns: Number(import.meta.env["PROPERTY_RUNS"] ?? 300) },
    );
  });

  const refusal = { outcome: "refused" as const, retryAfterMs: 60_000, violated: ["minute"], standings: [] };

  it("says nothing of another cost, nor of another tenant", () => {
    const denials = new Denials();
    denials.remember("t", 2, refusal, 0, 0);
    expect(denials.recall("t", 2, 2)?.refusal).toBe(refusal);
    for (const cost of [1, 3]) expect(denials.recall("t", cost, 2)).toBeUndefined();
    expect(denials.recall("u", 2, 2)).toBeUndefined();
  });

  it("is looked for until the last of them is over", () => {
    const denials = new Denials();
    expect(denials.any(0)).toBe(false);
    denials.remember("t", 1, { ...refusal, retryAfterMs: 3000 }, 0, 0);
    denials.remember("u", 1, { ...refusal, retryAfterMs: 1000 }, 500, 500);
    expect(denials.any(2999)).toBe(true);
    expect(denials.any(3000)).toBe(false);
  });

  it("says nothing of a time before it was asked for, should the clock go back", () => {
    const denials = new Denials();
    denials.remember("t", 1, refusal, 5000, 5000);
    expect(denials.recall("t", 1, 4999)).toBeUndefined();
  });

  it("is asked for again after ten seconds, so that a raised limit is noticed", () => {
    const denials = new Denials();
    denials.remember("t", 1, refusal, 0, 0);
    expect(denials.recall("t", 1, 9_999)).toBeDefined();
    expect(denials.recall("t", 1, 10_000)).toBeUndefined();
  });

  it("is one of at most 10,000, of which the oldest goes first", () => {
    const denials = new Denials();
    for (let index = 0; index <= 10_000; index++) denials.remember(`t${index}`, 1, refusal, 0, 0);
    expect(denials.recall("t0", 1, 1)).toBeUndefined();
    expect(denials.recall("t1", 1, 1)).toBeDefined();
    expect(denials.recall("t10000", 1, 1)).toBeDefined();
  });
});
