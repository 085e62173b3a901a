import { describe, expect, it } from "vitest";
import type { Policy } from "../src/policy.ts";
import { Limits } from "../src/tenant/limits/limits.ts";
import { CELLS } from "../src/tenant/limits/sliding-log.ts";
import { mostInAny } from "./support/ideal-limits.ts";

const T = Date.UTC(2028, 1, 28, 12);
const minute = (limit: number): Policy => ({ name: "minute", limit, window: 60 });
const month = (limit: number): Policy => ({ name: "month", limit, window: "month" });

/** Spends `units` one at a time, `gap` ms apart, and returns how many were admitted. */
function spendSingly(limits: Limits, policies: Policy[], units: number, from: number, gap: number): number {
  let admitted = 0;
  for (let unit = 0; unit < units; unit++)
    if (limits.decide(policies, 1, from + unit * gap).outcome === "admitted") admitted += 1;
  return admitted;
}

/** The bytes of each counter in a snapshot. */
const bytes = (limits: Limits): number[] =>
  limits
    .snapshot()
    .counters.map((counter) =>
      counter.window === "month" ? 16 : counter.times.byteLength + counter.totals.byteLength,
    );

describe("one sliding window", () => {
  it("admits up to the limit, and a unit again exactly when the first one is a window old", () => {
    const limits = new Limits();
    const policies = [minute(3)];
    expect(spendSingly(limits, policies, 5, T, 10)).toBe(3);
    expect(limits.decide(policies, 1, T + 59_999)).toMatchObject({ outcome: "refused", retryAfterMs: 1 });
    expect(limits.decide(policies, 1, T + 60_000).outcome).toBe("admitted");
    expect(limits.decide(policies, 1, T + 60_000)).toMatchObject({ outcome: "refused", retryAfterMs: 10 });
  });

  it("promises the instant at which the whole cost fits, not the first unit of it", () => {
    const limits = new Limits();
    const policies = [minute(3)];
    spendSingly(limits, policies, 3, T, 1000);
    const refused = { outcome: "refused", violated: ["minute"] };
    expect(limits.decide(policies, 1, T + 5000)).toMatchObject({ ...refused, retryAfterMs: 55_000 });
    expect(limits.decide(policies, 2, T + 5000)).toMatchObject({ ...refused, retryAfterMs: 56_000 });
    expect(limits.decide(policies, 3, T + 5000)).toMatchObject({ ...refused, retryAfterMs: 57_000 });
  });

  it("charges nothing for a refused request", () => {
    const limits = new Limits();
    const policies = [minute(5)];
    limits.decide(policies, 3, T);
    for (let i = 0; i < 100; i++) expect(limits.decide(policies, 3, T + i).outcome).toBe("refused");
    expect(limits.decide(policies, 2, T + 100).outcome).toBe("admitted");
  });

  it("calls a cost above the limit impossible, even when another limit is merely used up", () => {
    const limits = new Limits();
    const policies = [minute(5), month(1)];
    limits.decide(policies, 1, T);
    expect(limits.decide(policies, 2, T)).toMatchObject({ outcome: "impossible", violated: ["month"] });
    expect(limits.decide(policies, 6, T)).toMatchObject({
      outcome: "impossible",
      violated: ["minute", "month"],
    });
  });

  it("says what remains and when the next unit comes back", () => {
    const limits = new Limits();
    const policies = [minute(5)];
    const left = (remaining: number, resetMs: number) => [{ ...policies[0], remaining, resetMs }];
    expect(limits.standings(policies, T)).toEqual(left(5, 0));
    limits.decide(policies, 2, T);
    limits.decide(policies, 1, T + 1000);
    expect(limits.standings(policies, T + 2000)).toEqual(left(2, 58_000));
    expect(limits.standings(policies, T + 60_000)).toEqual(left(4, 1000));
    expect(limits.standings(policies, T + 61_000)).toEqual(left(5, 0));
  });

  it("looks for free with cost 0, also when nothing is left", () => {
    const limits = new Limits();
    limits.decide([minute(5)], 5, T);
    expect(limits.decide([minute(3)], 0, T)).toMatchObject({
      outcome: "admitted",
      standings: [{ remaining: 0 }],
    });
    expect(limits.decide([minute(6)], 1, T).outcome).toBe("admitted");
  });

  it("rejects costs, clocks and policies that it cannot count exactly", () => {
    const limits = new Limits();
    for (const cost of [-1, 0.5, Number.NaN, Infinity])
      expect(() => limits.decide([minute(5)], cost, T)).toThrow(RangeError);
    for (const now of [Number.NaN, Infinity])
      expect(() => limits.decide([minute(5)], 1, now)).toThrow(RangeError);
    for (const limit of [-1, 0.5, 2 ** 32, Number.NaN])
      expect(() => limits.decide([minute(limit)], 1, T)).toThrow(RangeError);
    for (const window of [0, -1, 0.5, Infinity])
      expect(() => limits.decide([{ name: "odd", limit: 1, window }], 1, T)).toThrow(RangeError);
  });
});

describe("the clock", () => {
  it("stands still while the caller's runs backwards", () => {
    const limits = new Limits();
    const policies = [minute(2)];
    limits.decide(policies, 1, T + 1000);
    limits.decide(policies, 1, T);
    expect(limits.decide(policies, 1, T + 60_000)).toMatchObject({ outcome: "refused", retryAfterMs: 1000 });
  });

  it("stands still across a snapshot too", () => {
    const before = new Limits();
    before.decide([minute(2)], 1, T + 1000);
    const after = new Limits(structuredClone(before.snapshot()));
    after.decide([minute(2)], 1, T);
    expect(after.decide([minute(2)], 2, T + 60_000)).toMatchObject({
      outcome: "refused",
      retryAfterMs: 1000,
    });
  });

  it("counts the wait from the caller's clock when that one lags behind", () => {
    const limits = new Limits();
    limits.decide([minute(1)], 1, T + 1000);
    expect(limits.decide([minute(1)], 1, T)).toMatchObject({ retryAfterMs: 61_000 });
  });
});

describe("a calendar month", () => {
  it("begins anew at midnight UTC of the first, in leap years too", () => {
    const limits = new Limits();
    const policies = [month(2)];
    const leapDay = Date.UTC(2028, 1, 29, 23, 59, 59, 999);
    limits.decide(policies, 2, T);
    expect(limits.decide(policies, 1, leapDay)).toMatchObject({ outcome: "refused", retryAfterMs: 1 });
    expect(limits.decide(policies, 2, leapDay + 1).outcome).toBe("admitted");
    expect(limits.decide(policies, 1, leapDay + 1)).toMatchObject({ retryAfterMs: 31 * 86_400_000 });
  });

  it("never goes back when the clock does", () => {
    const limits = new Limits();
    const march = Date.UTC(2028, 2, 1);
    limits.decide([month(2)], 2, march);
    expect(limits.decide([month(2)], 1, march - 1)).toMatchObject({ outcome: "refused" });
  });
});

describe("several policies", () => {
  it("charges all of them or none", () => {
    const limits = new Limits();
    const policies = [minute(5), { name: "second", limit: 2, window: 1 }, month(100)];
    limits.decide(policies, 2, T);
    expect(limits.decide(policies, 1, T)).toMatchObject({ outcome: "refused", violated: ["second"] });
    expect(limits.standings(policies, T).map((standing) => standing.remaining)).toEqual([3, 0, 98]);
  });

  it("promises the instant at which all of them let the request pass", () => {
    const limits = new Limits();
    const policies = [{ name: "second", limit: 2, window: 1 }, minute(2)];
    limits.decide(policies, 2, T);
    const refused = limits.decide(policies, 1, T + 100);
    expect(refused).toMatchObject({ violated: ["second", "minute"], retryAfterMs: 59_900 });
  });

  it("counts a window once that two policies share", () => {
    const limits = new Limits();
    const policies = [minute(10), { ...minute(4), name: "strict" }];
    limits.decide(policies, 3, T);
    expect(limits.standings(policies, T).map((standing) => standing.remaining)).toEqual([7, 1]);
    expect(limits.decide(policies, 2, T)).toMatchObject({ violated: ["strict"] });
  });
});

describe("a plan change", () => {
  it("keeps what was spent when the limit moves up and down", () => {
    const limits = new Limits();
    spendSingly(limits, [minute(10)], 10, T, 1000);
    expect(limits.decide([minute(12)], 3, T + 9000)).toMatchObject({ outcome: "refused" });
    expect(limits.decide([minute(12)], 2, T + 9000).outcome).toBe("admitted");
    // 12 are used; three remain under a limit of 4 only when 9 of them are gone.
    expect(limits.decide([minute(4)], 1, T + 10_000)).toMatchObject({
      retryAfterMs: 58_000,
      standings: [{ remaining: 0 }],
    });
  });

  it("does not forget a month while a plan without one is in force", () => {
    const limits = new Limits();
    limits.decide([minute(100), month(20)], 10, T);
    limits.decide([minute(100)], 5, T + 1000);
    const restarted = new Limits(structuredClone(limits.snapshot()));
    expect(restarted.standings([month(20)], T + 2000)).toMatchObject([{ remaining: 5 }]);
  });

  it("counts the month under a plan without one, and over a restart, for a plan that has one", () => {
    const limits = new Limits();
    limits.decide([minute(100)], 15, T);
    const restarted = new Limits(structuredClone(limits.snapshot()));
    restarted.decide([minute(100)], 2, T + 1000);
    expect(restarted.standings([month(20)], T + 2000)).toMatchObject([{ remaining: 3 }]);
  });

  it("lets go of a window that no policy names once nothing in it counts, but not of the month", () => {
    const limits = new Limits();
    limits.decide([minute(5)], 1, T);
    const second = [{ name: "second", limit: 9, window: 1 }];
    limits.decide(second, 0, T + 59_999);
    expect(limits.snapshot().counters.map(({ window }) => window)).toEqual(["month", 60, 1]);
    limits.decide(second, 0, T + 60_000);
    expect(limits.snapshot().counters.map(({ window }) => window)).toEqual(["month", 1]);
    limits.decide(second, 0, Date.UTC(2028, 2, 1));
    expect(limits.snapshot().counters.map(({ window }) => window)).toEqual(["month", 1]);
  });
});

describe("the state", () => {
  it.each([10, 100, 1000, 1024, 1025, 3000, 30_000, 1_000_000])(
    "of a limit of %i stays within 1025 cells and 16 KiB however it is spent",
    (limit) => {
      const limits = new Limits();
      const policies = [minute(limit)];
      let now = T;
      let most = 0;
      for (let hit = 0; hit < 20_000; hit++) {
        // Swings between a hit every 1 ms and one every 200 ms, so that the log empties and fills again.
        now += 1 + Math.floor(100 * (1 + Math.sin(hit / 1500)) * (hit % 2));
        limits.decide(policies, 1, now);
        if (hit % 50 === 0) most = Math.max(most, ...bytes(limits));
      }
      expect(most).toBeLessThanOrEqual(Math.min(limit, CELLS) * 12);
      expect(most).toBeGreaterThan(Math.min(limit, 700) * 11);
      expect(most).toBeLessThan(16_384);
    },
  );

  it("keeps single milliseconds apart up to 1024 units", () => {
    const limits = new Limits();
    const policies = [minute(1024)];
    expect(spendSingly(limits, policies, 2000, T, 1)).toBe(1024);
    for (let unit = 0; unit < 1024; unit++) {
      const at = T + 60_000 + unit;
      expect(limits.decide(policies, 1, at).outcome).toBe("admitted");
      expect(limits.decide(policies, 1, at).outcome).toBe("refused");
    }
  });

  it.each([1, 2, 3])("lets no unit of a full log expire early, spent every %i ms, then every one", (gap) => {
    const limits = new Limits();
    const policies = [{ name: "large", limit: 3000, window: 10 }];
    const hits: { at: number; units: number }[] = [];
    // Faster in every other window: what expires early is spent again at once.
    for (let at = T; at < T + 40_000; at += at % 20_000 < 10_000 ? gap : 1)
      if (limits.decide(policies, 1, at).outcome === "admitted") hits.push({ at, units: 1 });
    expect(mostInAny(10, hits)).toBe(3000);
  });

  it("counts on when the units ever spent pass 2^32", () => {
    const limits = new Limits();
    const policies = [minute(2 ** 32 - 1)];
    for (let round = 0; round < 4; round++) {
      const at = T + round * 61_000;
      expect(limits.decide(policies, 2 ** 31, at).outcome).toBe("admitted");
      expect(limits.decide(policies, 2 ** 31 - 1, at + 1).outcome).toBe("admitted");
      expect(limits.decide(policies, 2 ** 31, at + 2)).toMatchObject({ retryAfterMs: 59_998 });
      limits.charge(2 ** 31, at + 2);
      expect(limits.decide(policies, 1, at + 3)).toMatchObject({ outcome: "refused", retryAfterMs: 59_997 });
      expect(limits.standings(policies, at + 60_002)).toMatchObject([{ remaining: 2 ** 32 - 1 }]);
    }
  });

  it("keeps the bound and the history when the limit crosses 1024 both ways", () => {
    const limits = new Limits();
    spendSingly(limits, [minute(1000)], 1000, T, 1);
    expect(spendSingly(limits, [minute(5000)], 6000, T + 1000, 9)).toBe(4000);
    expect(Math.max(...bytes(limits))).toBeLessThanOrEqual(CELLS * 12);
    const refused = limits.decide([minute(1000)], 1, T + 59_000);
    // The last 1000 of 4000 units were spent from T + 1000 + 3001 * 9 on.
    expect(refused).toMatchObject({ outcome: "refused", standings: [{ remaining: 0 }] });
    const late = T + 61_000 + 3000 * 9 - (T + 59_000);
    const retryAfterMs = refused.outcome === "refused" ? refused.retryAfterMs : Number.NaN;
    expect(retryAfterMs).toBeGreaterThanOrEqual(late);
    expect(retryAfterMs).toBeLessThan(late + 60_000 / 1024);
  });
});
