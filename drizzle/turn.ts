import { setTimeout } from "node:timers/promises";
import pg from "pg";
import type { BlockerWatch } from "./blockers.ts";

/** How long a migration may hold requests up at a time, and how often it comes back when that was not enough. */
export type Patience = { lockTimeoutMs: number; pauseMs: number; tries: number };

// Shorter than Postgres' deadlock_timeout of 1 s: of a migration and a request in a deadlock, the request goes on.
export const PATIENCE: Patience = { lockTimeoutMs: 500, pauseMs: 1_500, tries: 60 };

const LOCK_NOT_AVAILABLE = "55P03";
const DEADLOCK_DETECTED = "40P01";

/** A connection that migrates, and who looks after it. */
export type Migrating = { client: pg.Client; watch: BlockerWatch; patience: Patience };

/**
 * Runs `work` in a transaction that waits `lockTimeoutMs` for a lock at most: whoever asks for the same table later
 * waits as long. When a lock is not to be had it is rolled back, and runs again after a pause. Throws at the last try.
 */
export async function takeTurn(
  { client, watch, patience }: Migrating,
  work: () => Promise<unknown>,
): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await client.query("begin");
      await client.query(`set local lock_timeout = ${patience.lockTimeoutMs}`);
      await work();
      await client.query("commit");
      return;
    } catch (error) {
      // Where the connection is lost, so is the transaction.
      await client.query("rollback").catch(() => undefined);
      if (!isLockedOut(error)) throw error;
      if (tries === patience.tries) throw lockedOut(tries, watch.last(), error);
    }
    await setTimeout(patience.pauseMs);
  }
}

function isLockedOut(error: unknown): boolean {
  return (
    error instanceof pg.DatabaseError &&
    (error.code === LOCK_NOT_AVAILABLE || error.code === DEADLOCK_DETECTED)
  );
}

function lockedOut(tries: number, blockers: string, cause: unknown): Error {
  return new Error(
    `A lock was not to be had in ${tries} tries. ${blockers} What was begun is rolled back: migrate again later.`,
    { cause },
  );
}
