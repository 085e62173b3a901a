import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Usage, type StoredPeriod, type StoredUsage } from "../src/tenant/usage.ts";
import { DAY_MS, HOUR_MS } from "../src/usage-figures.ts";
import { RUNS } from "./support/ideal-limits.ts";

const T = Date.UTC(2028, 1, 28, 12);
const [REQUESTS, REFUSED, UNITS, ERRORS, BYTES, DB_MS, OBJECT_MS] = [0, 1, 2, 3, 4, 5, 6] as const;

/** What Postgres has, as record_usage() takes it. */
class Taker {
  readonly periods = new Map<string, StoredPeriod>();

  take({ periods }: StoredUsage): void {
    for (const period of periods) {
      const name = period.slice(0, 3).join(" ");
      if ((this.periods.get(name)?.[3] ?? 0) < period[3]) this.periods.set(name, period);
    }
  }

  sum(kind: string, figure: number): number {
    let sum = 0;
    for (const [of, , , , counts] of this.periods.values()) if (of === kind) sum += counts[figure] ?? 0;
    return sum;
  }
}

const read = (stored: StoredUsage | undefined) => structuredClone(stored);
/** Has it stored, and returns what is on disk then. */
function store(usage: Usage): StoredUsage {
  const row = usage.snapshot();
  usage.confirmed(row);
  return structuredClone(row);
}
/** Has all that is stored taken by Postgres. */
function flush(usage: Usage, taker: Taker): void {
  const news = usage.unflushed();
  if (!news) return;
  taker.take(structuredClone(news));
  usage.flushed(news.seq);
}
const figures = (usage: Usage, kind: string): Record<string, number[]> => {
  const found = store(usage).periods.filter(([of]) => of === kind);
  return Object.fromEntries(
    found.map(([, start, key, , counts]) => [key || new Date(start).toISOString(), counts]),
  );
};

describe("usage", () => {
  it("is counted by hours and days of UTC, and by API keys and days", () => {
    const usage = new Usage(undefined, T);
    usage.count(T, 2, 1, 12);
    usage.countKey("a", 10);
    usage.countKey("a", 0);
    usage.count(T + HOUR_MS, 1, 0, 1);
    usage.count(T + DAY_MS, 1, 0, 3);
    usage.countKey("a", 3);
    const of = (kind: string) =>
      Object.values(figures(usage, kind)).map((counts) => [counts[REQUESTS], counts[REFUSED], counts[UNITS]]);
    expect(of("hour")).toEqual([
      [2, 1, 12],
      [1, 0, 1],
      [1, 0, 3],
    ]);
    expect(of("day")).toEqual([
      [3, 1, 13],
      [1, 0, 3],
    ]);
    expect(
      store(usage)
        .periods.filter(([kind]) => kind === "key")
        .map(([, , , , counts]) => counts.slice(0, 3)),
    ).toEqual([
      [1, 1, 10],
      [1, 0, 3],
    ]);
  });

  it("takes an isolate's notes for their own hour and day, and none for what may be flushed for good", () => {
    const usage = new Usage(undefined, T);
    usage.count(T, 1, 0, 1);
    const keys = (hash: string) => (hash === "hash" ? "id" : undefined);
    usage.countKey("id", 1);
    usage.take(
      [
        [T, "", 1, 2, 3, 4.5],
        [T - HOUR_MS, "hash", 10, 20, 30, 40],
        [T - 2 * HOUR_MS, "other", 100, 200, 300, 400],
        [T - 2 * DAY_MS, "", 1000, 2000, 3000, 4000],
        // An isolate's clock may be ahead.
        [T + HOUR_MS, "", 5, 5, 5, 5],
      ].flat(),
      keys,
      T,
    );
    const of = (counts: number[] | undefined) => [REFUSED, ERRORS, BYTES, DB_MS].map((at) => counts?.[at]);
    const [hours, days] = [figures(usage, "hour"), figures(usage, "day")];
    expect(of(hours["2028-02-28T12:00:00.000Z"])).toEqual([6, 7, 8, 9.5]);
    expect(of(hours["2028-02-28T11:00:00.000Z"])).toEqual([10, 20, 30, 40]);
    expect(Object.keys(hours)).toHaveLength(2);
    expect(of(days["2028-02-28T00:00:00.000Z"])).toEqual([116, 227, 338, 449.5]);
    expect(Object.keys(days)).toHaveLength(1);
    expect(of(figures(usage, "key")["id"])).toEqual([10, 20, 30, 40]);
  });

  it("counts how long the object is called, up to 10 s after each call that another follows", () => {
    const usage = new Usage(undefined, T);
    for (const after of [0, 3_000, 5_000, 60_000, 61_000]) usage.count(T + after, 1, 0, 1);
    expect(Object.values(figures(usage, "hour"))[0]?.[OBJECT_MS]).toBe(3_000 + 2_000 + 10_000 + 1_000);
  });

  it("goes on in the later hour when the clock is set back", () => {
    const usage = new Usage(undefined, T);
    usage.count(T, 1, 0, 1);
    const again = new Usage(read(store(usage)), T - 2 * HOUR_MS);
    again.count(T - 2 * HOUR_MS, 1, 0, 1);
    expect(Object.values(figures(again, "hour")).map((counts) => counts[REQUESTS])).toEqual([2]);
  });

  it("keeps what Postgres does not take for two days by hours, and lets go of what it has taken", () => {
    const [usage, taker] = [new Usage(undefined, T), new Taker()];
    for (let hour = 0; hour < 72; hour++) usage.count(T + hour * HOUR_MS, 1, 0, 1);
    const kept = store(usage);
    expect(kept.periods.filter(([kind]) => kind === "hour")).toHaveLength(49);
    flush(usage, taker);
    expect(store(usage).periods.map(([kind]) => kind)).toEqual(["hour", "hour", "day", "day"].sort());
    expect(taker.sum("day", REQUESTS)).toBe(72);
  });

  it("counts 100 API keys of a day one by one, and the rest for the tenant alone", () => {
    const usage = new Usage(undefined, T);
    for (let key = 0; key < 150; key++) {
      usage.count(T, 1, 0, 1);
      usage.countKey(`key ${key}`, 1);
    }
    expect(Object.keys(figures(usage, "key"))).toHaveLength(100);
    expect(Object.values(figures(usage, "day"))[0]?.[REQUESTS]).toBe(150);
  });

  it("is nothing to send once Postgres has it, and something again after the next request", () => {
    const [usage, taker] = [new Usage(undefined, T), new Taker()];
    expect(usage.unflushed()).toBeUndefined();
    usage.count(T, 1, 0, 1);
    expect(usage.unflushed()).toBeUndefined();
    store(usage);
    flush(usage, taker);
    expect(usage.unflushed()).toBeUndefined();
    expect(usage.idleIn(T)).toBe(Infinity);
    usage.count(T, 0, 1, 0);
    expect(usage.idleIn(T)).toBe(8_000);
    store(usage);
    expect(usage.unflushed()).toBeDefined();
  });

  it("never exceeds the truth in Postgres, over any crashes, failed writes, and late or repeated flushes", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant("count"), n: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("pass"), n: fc.integer({ min: 1, max: 40 }) }) },
      {
        weight: 5,
        arbitrary: fc.record({
          do: fc.constantFrom("store", "fail", "flush", "lost", "late", "crash", "restart"),
          n: fc.nat({ max: 1 }),
        }),
      },
    );
    const property = fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const taker = new Taker();
      let now = T;
      let disk: StoredUsage | undefined;
      let usage = new Usage(undefined, now);
      const late: StoredUsage[] = [];
      // Requests in all, and of them those that the disk has lost for good.
      let [truth, lost, onDisk] = [0, 0, 0];
      for (const { do: what, n } of steps) {
        if (what === "count") {
          usage.count(now, n, 0, n);
          truth += n;
        }
        if (what === "pass") now += n * 1_000_000;
        if (what === "store" || what === "restart") {
          disk = store(usage);
          onDisk = truth - lost;
        }
        if (what === "fail") {
          const row = usage.snapshot();
          usage.failed();
          if (n === 1) {
            disk = structuredClone(row);
            onDisk = truth - lost;
          }
        }
        const news = usage.unflushed();
        if (news && (what === "lost" || what === "late" || what === "flush"))
          late.push(structuredClone(news));
        if (what === "flush") flush(usage, taker);
        if (what === "late") late.splice(n, 1).forEach((each) => taker.take(each));
        if (what === "crash") lost = truth - onDisk;
        if (what === "crash" || what === "restart") usage = new Usage(read(disk), now);
        expect(taker.sum("day", REQUESTS)).toBeLessThanOrEqual(truth - lost);
        expect(taker.sum("hour", REQUESTS)).toBe(taker.sum("hour", UNITS));
      }
      store(usage);
      flush(usage, taker);
      for (const each of late) taker.take(each);
      // What is older than a week by then, and was never taken, is lost.
      if (now - T < 40 * HOUR_MS) {
        expect(taker.sum("day", REQUESTS)).toBe(truth - lost);
        expect(taker.sum("hour", REQUESTS)).toBe(truth - lost);
      }
    });
    fc.assert(property, { numRuns: 3 * RUNS });
  });
});
