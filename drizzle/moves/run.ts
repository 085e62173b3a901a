import pg from "pg";
import { setTimeout as pause } from "node:timers/promises";
import { messageOf } from "../connected.ts";
import { CatalogChanged } from "./copy.ts";
import { stateOf, SUPERSEDED } from "./end.ts";
import { JobControl, loginsAtSite, siteNamed, takeOver, type Job, type JobVariables } from "./jobs.ts";
import type { Move, Progress } from "./move.ts";
import { Pace } from "./pace.ts";
import { SiteEnd } from "./site-end.ts";

/** Attempts that are made without being asked, when a connection breaks or a migration comes between. */
const MAX_ATTEMPTS = 8;
const RETRY_MS = 2000;

/** SQLSTATEs of a row that no longer fits its table, and of a table or column that is no longer there. */
const MISSHAPEN = new Set(["22P02", "42703", "42P01", "42804", "21000"]);

/**
 * Has `work` done for the job, and again as a new attempt if a connection broke or the tables have changed. What an attempt
 * sent and got no answer to does nothing once the next one has begun.
 */
export async function work<Result>(
  variables: JobVariables,
  job: Job,
  pace: Pace,
  watch: (progress: Progress) => void,
  attempt: (of: Move) => Promise<Result>,
): Promise<Result> {
  for (let current = job, time = 1; ; time++) {
    try {
      return await once(variables, current, pace, watch, attempt);
    } catch (error) {
      if (stateOf(error) === SUPERSEDED)
        throw new Error("Somebody else has taken this job over, and goes on with it.", { cause: error });
      if (!isPassing(error) || time === MAX_ATTEMPTS) throw error;
      pace.say(`going on after ${reasonOf(error)}`);
      await pause(RETRY_MS);
      current = await takeOver(variables, job.slug);
    }
  }
}

async function once<Result>(
  variables: JobVariables,
  job: Job,
  pace: Pace,
  watch: (progress: Progress) => void,
  attempt: (of: Move) => Promise<Result>,
): Promise<Result> {
  const as = { tenant: job.tenant, job: job.id, token: job.token };
  await using source = new SiteEnd(loginsAtSite(variables, await siteNamed(variables, job.source)), as);
  await using target = new SiteEnd(loginsAtSite(variables, await siteNamed(variables, job.target)), as);
  const control = new JobControl(variables, job, watch);
  return await attempt({ source, target, epoch: job.epoch, progress: job.progress, control, around: pace });
}

/** In words, without a row's text, which Postgres may quote. */
const reasonOf = (error: unknown): string =>
  error instanceof CatalogChanged || MISSHAPEN.has(stateOf(error) ?? "")
    ? "a migration has changed the tables"
    : `a connection has failed: ${messageOf(error)}`;

/** Whether it may be gone the next time: a server that is away, or a table that is being changed. */
function isPassing(error: unknown): boolean {
  if (error instanceof CatalogChanged) return true;
  if (error instanceof pg.DatabaseError)
    return /^(08|57P|40|55P03)/.test(error.code ?? "") || MISSHAPEN.has(error.code ?? "");
  // Node's own, such as ECONNRESET, and what node-postgres says when the connection ends.
  return (
    error instanceof Error &&
    ("errno" in error ||
      /^(Connection terminated|Client has encountered a connection error)/.test(error.message))
  );
}
