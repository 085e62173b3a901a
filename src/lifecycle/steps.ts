import type { WorkflowStep, WorkflowStepConfig } from "cloudflare:workers";
import { stateOf } from "./end.ts";

/** A step that fails is tried again, for about an hour in all: a database may be away that long. */
const STEP = {
  retries: { limit: 12, delay: "1 second", backoff: "exponential" },
  timeout: "10 minutes",
} as const satisfies WorkflowStepConfig;

/** A step of a job: done once, as far as anybody can tell, or again until it is. It returns plain values. */
export type Do = <T>(name: string, work: () => Promise<T>) => Promise<T>;

/** The platform's steps. Its types do not know that plain values are what it takes, and its `do` is no function to bind. */
export const stepOf =
  (step: WorkflowStep): Do =>
  (name, work) =>
    (step as unknown as { do: (name: string, config: object, work: unknown) => Promise<never> }).do(
      name,
      STEP,
      work,
    );

/** Rows a second that a job reads, writes or deletes, so that neighbours at the same database are spared. */
const ROWS_A_SECOND = 5000;

/** Delays a step so that no more rows a second are done. The time that the work itself takes counts. */
export class Pace {
  #due = Date.now();

  /** Returns when so many more rows may have been done. */
  async after(rows: number): Promise<void> {
    const now = Date.now();
    this.#due = Math.max(this.#due, now - 1000) + (rows / ROWS_A_SECOND) * 1000;
    if (this.#due > now) await scheduler.wait(this.#due - now);
  }
}

/** Bytes that are compressed, unpacked or summed up in one go: for some tens of ms, nothing else happens in the isolate. */
const BYTES_IN_ONE_GO = 2 << 20;

/**
 * Passes the chunks on, and pauses now and then, so that other requests of this isolate go on. To wait for a chunk that has
 * arrived already is no such pause.
 */
export async function* takingTurns(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    yield chunk;
    if (bytes < BYTES_IN_ONE_GO) continue;
    bytes = 0;
    await scheduler.wait(1);
  }
}

/** How often a fence is tried to be set while the tenant's writers keep its lock. */
const MAX_FLIPS = 20;
const FLIP_PAUSE_MS = 100;
/** Postgres waited for the tenant's writers for as long as others may wait behind it. */
const LOCK_TIMEOUT = "55P03";

/** Sets a fence, and again while the tenant's writers keep it from being set. */
export async function flipping<T>(flip: () => Promise<T>): Promise<T> {
  for (let time = 1; ; time++) {
    try {
      return await flip();
    } catch (error) {
      if (stateOf(error) !== LOCK_TIMEOUT || time === MAX_FLIPS) throw error;
      await scheduler.wait(FLIP_PAUSE_MS);
    }
  }
}
