import { MAX_UNITS, SlidingLog, type LogSnapshot } from "./sliding-log.ts";
import type { Decision, Policy, Standing } from "../../policy.ts";
import { MonthCount, type MonthSnapshot } from "./month.ts";

/** Everything that counts, as a structured-clone value: at most 12,300 bytes of cells a window. */
export type LimitsSnapshot = {
  readonly clock: number;
  readonly counters: readonly (LogSnapshot | MonthSnapshot)[];
};

/** The longest window that slides, in seconds: a leap year. */
export const MAX_WINDOW_S = 366 * 86_400;

type Counter = SlidingLog | MonthCount;

/**
 * The exact counters of one tenant, one per window. Limits are given with each call and are no part of them, so
 * a plan change keeps the history. The month is always counted; a window that no policy names any more goes on counting
 * until nothing is left in it. Times are in ms; a clock that runs backwards stands still, also across snapshots.
 */
export class Limits {
  #clock: number;
  readonly #counters: Counter[];
  #opened = 0;
  #policies: readonly Policy[] = [];
  #named: Counter[] = [];

  constructor(snapshot?: LimitsSnapshot) {
    this.#clock = snapshot?.clock ?? -Infinity;
    this.#counters = (snapshot?.counters ?? []).map((counter) =>
      counter.window === "month" ? new MonthCount(counter) : new SlidingLog(counter.window, counter),
    );
    // Under every plan, so that one with a limit a month finds what was spent under one without.
    if (!this.#counters.some(({ window }) => window === "month")) this.#counters.push(new MonthCount());
  }

  /** How many counters were opened since the snapshot: those that it knows nothing of. */
  get opened(): number {
    return this.#opened;
  }

  /** Evaluates all policies, then charges all counters with `cost` or none. A cost of 0 looks and always passes. */
  decide(policies: readonly Policy[], cost: number, now: number): Decision {
    if (!Number.isSafeInteger(cost) || cost < 0)
      throw new RangeError(`cost ${cost} is not a whole number ≥ 0`);
    this.#advance(policies, now);
    const fitsAt = cost === 0 ? -Infinity : this.#fitsAt(policies, cost);
    if (fitsAt === -Infinity) {
      if (cost > 0) this.#spend(cost);
      return { outcome: "admitted", standings: this.#standings(now) };
    }
    const standings = this.#standings(now);
    if (fitsAt === Infinity) {
      const violated = policies.filter((policy) => cost > policy.limit);
      return { outcome: "impossible", violated: violated.map((policy) => policy.name), standings };
    }
    const violated = policies.filter(
      (policy, index) => (this.#named[index]?.used ?? 0) + cost > policy.limit,
    );
    return {
      outcome: "refused",
      // From the caller's clock, even if it lags behind ours: that is the one it will wait by.
      retryAfterMs: fitsAt - now,
      violated: violated.map((policy) => policy.name),
      standings,
    };
  }

  /** What is left of each policy at `now`, in ms. Spends nothing. */
  standings(policies: readonly Policy[], now: number): Standing[] {
    this.#advance(policies, now);
    return this.#standings(now);
  }

  /** Counts `units` as spent at `now`, in ms, in every open counter, whatever the limits. */
  charge(units: number, now: number): void {
    this.#tick(now);
    // No counter is closed here: an empty one is where such units may belong.
    for (const counter of this.#counters) counter.advance(this.#clock);
    this.#spend(units);
  }

  /** A copy of the whole state, from which `new Limits(snapshot)` goes on exactly. */
  snapshot(): LimitsSnapshot {
    return { clock: this.#clock, counters: this.#counters.map((counter) => counter.snapshot()) };
  }

  /** The first instant, in ms, at which `cost` fits under all policies: what fits stays so while nobody spends. */
  #fitsAt(policies: readonly Policy[], cost: number): number {
    let latest = -Infinity;
    for (let index = 0; index < policies.length; index++) {
      const limit = policies[index]?.limit ?? 0;
      latest = Math.max(latest, this.#named[index]?.fitsAt(limit, cost) ?? Infinity);
    }
    return latest;
  }

  /** Charges every open counter, named or not: a limit that comes back finds its history. */
  #spend(units: number): void {
    for (const counter of this.#counters) counter.spend(units, this.#clock);
  }

  /** The standings of the named policies, counted from the caller's clock. */
  #standings(now: number): Standing[] {
    return this.#policies.map(({ name, limit, window }, index) => {
      const counter = this.#named[index];
      return {
        name,
        limit,
        window,
        remaining: Math.max(0, limit - (counter?.used ?? 0)),
        resetMs: Math.max(0, (counter?.resetsAt() ?? 0) - now),
      };
    });
  }

  /** Brings the clock and every counter to `now`, and closes what is neither named nor counting. */
  #advance(policies: readonly Policy[], now: number): void {
    this.#tick(now);
    if (policies !== this.#policies) this.#name(policies);
    for (let index = this.#counters.length - 1; index >= 0; index--) {
      const counter = this.#counters[index];
      counter?.advance(this.#clock);
      if (counter?.used === 0 && counter.window !== "month" && !this.#named.includes(counter))
        this.#counters.splice(index, 1);
    }
  }

  /** Moves the clock to `now`, in ms, unless it is there or further. */
  #tick(now: number): void {
    if (!Number.isFinite(now)) throw new RangeError(`${now} is not a time in ms`);
    this.#clock = Math.max(this.#clock, now);
  }

  /** Finds or opens the counter of each policy's window. */
  #name(policies: readonly Policy[]): void {
    policies.forEach(check);
    this.#named = policies.map(({ window }) => {
      const counter = this.#counters.find((open) => open.window === window);
      return counter ?? this.#open(window);
    });
    this.#policies = policies;
  }

  /** A new counter, which knows of nothing spent before. */
  #open(window: Policy["window"]): Counter {
    const counter = window === "month" ? new MonthCount() : new SlidingLog(window);
    this.#counters.push(counter);
    this.#opened += 1;
    return counter;
  }
}

/** Throws RangeError unless the limit and the window can be counted exactly. */
function check({ name, limit, window }: Policy): void {
  if (!Number.isInteger(limit) || limit < 0 || limit > MAX_UNITS)
    throw new RangeError(`policy ${name}: the limit ${limit} is not a whole number from 0 to ${MAX_UNITS}`);
  if (window !== "month" && !(Number.isInteger(window) && window > 0 && window <= MAX_WINDOW_S))
    throw new RangeError(
      `policy ${name}: the window ${window} is neither whole seconds up to a year nor "month"`,
    );
}
