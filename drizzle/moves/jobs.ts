import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { contextKeyOf } from "../../src/db/derived.ts";
import { SHARED_SITE, type Site } from "../../src/db/places.ts";
import type { JOB_KINDS } from "../../src/db/control.ts";
import { keyRing } from "../../src/settings.ts";
import { noteCommand } from "../command-trail.ts";
import { behind, inControl, sentenceOf, withFleet } from "../fleet.ts";
import type { MigrationOptions } from "../migrate.ts";
import { migratorUrls, moverUrl, readSites, type SiteVariables } from "../sites.ts";
import { Superseded, type MoveControl, type Progress } from "./move.ts";
import type { SiteLogins } from "./site-end.ts";

export type JobVariables = SiteVariables & { TENANT_CONTEXT_KEYS: string };

/** Why somebody has it done, for the operators' trail. */
export type Why = { reason?: string | undefined };

/** What is being done to a tenant's content, and as which attempt. */
export type Job = {
  id: string;
  kind: (typeof JOB_KINDS)[number];
  tenant: string;
  slug: string;
  source: string;
  target: string;
  epoch: number;
  token: number;
  progress: Progress;
};

const JOB = `j.id, j.kind, j.tenant_id as tenant, t.slug, j.source, j.target, j.epoch, j.token::int as token, j.progress`;

/** Every change of a tenant's control plane takes this lock first, so no other one runs meanwhile. */
const LOCK = "select control.lock_outbox($1)";

/** How a job begins. */
const BEGINNING: Omit<Progress, "isLeftover"> = { phase: "preparing", prepared: false, rows: 0, bytes: 0 };

/** Progress is noted so often at most: it is for people, and for whoever resumes. */
const NOTE_MS = 1000;

type Tenant = { id: string; site: string; epoch: number; status: string };

/** What the operators' trail says of a job when it begins; of a restore, once its preview is confirmed. */
const ACTIONS: Partial<Record<Job["kind"], string>> = { move: "tenant.move", clear: "tenant.clear" };

/**
 * Begins a job for a tenant, whose content is at its site, and is to be at `target`. Throws a sentence when it may not begin
 * now.
 */
export const beginJob = (
  variables: JobVariables,
  slug: string,
  kind: Job["kind"],
  target: string | undefined,
  { reason, ...options }: Pick<MigrationOptions, "content"> & Why = {},
): Promise<Job> =>
  withFleet(variables, async (control) => {
    const tenant = await readIdle(control, slug);
    const goal = target ?? tenant.site;
    if (kind === "move") requireOther(slug, tenant, goal);
    await requireSite(control, goal);
    const [late] = await behind(control, variables, [tenant.site, goal], options);
    if (late) throw new Error(sentenceOf(late));
    await control.query("begin");
    await control.query(LOCK, [tenant.id]);
    const { rows } = await control
      .query<Job>(
        `with j as (
           insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, progress)
           select $1, t.id, $3, t.site, $4, t.epoch,
             1 + coalesce((select max(token) from control.jobs where tenant_id = t.id), 0),
             $5::jsonb || jsonb_build_object('isLeftover', exists (select from control.jobs where tenant_id = t.id
               and (source = $4 or target = $4 and (progress ->> 'prepared')::boolean)))
           from control.tenants t where t.id = $2 and t.site = $6 and t.epoch = $7 returning *
         )
         select ${JOB} from j join control.tenants t on t.id = j.tenant_id`,
        [uuidv7(), tenant.id, kind, goal, BEGINNING, tenant.site, tenant.epoch],
      )
      .catch((error: unknown) => {
        if (!(error instanceof pg.DatabaseError) || error.constraint !== "jobs_one_at_a_time") throw error;
        throw new Error(`Another job has just begun for ${slug}. \`npm run tenants -- moves\` shows it.`);
      });
    const [job] = rows;
    if (!job) throw new Error(`The tenant ${slug} has just been moved. Try again.`);
    const action = ACTIONS[kind];
    const change = { job: job.id, site: { from: job.source, to: job.target } };
    if (action !== undefined) await noteCommand(control, { action, tenant: job.tenant, change, reason });
    await control.query("commit");
    return job;
  });

/** A tenant for which a job may begin, and where it is. Throws a sentence when it may not. */
async function readIdle(control: pg.Client, slug: string): Promise<Tenant> {
  const { rows } = await control.query<Tenant & { under_way: string | null; idle_s: number }>(
    `select t.id, t.site, t.epoch, t.status, j.kind as under_way,
       extract(epoch from now() - j.worked_at)::int as idle_s
     from control.tenants t left join control.jobs j on j.tenant_id = t.id and j.finished_at is null
     where t.slug = $1`,
    [slug],
  );
  const [tenant] = rows;
  if (!tenant) throw new Error(`There is no tenant ${slug}. \`npm run tenants -- list\` names them.`);
  if (tenant.status === "closing" || tenant.status === "erasing")
    throw new Error(`The tenant ${slug} is ${tenant.status === "closing" ? "closing" : "being erased"}.`);
  if (tenant.under_way !== null)
    throw new Error(
      `Another job is under way for ${slug}: ${tenant.under_way}, last worked on ${tenant.idle_s} s ago. ` +
        "Wait for it. Where nobody works on it any more, `npm run tenants -- moves resume` or `… moves abandon` ends it.",
    );
  return tenant;
}

function requireOther(slug: string, { site }: Tenant, goal: string): void {
  if (site === goal) throw new Error(`The tenant ${slug} is at ${goal} already.`);
}

async function requireSite(control: pg.Client, name: string): Promise<void> {
  const { rowCount } = await control.query("select from control.sites where name = $1", [name]);
  if (rowCount === 0)
    throw new Error(`There is no site ${name}. \`npm run tenants -- site list\` names them.`);
}

/** Where a tenant is that may move to `goal`, which is still to be made where it says so. Throws a sentence when it may not. */
export const placeOfMovable = (
  variables: Pick<JobVariables, "MIGRATION_DATABASE_URL">,
  slug: string,
  goal: { name: string; isToBeMade: boolean },
): Promise<string> =>
  inControl(variables, async (control) => {
    const tenant = await readIdle(control, slug);
    requireOther(slug, tenant, goal.name);
    if (!goal.isToBeMade) await requireSite(control, goal.name);
    return tenant.site;
  });

/** Throws a sentence when nothing is under way for the tenant. */
export const requireUnderWay = (
  variables: Pick<JobVariables, "MIGRATION_DATABASE_URL">,
  slug: string,
): Promise<void> =>
  inControl(variables, async (control) => {
    const { rowCount } = await control.query(
      `select from control.jobs j join control.tenants t on t.id = j.tenant_id where t.slug = $1 and j.finished_at is null`,
      [slug],
    );
    if (rowCount === 0) throw new Error(`Nothing is under way for ${slug}.`);
  });

/** Writes into the operators' trail what somebody does to a job by the command line, and why. */
export const noteOfJob = (
  variables: Pick<JobVariables, "MIGRATION_DATABASE_URL">,
  { id, tenant, kind }: Job,
  action: "tenant.resume" | "tenant.abandon" | "tenant.set_back" | "tenant.undo",
  reason: string | undefined,
): Promise<void> =>
  inControl(variables, (control) =>
    noteCommand(control, { action, tenant, change: { job: id, kind }, reason }),
  );

/** Takes the tenant's job under way over, as a new attempt: whatever an earlier one still does is refused. */
export const takeOver = (variables: JobVariables, slug: string): Promise<Job> =>
  inControl(variables, async (control) => {
    await control.query("begin");
    const { rows: found } = await control.query<{ id: string; tenant_id: string }>(
      `select j.id, j.tenant_id from control.jobs j join control.tenants t on t.id = j.tenant_id
       where t.slug = $1 and j.finished_at is null`,
      [slug],
    );
    const [open] = found;
    if (!open) throw new Error(`Nothing is under way for ${slug}.`);
    await control.query(LOCK, [open.tenant_id]);
    const { rows } = await control.query<Job>(
      `with j as (
         update control.jobs o set worked_at = now(),
           token = 1 + (select max(token) from control.jobs where tenant_id = o.tenant_id)
         where id = $1 and finished_at is null returning *
       )
       select ${JOB} from j join control.tenants t on t.id = j.tenant_id`,
      [open.id],
    );
    await control.query("commit");
    const [job] = rows;
    if (!job) throw new Error(`The job of ${slug} has just ended.`);
    return job;
  });

/** What a job says of itself in the control plane. */
export class JobControl implements MoveControl {
  readonly #variables: JobVariables;
  readonly #job: Job;
  readonly #watch: (progress: Progress) => void;
  #notedAt = -Infinity;
  #noted: Promise<unknown> = Promise.resolve();
  #phase = "";

  constructor(variables: JobVariables, job: Job, watch: (progress: Progress) => void = () => undefined) {
    this.#variables = variables;
    this.#job = job;
    this.#watch = watch;
  }

  async note(progress: Progress): Promise<void> {
    this.#watch(progress);
    const isNew = progress.phase !== this.#phase;
    if (!isNew && performance.now() - this.#notedAt < NOTE_MS) return;
    this.#phase = progress.phase;
    this.#notedAt = performance.now();
    // One after the other, so that the last one holds. Within a phase nobody waits: the next call throws what went wrong.
    await this.#noted;
    const { id, token } = this.#job;
    this.#noted = this.#noteProgress([id, token, structuredClone(progress)]);
    this.#noted.catch(() => undefined);
    if (isNew) await this.#noted;
  }

  async #noteProgress(params: unknown[]): Promise<void> {
    const { rowCount } = await this.#query(
      "update control.jobs set progress = $3, worked_at = now() where id = $1 and token = $2",
      params,
    );
    if (rowCount === 0) throw new Superseded();
  }

  async commit(): Promise<void> {
    await this.#query("select control.commit_move($1, $2)", [this.#job.tenant, this.#job.epoch]);
  }

  /** Writes into the tenant's audit trail that somebody who operates this has set its rows back. */
  async tellOfRestore(): Promise<void> {
    await this.#query(
      `select control.tell($1, 'audit', $1, null, jsonb_build_object('actor_id', $2::uuid, 'actor_type', 'operator',
         'request_id', null, 'action', 'update', 'resource', 'tenants', 'changed', '["content"]'::jsonb,
         'micros', (1000000 * extract(epoch from clock_timestamp()))::bigint))`,
      [this.#job.tenant, this.#job.id],
    );
  }

  async finish(outcome: "done" | "abandoned", keptUntil: Date | null = null): Promise<void> {
    const { id, token } = this.#job;
    await this.#query(
      `update control.jobs set finished_at = now(), outcome = $3, kept_until = $4
       where id = $1 and token = $2 and finished_at is null`,
      [id, token, outcome, keptUntil],
    );
  }

  #query(text: string, params: unknown[]): Promise<pg.QueryResult> {
    return inControl(this.#variables, (control) => control.query(text, params));
  }
}

/** The site of this name. */
export const siteNamed = (variables: JobVariables, name: string): Promise<Site> =>
  inControl(variables, async (control) => {
    const site =
      name === SHARED_SITE.name ? SHARED_SITE : (await readSites(control)).find((each) => each.name === name);
    if (!site) throw new Error(`There is no site ${name}.`);
    return site;
  });

/** The logins at a site, and what signs contexts there. */
export const loginsAtSite = (variables: JobVariables, site: Site): SiteLogins => ({
  site,
  mover: moverUrl(site, variables),
  migrator: migratorUrls(site, variables)[0],
  key: keyAt(site, variables),
});

function keyAt(site: Site, { SITE_KEYS, TENANT_CONTEXT_KEYS }: JobVariables) {
  return site.database === null
    ? v.parse(keyRing, TENANT_CONTEXT_KEYS)[0]
    : contextKeyOf(v.parse(keyRing, SITE_KEYS), site);
}
