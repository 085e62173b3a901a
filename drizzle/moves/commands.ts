import { SHARED_SITE } from "../../src/db/places.ts";
import { inControl } from "../fleet.ts";
import type { MigrationOptions } from "../migrate.ts";
import { addSite } from "../site-add.ts";
import { eraseRows } from "../../src/lifecycle/erase-rows.ts";
import {
  beginJob,
  noteOfJob,
  placeOfMovable,
  requireUnderWay,
  takeOver,
  type Job,
  type JobVariables,
  type Why,
} from "./jobs.ts";
import { abandon, move, type Move, type Progress } from "./move.ts";
import { Pace, Stopped } from "./pace.ts";
import { ProgressLine } from "./progress.ts";
import { dropOldUndos, giveUp, restoreFrom, undoRestore } from "./restoring.ts";
import { work } from "./run.ts";
import type { Difference } from "./differences.ts";

/** What a command of these may be told. */
export type MoveOptions = {
  /** Rows a second, at most. */
  rate: number;
  /** Asks whoever runs it; a false ends it before anything was done. */
  confirm: (question: string) => Promise<boolean>;
} & Pick<MigrationOptions, "content"> &
  Why;

/** Rows a second that neighbours hardly notice. */
export const DEFAULT_RATE = 3000;

/** What somebody sees of a job, at a terminal or not. */
type Watched = { pace: Pace; line: ProgressLine };

/** Runs it with progress shown, until it ends or somebody presses Ctrl-C. */
async function watched<Result>(rate: number, run: (of: Watched) => Promise<Result>): Promise<Result> {
  const line = new ProgressLine();
  const pace = new Pace(rate, (text) => line.say(text));
  const stop = () => pace.stop();
  process.once("SIGINT", stop);
  try {
    return await run({ pace, line });
  } finally {
    process.off("SIGINT", stop);
    line.close();
  }
}

/** Moves the tenant, or says why not. Returns what was done, in a sentence. */
export async function moveTenant(
  slug: string,
  to: string,
  variables: JobVariables,
  { rate, confirm, content, reason }: MoveOptions,
): Promise<{ done: string; progress?: Progress }> {
  const options = content === undefined ? {} : { content };
  const name = to === "schema" ? ownSiteOf(slug) : to;
  const from = await placeOfMovable(variables, slug, { name, isToBeMade: to === "schema" });
  const where = to === "schema" ? `a schema of its own, the site ${name}` : name;
  if (
    !(await confirm(
      `Move ${slug} from ${from} to ${where}? It works on meanwhile; its writes are held for less than a second.`,
    ))
  )
    return { done: "Nothing was done." };
  if (to === "schema") await addSite({ name, schema: true }, variables, { ...options, say: () => undefined });
  return carryOut(await beginJob(variables, slug, "move", name, { ...options, reason }), variables, rate);
}

/** Goes on with the tenant's move, from wherever it was left. */
export async function resumeMove(slug: string, variables: JobVariables, rate: number, { reason }: Why = {}) {
  const job = await takeOver(variables, slug);
  await noteOfJob(variables, job, "tenant.resume", reason);
  return carryOut(job, variables, rate);
}

function carryOut(
  job: Job,
  variables: JobVariables,
  rate: number,
): Promise<{ done: string; progress: Progress }> {
  return watched(rate, async ({ pace, line }) => {
    const show = (progress: Progress) => line.show(progress);
    try {
      if (job.kind === "restore") throw new Error("A restore is abandoned and begun again, not resumed.");
      if (job.kind === "clear") await work(variables, job, pace, show, clear);
      else await work(variables, job, pace, show, move);
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
      throw new Error(
        `Stopped. The tenant works where it was. \`npm run tenants -- moves resume ${job.slug}\` goes on, \`… moves abandon ${job.slug}\` gives up.`,
        { cause: error },
      );
    }
    const { rows, heldMs } = job.progress;
    if (job.kind === "clear")
      return { done: `Deleted ${rows} rows of ${job.slug} at ${job.target}.`, progress: job.progress };
    return {
      done:
        `${job.slug} is at ${job.target} now: ${rows.toLocaleString("en-US")} rows` +
        (heldMs === undefined ? "." : `; its writes were held for ${Math.round(heldMs)} ms.`),
      progress: job.progress,
    };
  });
}

/** Gives the tenant's move up: it stays where it is. */
export async function abandonMove(
  slug: string,
  variables: JobVariables,
  { reason, confirm }: Pick<MoveOptions, "reason" | "confirm">,
): Promise<string> {
  await requireUnderWay(variables, slug);
  if (!(await confirm(`Give up what is under way for ${slug}? What was copied is deleted.`)))
    return "Nothing was done.";
  const job = await takeOver(variables, slug);
  await noteOfJob(variables, job, "tenant.abandon", reason);
  if (job.kind === "restore")
    return (await giveUp(job, variables))
      ? `The restore of ${slug} was done already. \`npm run tenants -- undo ${slug}\` takes it back.`
      : `The restore of ${slug} is abandoned: nothing was changed.`;
  const isAbandoned = await watched(Infinity, ({ pace, line }) =>
    work(
      variables,
      job,
      pace,
      (progress) => line.show(progress),
      job.kind === "clear" ? stopClearing : abandon,
    ),
  );
  return isAbandoned
    ? `The ${job.kind} of ${slug} is abandoned: it stays at ${job.source}.`
    : `The move of ${slug} had come too far to be abandoned: it is at ${job.target} now.`;
}

/** What a restore would do or has done, table by table, with some of the rows' keys. */
export type RestoreTold = {
  table: string;
  added: number;
  changed: number;
  deleted: number;
  samples: string[];
};

/** Sets a tenant's rows back: to those in a copy, or to those before its last restore. Returns what was done. */
export const restoreTenant = (
  slug: string,
  from: string | undefined,
  variables: JobVariables,
  {
    rate,
    preview,
    confirm,
    tell,
    content,
    reason,
  }: MoveOptions & { preview: boolean; tell: (told: RestoreTold[]) => void },
): Promise<{ done: string; tables: RestoreTold[] }> =>
  watched(rate, async ({ pace, line }) => {
    let tables: RestoreTold[] = [];
    const options = {
      pace,
      reason,
      ...(content !== undefined && { content }),
      confirm: async (differences: readonly Difference[]) => {
        line.close();
        tables = differences
          .map(toldOf)
          .filter(({ added, changed, deleted }) => added + changed + deleted > 0);
        tell(tables);
        return !preview && tables.length > 0 && (await confirm(`Set ${slug} back to that?`));
      },
    };
    const restored = await (from === undefined
      ? undoRestore(slug, variables, options)
      : restoreFrom(slug, from, variables, options));
    if (!restored) return { done: tables.length === 0 ? "Nothing differs." : "Nothing was changed.", tables };
    const since =
      restored.since > 0
        ? ` ${restored.since} rows were changed after the preview, and are set back too.`
        : "";
    return {
      done: `${slug} is set back; its writes were held for ${Math.round(restored.heldMs)} ms.${since} \`npm run tenants -- undo ${slug}\` takes that back, for seven days.`,
      tables,
    };
  });

/** Keys that are shown of each table. */
const SAMPLES = 3;

const toldOf = ({ table, added, changed, deleted }: Difference): RestoreTold => ({
  table: table.name,
  added: added.length,
  changed: changed.length,
  deleted: deleted.length,
  samples: [
    ...added.slice(0, SAMPLES).map((key) => `+${key.join(" ")}`),
    ...changed.slice(0, SAMPLES).map((key) => `~${key.join(" ")}`),
    ...deleted.slice(0, SAMPLES).map((key) => `-${key.join(" ")}`),
  ],
});

export type JobRow = {
  slug: string;
  kind: Job["kind"];
  source: string;
  target: string;
  state: string;
  rows: number;
  started_at: Date;
  worked_at: Date;
  /** Seconds since somebody worked on it; null once it is done. */
  idle_s: number | null;
  kept_until: Date | null;
};

/** The jobs that are under way, first, and those whose leftovers are still there. */
export const listJobs = (variables: Pick<JobVariables, "MIGRATION_DATABASE_URL">): Promise<JobRow[]> =>
  inControl(variables, async (control) => {
    const { rows } = await control.query<JobRow>(
      `select t.slug, j.kind, j.source, j.target, coalesce(j.outcome, j.progress ->> 'phase') as state,
         (j.progress ->> 'rows')::float8 as rows, j.started_at, j.worked_at, j.kept_until,
         case when j.finished_at is null then extract(epoch from now() - j.worked_at)::int end as idle_s
       from control.jobs j join control.tenants t on t.id = j.tenant_id
       where j.finished_at is null or j.kept_until is not null
       order by j.finished_at is not null, j.started_at`,
    );
    return rows;
  });

/** Deletes the rows that moves have left at their sources and that are kept no longer; returns how many, by tenant. */
export async function clearLeftovers(
  variables: JobVariables,
  rate: number,
  { reason }: Why = {},
): Promise<{ slug: string; rows: number }[]> {
  const due = await inControl(variables, async (control) => {
    // A tenant that is back has cleared them itself.
    await control.query(
      `update control.jobs j set kept_until = null from control.tenants t
       where t.id = j.tenant_id and t.site = j.source and j.kind = 'move' and j.kept_until is not null`,
    );
    const { rows } = await control.query<{ slug: string; source: string }>(
      `select distinct t.slug, j.source from control.jobs j join control.tenants t on t.id = j.tenant_id
       where j.kind = 'move' and j.kept_until < now()
         and not exists (select from control.jobs o where o.tenant_id = j.tenant_id and o.finished_at is null)`,
    );
    return rows;
  });
  await dropOldUndos(variables);
  const cleared: { slug: string; rows: number }[] = [];
  for (const { slug, source } of due) {
    const job = await beginJob(variables, slug, "clear", source, { reason });
    await carryOut(job, variables, rate);
    await inControl(variables, (control) =>
      control.query(
        "update control.jobs set kept_until = null where tenant_id = $1 and source = $2 and kind = 'move'",
        [job.tenant, source],
      ),
    );
    cleared.push({ slug, rows: job.progress.rows });
  }
  return cleared;
}

/** Deletes what a tenant has left at the target of this job, which it has moved away from. */
async function clear({ target, progress, control, around }: Move): Promise<void> {
  const was = await target.setFence("loading", 0);
  if (was !== "closed" && was !== "loading") throw new Error("The tenant is there, or was never there.");
  progress.rows += await eraseRows(target, await target.catalog(), ({ rows, bytes }) =>
    around.pace(rows, bytes),
  );
  await target.setFence("closed", 0);
  await control.finish("done");
}

async function stopClearing({ target, control }: Move): Promise<boolean> {
  await target.setFence("loading", 0);
  await target.setFence("closed", 0);
  await control.finish("abandoned");
  return true;
}

/** The name of the site that is a schema of this tenant's own. */
const ownSiteOf = (slug: string): string =>
  /^[a-z]/.test(slug) && slug.length <= 40 && slug !== SHARED_SITE.name ? slug : `t-${slug}`.slice(0, 40);
