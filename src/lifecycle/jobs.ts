import { eq, sql } from "drizzle-orm";
import * as v from "valibot";
import { jobs } from "../db/control.ts";
import { edgeRecord } from "../db/edge-record.ts";
import type { Home } from "../db/places.ts";
import { query, type Given } from "../db/query.ts";
import { bindings } from "../env.ts";
import { openForObject } from "../tenant/news.ts";
import { EdgeRecord, homeOf } from "../tenant/record.ts";
import type { Attempt } from "./job-site.ts";
import { Superseded } from "./superseded.ts";

/** What the Worker does to a tenant's content as a whole, as a Workflow of one instance a job. */
export type Job = { kind: "export" | "import" | "erasure"; tenant: string; job: string };

/** What a step may take of the control plane. */
const CONTROL_TIMEOUT_MS = 10_000;

/**
 * A job's control plane, as the tenant's object sees it: what runs a tenant's jobs acts in its name. What it may do to jobs,
 * the functions of drizzle/control/0008_lifecycle_functions.sql say.
 */
export const controlOf = (tenant: string) => openForObject("account", tenant, CONTROL_TIMEOUT_MS);

/** An attempt at a job, where the tenant's content is, and how far the attempts before have noted that they were. */
export type Claim = Attempt & Home & { progress: Progress };
/** `isLoading`: the tenant was empty, and may have rows of an import by now. `isLoaded`: it has all of them. */
const Progress = v.object({
  rows: v.exactOptional(v.number()),
  isLoading: v.exactOptional(v.boolean()),
  isLoaded: v.exactOptional(v.boolean()),
});
type Progress = v.InferOutput<typeof Progress>;

const claiming = query((db, { job }: Given<{ job: string }>) =>
  db.execute(sql`
    select c.token::float8 as token, c.epoch, j.progress, ${edgeRecord} as tenant
    from claim_job(${job}) c, tenants t, jobs j where j.finished_at is null`),
);
const Claimed = v.array(
  v.object({
    token: v.number(),
    epoch: v.number(),
    progress: Progress,
    tenant: EdgeRecord,
  }),
);

/** Takes the job over, as a new attempt. Undefined when it has ended. */
export async function claimJob({ tenant, job }: Pick<Job, "tenant" | "job">): Promise<Claim | undefined> {
  const { claimed } = await controlOf(tenant).write({ claimed: claiming({ job }) });
  const [found] = v.parse(Claimed, claimed.rows);
  if (!found) return undefined;
  const { token, epoch, progress } = found;
  return { tenant, job, token, epoch, progress, site: homeOf(found.tenant).site };
}

const ending = query((db, { job }: Given<{ job: string }>) =>
  db.select({ outcome: jobs.outcome }).from(jobs).where(eq(jobs.id, job)),
);

/** What has come of a job: null while it is under way, and `erased` when its tenant is no more. */
export async function outcomeOf({ tenant, job }: Pick<Job, "tenant" | "job">) {
  const { found } = await controlOf(tenant).read({ found: ending({ job }) });
  return found[0] ? found[0].outcome : "erased";
}

const noting = query((db, given: Given<{ job: string; token: number; progress: string }>) =>
  db.execute(sql`select note_job(${given.job}, ${given.token}, ${given.progress}::jsonb) as done`),
);
const finishing = query(
  (db, given: Given<{ job: string; token: number; outcome: string; result: string; days: number | null }>) =>
    db.execute(sql`
      select finish_job(${given.job}, ${given.token}, ${given.outcome}, ${given.result}::jsonb, ${given.days}) as done`),
);
const Done = v.tuple([v.object({ done: v.boolean() })]);

/** Notes how far the attempt is, for people. Throws Superseded. */
export async function noteJob({ tenant, job, token }: Attempt, progress: Progress): Promise<void> {
  const { noted } = await controlOf(tenant).write({
    noted: noting({ job, token, progress: JSON.stringify(progress) }),
  });
  const [{ done }] = v.parse(Done, noted.rows);
  if (!done) throw new Superseded();
}

/** Ends the job; what it has made is kept for so many days. Throws Superseded. */
export async function finishJob(
  { tenant, job, token }: Attempt,
  outcome: "done" | "failed",
  result: object,
  days: number | null = null,
): Promise<void> {
  const { finished } = await controlOf(tenant).write({
    finished: finishing({ job, token, outcome, result: JSON.stringify(result), days }),
  });
  const [{ done }] = v.parse(Done, finished.rows);
  if (!done) throw new Superseded();
}

/** What the platform keeps of an instance that has ended has keys of the tenant's rows in it. */
const KEPT = { successRetention: "1 day", errorRetention: "1 day" } as const;

/** Has the job worked on, by an instance of that name if there is none yet; a second one does no harm. */
export async function startJob(job: Job, id = job.job): Promise<void> {
  try {
    await bindings.LIFECYCLE.create({ id, params: job, retention: KEPT });
  } catch (error) {
    // As when a request is repeated whose answer was lost.
    if (!/already.exists/i.test(String(error))) throw error;
  }
}

const dropping = query((db, { job }: Given<{ job: string }>) => db.execute(sql`select drop_export(${job})`));

/** The archive of an export is no longer kept. */
export async function dropExport(tenant: string, job: string): Promise<void> {
  await controlOf(tenant).write({ "": dropping({ job }) });
}
