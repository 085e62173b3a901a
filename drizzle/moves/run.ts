import pg from "pg";
import { messageOf, Unreachable } from "../connected.ts";
import { CatalogChanged } from "./copy.ts";
import { stateOf, SUPERSEDED } from "../../src/lifecycle/end.ts";
import { JobControl, loginsAtSite, siteNamed, takeOver, type Job, type JobVariables } from "./jobs.ts";
import { Superseded, type Move, type Progress } from "./move.ts";
import { Pace } from "./pace.ts";
import { SiteEnd } from "./site-end.ts";

/** Attempts that are made without being asked, when a connection breaks or a migration comes between. */
const MAX_ATTEMPTS = 8;
const RETRY_MS = 2000;

/** SQLSTATEs of a row that no longer fits its table, and of a table or column that is no longer there. */
const MISSHAPEN = new Set(["22P02", "42703", "42P01", "42804", "21000"]);

/**
 * Has an attempt made at the job, and another one if a connection broke or the tables have changed; `job` is the last one
 * afterwards. What an attempt sent and got no answer to does nothing once the next one has begun.
 */
export async function work<Result>(
  variables: JobVariables,
  job: Job,
  pace: Pace,
  watch: (progress: Progress) => void,
  attempt: (of: Move) => Promise<Result>,
): Promise<Result> {
  const endAt = async (site: string) =>
    new SiteEnd(loginsAtSite(variables, await siteNamed(variables, site)), {
      tenant: job.tenant,
      job: job.id,
      token: job.token,
    });
  for (let time = 1; ; time++) {
    try {
      await using source = await endAt(job.source);
      await using target = await endAt(job.target);
      const { epoch, progress } = job;
      const control = new JobControl(variables, job, watch);
      return await attempt({ source, target, epoch, progress, control, around: pace });
    } catch (error) {
      if (error instanceof Superseded || stateOf(error) === SUPERSEDED)
        throw new Error("Somebody else has taken this job over, and goes on with it.", { cause: error });
      if (!isPassing(error) || time === MAX_ATTEMPTS) throw error;
      pace.say(`going on after ${reasonOf(error)}`);
      await pace.pause(RETRY_MS);
      Object.assign(job, await takeOver(variables, job.slug));
    }
  }
}

/** In words, without a row's text, which Postgres may quote. */
const reasonOf = (error: unknown): string =>
  error instanceof CatalogChanged || MISSHAPEN.has(stateOf(error) ?? "")
    ? "a migration has changed the tables"
    : `a connection has failed: ${messageOf(error)}`;

/** Whether it may be gone the next time: a server that is away, or a table that is being changed. */
function isPassing(thrown: unknown): boolean {
  const error = thrown instanceof Unreachable ? thrown.cause : thrown;
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
