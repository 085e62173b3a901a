import { setTimeout as pause } from "node:timers/promises";
import type { Surroundings } from "./move.ts";

/** A row counts once for each so many bytes: large ones cost the neighbours more. */
const BYTES_A_ROW = 1024;

/** Somebody pressed Ctrl-C, and the work has come to a place where it can go on later. */
export class Stopped extends Error {}

/** Delays work so that no more than so many rows a second are brought, until it is stopped. */
export class Pace implements Surroundings {
  readonly #rate: number;
  readonly say: (line: string) => void;
  #isStopped = false;
  /** When what was done so far is done at this rate. */
  #due = 0;

  /** `rate` is in rows a second. */
  constructor(rate: number, say: (line: string) => void) {
    this.#rate = rate;
    this.say = say;
  }

  stop(): void {
    this.#isStopped = true;
  }

  now(): number {
    return performance.now();
  }

  async pause(ms: number): Promise<void> {
    this.#check();
    await pause(ms);
  }

  async pace(rows: number, bytes: number): Promise<void> {
    this.#check();
    const now = this.now();
    this.#due = Math.max(this.#due, now) + (Math.max(rows, bytes / BYTES_A_ROW) / this.#rate) * 1000;
    // From the time that the work itself takes nothing is added: the next page is due when this one is.
    if (this.#due > now) await pause(this.#due - now);
    this.#due = Math.max(this.#due, now);
    this.#check();
  }

  #check(): void {
    if (this.#isStopped) throw new Stopped("stopped");
  }
}
