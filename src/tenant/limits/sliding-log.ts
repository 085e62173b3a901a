/** The window is cut into this many quanta once a log is full; each unit then expires less than one quantum late. */
const QUANTA = 1024;

/** Cells of a log: a window that slides over a fixed grid of 1024 quanta touches 1025 of them. */
export const CELLS = QUANTA + 1;

/** The most units a log can hold; a limit may not exceed it. */
export const MAX_UNITS = 2 ** 32 - 1;

/** The cells that still count, oldest first: 12 bytes each. `totals` runs up, from the oldest cell on. */
export type LogSnapshot = {
  readonly window: number;
  readonly times: Float64Array<ArrayBuffer>;
  readonly totals: Uint32Array<ArrayBuffer>;
};

/**
 * The units spent in one sliding window of `window` seconds: a unit spent at t counts while now − t < window.
 *
 * Exact while at most 1025 distinct instants count, hence always for limits up to 1024. Beyond that, units of
 * one quantum of window/1024 share a cell at the later time: they expire late by less than a quantum, never early.
 * Times must not decrease from call to call.
 */
export class SlidingLog {
  readonly window: number;
  /** Units that count, as of the last `advance()`. */
  used = 0;
  readonly #span: number;
  readonly #times = new Float64Array(CELLS);
  // Running totals instead of counts: any prefix of the log is then one subtraction. They wrap at 2^32.
  readonly #totals = new Uint32Array(CELLS);
  #oldest = 0;
  #size = 0;
  #expired = 0;
  #coarse = false;

  constructor(window: number, snapshot?: LogSnapshot) {
    this.window = window;
    this.#span = window * 1000;
    if (!snapshot) return;
    this.#times.set(snapshot.times);
    this.#totals.set(snapshot.totals);
    this.#size = snapshot.times.length;
    this.used = snapshot.totals.at(-1) ?? 0;
  }

  /** Lets go of what no longer counts at `now`, in ms. O(1) amortised. */
  advance(now: number): void {
    while (this.#size > 0 && now - this.#time(0) >= this.#span) {
      const total = this.#total(0);
      this.used -= (total - this.#expired) >>> 0;
      this.#expired = total;
      this.#oldest = this.#slot(1);
      this.#size -= 1;
    }
  }

  /** Counts `units` as spent at `now`, in ms; call `advance(now)` before. O(1) amortised. */
  spend(units: number, now: number): void {
    // A log is coarsened only when full and stays so until half empty, so that 1024 steps pay for 512 cells.
    if (this.#size === CELLS && !this.#coarse) this.#coarsen();
    if (this.#size < CELLS / 2) this.#coarse = false;
    if (!this.#joins(now)) this.#size += 1;
    this.used = Math.min(this.used + units, MAX_UNITS);
    this.#put(this.#size - 1, now, this.#expired + this.used);
  }

  /** The first instant, in ms, at which `cost` units fit under `limit`; −∞ when they fit already, ∞ if they never do. */
  fitsAt(limit: number, cost: number): number {
    if (cost > limit) return Infinity;
    const excess = this.used + cost - limit;
    if (excess <= 0) return -Infinity;
    let low = 0;
    let high = this.#size - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#total(middle) - this.#expired) >>> 0 >= excess) high = middle;
      else low = middle + 1;
    }
    return this.#time(low) + this.#span;
  }

  /** The instant, in ms, at which the next unit comes back; −∞ when none is used. */
  resetsAt(): number {
    return this.#size === 0 ? -Infinity : this.#time(0) + this.#span;
  }

  /** A copy of the cells that count: at most 1025, 12,300 bytes. */
  snapshot(): LogSnapshot {
    const times = new Float64Array(this.#size);
    const totals = new Uint32Array(this.#size);
    for (let cell = 0; cell < this.#size; cell++) {
      times[cell] = this.#time(cell);
      totals[cell] = this.#total(cell) - this.#expired;
    }
    return { window: this.window, times, totals };
  }

  /** Merges the cells of each quantum at the latest of their times. */
  #coarsen(): void {
    let kept = 0;
    for (let cell = 0; cell < this.#size; cell++) {
      if (kept > 0 && this.#quantum(this.#time(kept - 1)) === this.#quantum(this.#time(cell))) kept -= 1;
      this.#put(kept, this.#time(cell), this.#total(cell));
      kept += 1;
    }
    this.#size = kept;
    this.#coarse = true;
  }

  /** Whether units spent at `now` go into the newest cell, which then takes `now` for its time. */
  #joins(now: number): boolean {
    if (this.#size === 0) return false;
    const newest = this.#time(this.#size - 1);
    if (now === newest || this.#size === CELLS) return true;
    return this.#coarse && this.#quantum(now) === this.#quantum(newest);
  }

  /** The number of the fixed quantum that `time` falls into; exact for whole milliseconds. */
  #quantum(time: number): number {
    return Math.floor((time * QUANTA) / this.#span);
  }

  /** Where the ring keeps a cell, counted from the oldest. */
  #slot(cell: number): number {
    const slot = this.#oldest + cell;
    return slot < CELLS ? slot : slot - CELLS;
  }

  /** The time of a cell, in ms. */
  #time(cell: number): number {
    return this.#times[this.#slot(cell)] ?? 0;
  }

  /** The units of a cell and of all before it, expired ones included, modulo 2^32. */
  #total(cell: number): number {
    return this.#totals[this.#slot(cell)] ?? 0;
  }

  /** Writes a cell, counted from the oldest. */
  #put(cell: number, time: number, total: number): void {
    this.#times[this.#slot(cell)] = time;
    this.#totals[this.#slot(cell)] = total;
  }
}
