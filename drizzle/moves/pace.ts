import { setTimeout as sleep } from "node:timers/promises";
import type { Surroundings } from "./move.ts";

/** A row counts once for each so many bytes: large ones cost the neighbours more. */
const BYTES_A_ROW = 1024;

/** The neighbours get in between as often as that. */
const PAGES_A_SECOND = 10;
const MAX_AT_ONCE = 2000;

/** Somebody pressed Ctrl-C, and the work has come to a place where it can go on later. */
export class Stopped extends Error {}

/** Delays work so that no more than so many rows a second are brought, until it is stopped. */
export class Pace implements Surroundings {
  readonly #rate: number;
  readonly #stop = new AbortController();
  readonly say: (line: string) => void;
  readonly rowsAtOnce: number;
  /** When what was done so far is done at this rate. */
  #due = 0;

  /** `rate` is in rows a second. */
  constructor(rate: number, say: (line: string) => void) {
    this.#rate = rate;
    this.say = say;
    this.rowsAtOnce = Math.ceil(Math.min(MAX_AT_ONCE, rate / PAGES_A_SECOND));
  }

  stop(): void {
    this.#stop.abort();
  }

  now(): number {
    return performance.now();
  }

  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => {
      throw new Stopped();
    });
  }

  async pace(rows: number, bytes: number): Promise<void> {
    // The time that the work itself has taken counts: the next page is due when this one is.
    this.#due = Math.max(this.#due, this.now()) + (Math.max(rows, bytes / BYTES_A_ROW) / this.#rate) * 1000;
    await this.pause(Math.max(0, this.#due - this.now()));
  }
}
