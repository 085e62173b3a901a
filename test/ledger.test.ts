import { describe, expect, it } from "vitest";
import type { Policy } from "../src/policy.ts";
import { IDLE_MS, Ledger, type Row } from "../src/tenant/limits/ledger.ts";

const T = Date.UTC(2028, 1, 28, 12);
const minute = (limit: number): Policy[] => [{ name: "minute", limit, window: 60 }];
const startup: Policy[] = [
  { name: "second", limit: 100, window: 1 },
  { name: "minute", limit: 3000, window: 60 },
  { name: "month", limit: 5_000_000, window: "month" },
];

/** What storage gives back after a restart. */
const read = (row: Row | undefined): Row | undefined => structuredClone(row);

/** The row that must be due; it counts as being written. */
function take(ledger: Ledger, now: number): Row {
  const row = ledger.due(now);
  if (!row) throw new Error("no row is due");
  return row;
}

/** A ledger whose first unit is admitted at `now` and whose first row is on disk. */
function begun(policies: Policy[], now: number): { ledger: Ledger; row: Row } {
  const ledger = new Ledger(undefined, now);
  ledger.decide(policies, 1, now);
  const row = take(ledger, now);
  ledger.confirmed();
  return { ledger, row };
}

const reserve = (policies: Policy[]): number => begun(policies, T).row.reserve;

const remaining = (ledger: Ledger, policies: Policy[], now: number): number[] =>
  ledger.standings(policies, now).map((standing) => standing.remaining);

describe("the written-ahead reserve", () => {
  it("holds the first answer back until a row is on disk, and no answer after it", () => {
    const ledger = new Ledger(undefined, T);
    const first = ledger.decide(startup, 1, T);
    expect(first).toMatchObject({ decision: { outcome: "admitted" }, wait: true });
    const row = take(ledger, T);
    expect(row.reserve).toBe(93);
    expect(ledger.due(T)).toBeUndefined();
    expect(ledger.covers(first.mark)).toBe(false);
    ledger.confirmed();
    expect(ledger.covers(first.mark)).toBe(true);
    expect(ledger.decide(startup, 1, T).wait).toBe(false);
  });

  it("is a 32nd of the tightest limit of a minute or longer", () => {
    expect(reserve(minute(300))).toBe(9);
    expect(reserve(minute(30_000))).toBe(937);
    expect(reserve(minute(31))).toBe(0);
    expect(reserve([...minute(3000), { name: "month", limit: 640, window: "month" }])).toBe(20);
    expect(reserve([{ name: "hour", limit: 320, window: 3600 }])).toBe(10);
    // With nothing but short windows: of what they admit in a minute.
    expect(reserve([{ name: "second", limit: 16, window: 1 }])).toBe(30);
  });

  it("is renewed when two thirds of it are spent, without holding anyone back", () => {
    const { ledger } = begun(startup, T);
    for (let unit = 1; unit <= 63; unit++) {
      expect(ledger.decide(startup, 1, T + unit * 20).wait).toBe(false);
      expect(ledger.due(T + unit * 20)).toBeUndefined();
    }
    expect(ledger.decide(startup, 1, T + 1280).wait).toBe(false);
    expect(take(ledger, T + 1280).reserve).toBe(93);
  });

  it("makes admissions wait only once it is used up, however late its renewal is", () => {
    const { ledger } = begun(startup, T);
    const waits: boolean[] = [];
    for (let unit = 1; unit <= 100; unit++) {
      waits.push(ledger.decide(startup, 1, T + unit * 20).wait);
      ledger.due(T + unit * 20);
    }
    expect(waits.indexOf(true)).toBe(93);
    expect(waits.lastIndexOf(false)).toBe(92);
    ledger.confirmed();
    expect(ledger.decide(startup, 1, T + 2100).wait).toBe(false);
  });

  it("makes a request wait that costs more than it, until a row tells of it", () => {
    const { ledger } = begun(minute(320), T);
    const dear = ledger.decide(minute(320), 11, T + 1);
    expect(dear.wait).toBe(true);
    take(ledger, T + 1);
    ledger.confirmed();
    expect(ledger.covers(dear.mark)).toBe(true);
  });

  it("does not stand for units after a row that holds less and may be the one on disk", () => {
    const { ledger } = begun(minute(3200), T);
    // Of the two rows that a crash may leave, the newer one allows 10 units only.
    expect(ledger.decide(minute(320), 1, T + 1).wait).toBe(false);
    expect(take(ledger, T + 1).reserve).toBe(10);
    expect(ledger.decide(minute(320), 10, T + 2).wait).toBe(false);
    expect(ledger.decide(minute(320), 1, T + 3).wait).toBe(true);
  });

  it("shrinks on disk as soon as the limits do", () => {
    const { ledger } = begun(minute(3200), T);
    ledger.decide(minute(320), 0, T + 1);
    expect(take(ledger, T + 1).reserve).toBe(10);
  });

  it("does not stand for a window that the row knows nothing of", () => {
    const { ledger, row } = begun(minute(320), T);
    const both: Policy[] = [...minute(320), { name: "hour", limit: 1000, window: 3600 }];
    const entry = ledger.decide(both, 1, T + 1);
    expect(entry.wait).toBe(true);
    expect(row.snapshot.counters.map(({ window }) => window)).toEqual(["month", 60]);
    expect(take(ledger, T + 1).snapshot.counters.map(({ window }) => window)).toEqual(["month", 60, 3600]);
    ledger.confirmed();
    expect(ledger.covers(entry.mark)).toBe(true);
  });

  it("does not stand for a window opened while a row is being written", () => {
    const { ledger } = begun(minute(320), T);
    for (let unit = 0; unit < 7; unit++) ledger.decide(minute(320), 1, T);
    take(ledger, T);
    const both: Policy[] = [...minute(320), { name: "hour", limit: 1000, window: 3600 }];
    const entry = ledger.decide(both, 1, T + 1);
    ledger.confirmed();
    expect(ledger.covers(entry.mark)).toBe(false);
    take(ledger, T + 1);
    ledger.confirmed();
    expect(ledger.covers(entry.mark)).toBe(true);
  });

  it("refuses to guess without a policy", () => {
    expect(() => new Ledger(undefined, T).decide([], 1, T)).toThrow(RangeError);
  });
});

describe("a crash", () => {
  it("counts the reserve as spent at the restart, in every policy", () => {
    const { row } = begun(startup, T);
    const ledger = new Ledger(read(row), T + 30_000);
    expect(remaining(ledger, startup, T + 30_000)).toEqual([7, 2906, 4_999_906]);
    // The first unit expires a minute after it was spent, the reserve a minute after the restart.
    expect(remaining(ledger, startup, T + 60_000)).toEqual([100, 2907, 4_999_906]);
    expect(remaining(ledger, startup, T + 89_999)).toEqual([100, 2907, 4_999_906]);
    expect(remaining(ledger, startup, T + 90_000)).toEqual([100, 3000, 4_999_906]);
  });

  it("counts the reserve in the month that has begun since, and in a log that was empty", () => {
    const { row } = begun(startup, T);
    const march = Date.UTC(2028, 2, 1);
    expect(remaining(new Ledger(read(row), march), startup, march)).toEqual([7, 2907, 4_999_907]);
  });

  it("leaves nothing of the reserve: the next admission waits for a row", () => {
    const { row } = begun(startup, T);
    const ledger = new Ledger(read(row), T);
    expect(ledger.decide(startup, 1, T).wait).toBe(true);
  });

  it("costs one reserve, not several, when nothing was admitted in between", () => {
    const { row } = begun(startup, T);
    for (let crash = 0; crash < 5; crash++) new Ledger(read(row), T + crash).decide(startup, 0, T + crash);
    expect(remaining(new Ledger(read(row), T + 9), startup, T + 9)[2]).toBe(4_999_906);
  });

  it("may leave the row that was being written: it holds the units that waited for it", () => {
    const { ledger } = begun(minute(320), T);
    ledger.decide(minute(320), 100, T + 1);
    const after = new Ledger(read(take(ledger, T + 1)), T + 2);
    expect(remaining(after, minute(320), T + 2)).toEqual([320 - 101 - 10]);
  });

  it("does not undo a failed write: what that row allows is all that may be answered", () => {
    const { ledger } = begun(minute(3200), T);
    ledger.decide(minute(320), 1, T + 1);
    take(ledger, T + 1); // 10 units in reserve instead of 100
    ledger.failed(T + 2);
    expect(ledger.decide(minute(320), 11, T + 3).wait).toBe(true);
    const entry = ledger.decide(minute(320), 1, T + 4);
    take(ledger, T + 4);
    ledger.confirmed();
    expect(ledger.covers(entry.mark)).toBe(true);
  });
});

describe("a pause", () => {
  it("is followed by a row of the exact state, so that a restart loses nothing", () => {
    const { ledger } = begun(startup, T);
    ledger.decide(startup, 5, T + 10);
    expect(ledger.idleIn(T + 10)).toBe(IDLE_MS);
    expect(ledger.due(T + 10 + IDLE_MS - 1)).toBeUndefined();
    const row = take(ledger, T + 10 + IDLE_MS);
    expect(row.reserve).toBe(0);
    ledger.confirmed();
    expect(ledger.idleIn(T + 10 + IDLE_MS)).toBe(Infinity);
    expect(ledger.due(T + 99_000)).toBeUndefined();
    expect(remaining(new Ledger(read(row), T + 20_000), startup, T + 20_000)).toEqual([100, 2994, 4_999_994]);
  });

  it("makes the next admission wait, even while the exact state is still being written", () => {
    const { ledger } = begun(startup, T);
    take(ledger, T + IDLE_MS);
    const entry = ledger.decide(startup, 1, T + IDLE_MS + 1);
    expect(entry.wait).toBe(true);
    ledger.confirmed();
    expect(ledger.covers(entry.mark)).toBe(false);
    take(ledger, T + IDLE_MS + 2);
    ledger.confirmed();
    expect(ledger.covers(entry.mark)).toBe(true);
  });

  it("is not ended by refusals and looks", () => {
    const { ledger } = begun(minute(1), T);
    const { ledger: larger } = begun(minute(320), T);
    ledger.decide(minute(1), 1, T + IDLE_MS - 1);
    larger.decide(minute(320), 0, T + IDLE_MS - 1);
    expect(larger.idleIn(T + IDLE_MS)).toBe(0);
    // Without a reserve each row is the exact state already.
    expect(ledger.idleIn(T + IDLE_MS)).toBe(Infinity);
  });

  it("after a crash writes down what the crash cost, so that it costs it once", () => {
    const { row } = begun(startup, T);
    const ledger = new Ledger(read(row), T + 1000);
    const exact = take(ledger, T + 1000 + IDLE_MS);
    expect(exact.reserve).toBe(0);
    const later = T + 1000 + 60_000;
    expect(remaining(new Ledger(read(exact), later), startup, later)).toEqual([100, 3000, 4_999_906]);
  });

  it("is waited for again when the row of the exact state fails", () => {
    const { ledger } = begun(startup, T);
    take(ledger, T + IDLE_MS);
    ledger.failed(T + IDLE_MS + 50);
    expect(ledger.idleIn(T + IDLE_MS + 50)).toBe(IDLE_MS);
    expect(take(ledger, T + 2 * IDLE_MS + 50).reserve).toBe(0);
  });
});
