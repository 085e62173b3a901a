import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { alive, describeProcess, processIn, worksIn } from "./holders.ts";

const LEAVE_TIMEOUT_MS = 15_000;
const POLL_MS = 10;
const PID_FILE = "postmaster.pid";

/**
 * Waits for a Postgres of a stack that was killed to leave its data; its guard is stopping it. A postmaster.pid that
 * is no such Postgres' would keep the next one from starting, so it is removed.
 */
export async function awaitPredecessor(data: string): Promise<void> {
  for (const deadline = Date.now() + LEAVE_TIMEOUT_MS; ; await delay(POLL_MS)) {
    if (!existsSync(join(data, PID_FILE))) return;
    const pid = Number(readPidFile(data)[0]);
    const known = Number.isInteger(pid) && pid > 0;
    // Postgres itself looks for what a dead postmaster left running.
    if (known && !alive(pid)) return;
    const holder = known ? [pid].find((id) => worksIn(id, data)) : processIn(data);
    if (holder === undefined) {
      rmSync(join(data, PID_FILE), { force: true });
      return;
    }
    if (Date.now() > deadline) {
      throw new Error(
        `The data in ${data} is in use by ${describeProcess(holder)}. Stop it, then start again.`,
      );
    }
  }
}

/** The lines of postmaster.pid; none when it cannot be read. */
export function readPidFile(data: string): string[] {
  try {
    return readFileSync(join(data, PID_FILE), "utf8").split("\n");
  } catch {
    return [];
  }
}
