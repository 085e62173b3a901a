import { and, eq, gt, isNull, or, sql } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { Caller } from "../caller.ts";
import { sqlState } from "../db/client.ts";
import { jobs } from "../db/control.ts";
import { query, type Given } from "../db/query.ts";
import { bindings } from "../env.ts";
import { pageFrom, type PageStart } from "../http/page.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { archiveOf } from "./archive.ts";
import { startJob, type Job } from "./jobs.ts";

/** What begin_job() refuses: the tenant's status, and a job under way. */
const WRONG_STATE = "PW008";
const UNDER_WAY = "PW009";

/** How far a job is, as the API says it. */
export const JOB_STATUSES = ["queued", "running", "done", "failed"] as const;

const status = sql<(typeof JOB_STATUSES)[number]>`case when ${jobs.outcome} = 'done' then 'done'
  when ${jobs.finished_at} is not null then 'failed' when ${jobs.progress} = '{}' then 'queued' else 'running' end`;

/** What is shown of an export or an import. */
const shownJob = {
  id: jobs.id,
  status,
  rows: sql<number>`coalesce(${jobs.result} -> 'rows', ${jobs.progress} -> 'rows', '0')::float8`.mapWith(
    Number,
  ),
  created_at: jobs.started_at,
};
const shownExport = {
  ...shownJob,
  bytes: sql<number | null>`(${jobs.result} -> 'bytes')::float8`,
  sha256: sql<string | null>`${jobs.result} ->> 'sha256'`,
  expires_at: jobs.kept_until,
};

/** Those that are under way, those whose archives are kept, and for a while those that failed. */
const isListed = and(
  eq(jobs.kind, "export"),
  or(
    isNull(jobs.finished_at),
    gt(jobs.kept_until, sql`now()`),
    and(eq(jobs.outcome, "failed"), gt(jobs.finished_at, sql`now() - interval '7 days'`)),
  ),
);

const begun = query((db, { job, kind }: Given<{ job: string; kind: string }>) =>
  db.execute(sql`select begin_job(${job}, ${kind}) as id`),
);
const Begun = v.tuple([v.object({ id: v.string() })]);

/**
 * Begins a job of the caller's tenant, and returns its id: that of the export under way, if there is one, which is not new.
 * Throws `tenant_state` and `job_under_way`.
 */
export async function beginJob(
  account: TenantDb,
  { tenantId }: Caller,
  kind: "export" | "import",
  id = uuidv7(),
): Promise<{ id: string; isNew: boolean }> {
  const { made } = await change(account, tenantId, () => ({ made: begun({ job: id, kind }) })).catch(
    refuseJob,
  );
  const [{ id: job }] = v.parse(Begun, made.rows);
  return { id: job, isNew: job === id };
}

/** Rethrows what begin_job() refuses as `tenant_state` and `job_under_way`; the rest as it is. */
export function refuseJob(error: unknown): never {
  const code = sqlState(error);
  if (code === WRONG_STATE) throw new Problem("tenant_state", { cause: error });
  if (code === UNDER_WAY) throw new Problem("job_under_way", { cause: error });
  throw error;
}

/** Has the job worked on. A sweep does it later where this fails. */
export const startSoon = (job: Job): Promise<void> =>
  startJob(job).catch((error: unknown) =>
    console.error({ message: "job not started", ...job, cause: String(error) }),
  );

const importById = query((db, { id }: Given<{ id: string }>) =>
  db
    .select({ ...shownJob, reason: sql<string | null>`${jobs.result} ->> 'reason'` })
    .from(jobs)
    .where(and(eq(jobs.id, id), eq(jobs.kind, "import"))),
);

/** An import into the tenant. Throws `not_found`. */
export async function findImport(account: TenantDb, id: string) {
  const { found } = await account.read({ found: importById({ id }) });
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

const byId = query((db, { id }: Given<{ id: string }>) =>
  db
    .select(shownExport)
    .from(jobs)
    .where(and(eq(jobs.id, id), isListed)),
);

/** An export of the tenant. Throws `not_found`. */
export async function findExport(account: TenantDb, id: string) {
  const { found } = await account.read({ found: byId({ id }) });
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

/** The tenant's exports, the newest first. */
export const listExports = query((db, page: Given<PageStart>) =>
  pageFrom(
    () => db.select(shownExport).from(jobs).$dynamic(),
    { by: jobs.started_at, id: jobs.id },
    page,
    isListed,
  ),
);

/** The archive of an export that is done, or a range of it. Throws `not_found`. */
export async function openArchive(
  account: TenantDb,
  { tenantId }: Caller,
  id: string,
  range: Headers | undefined,
): Promise<R2ObjectBody> {
  const { status: is } = await findExport(account, id);
  if (is !== "done") throw new Problem("not_found");
  const object = await bindings.ARCHIVES.get(archiveOf(tenantId, "exports", id), range && { range });
  // It says itself whose it is, beside its name.
  if (!object || object.customMetadata?.["tenant"] !== tenantId) throw new Problem("not_found");
  return object;
}

const dropped = query((db, { id }: Given<{ id: string }>) =>
  db.execute(sql`select drop_export(${id}) as done`),
);
const Dropped = v.tuple([v.object({ done: v.boolean() })]);

/** Deletes the archive of an export. Throws `not_found`, and `job_under_way` while it is being made. */
export async function deleteExport(account: TenantDb, { tenantId }: Caller, id: string): Promise<void> {
  const { status: is } = await findExport(account, id);
  if (is === "queued" || is === "running") throw new Problem("job_under_way");
  // First: should it fail, the export is there still, to be deleted again.
  await bindings.ARCHIVES.delete(archiveOf(tenantId, "exports", id));
  const { gone } = await change(account, tenantId, () => ({ gone: dropped({ id }) }));
  const [{ done }] = v.parse(Dropped, gone.rows);
  if (!done) throw new Problem("not_found");
}
