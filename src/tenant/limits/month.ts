/** The end of the month that counts, in ms UTC, and the units spent in it. */
export type MonthSnapshot = { readonly window: "month"; readonly until: number; readonly used: number };

/** The units spent in one calendar month, UTC. Times must not decrease from call to call. */
export class MonthCount {
  readonly window = "month";
  /** Units spent in this month, as of the last `advance()`. */
  used = 0;
  // Before any month: the first advance() begins one.
  #until = -Infinity;

  constructor(snapshot?: MonthSnapshot) {
    if (!snapshot) return;
    this.#until = snapshot.until;
    this.used = snapshot.used;
  }

  /** Starts anew when the month of `now`, in ms, is another one. */
  advance(now: number): void {
    if (now < this.#until) return;
    this.#until = endOfMonth(now);
    this.used = 0;
  }

  /** Counts `units` as spent in the month that the last `advance()` has reached. */
  spend(units: number): void {
    this.used += units;
  }

  /** The first instant, in ms, at which `cost` units fit under `limit`; −∞ when they fit already, ∞ if they never do. */
  fitsAt(limit: number, cost: number): number {
    if (cost > limit) return Infinity;
    return this.used + cost <= limit ? -Infinity : this.#until;
  }

  /** The instant, in ms, at which the month ends. */
  resetsAt(): number {
    return this.#until;
  }

  /** A copy of the state. */
  snapshot(): MonthSnapshot {
    return { window: this.window, until: this.#until, used: this.used };
  }
}

/** The first millisecond of the UTC month after the one that `now` falls into. */
function endOfMonth(now: number): number {
  const date = new Date(now);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}
