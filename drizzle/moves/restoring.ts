import { randomBytes } from "node:crypto";
import pg from "pg";
import { SHARED_SITE, type Site } from "../../src/db/places.ts";
import type { NamedKey } from "../../src/settings.ts";
import { connected } from "../connected.ts";
import { inControl } from "../fleet.ts";
import { dropJournals, schemaOf } from "../lineage.ts";
import { migrateSite, prepareDatabase, type MigrationOptions } from "../migrate.ts";
import { MOVER } from "../sites.ts";
import type { Difference } from "./differences.ts";
import {
  beginJob,
  JobControl,
  loginsAtSite,
  noteOfJob,
  siteNamed,
  type Job,
  type JobVariables,
  type Why,
} from "./jobs.ts";
import type { Pace } from "./pace.ts";
import { restore, type Restored } from "./restore.ts";
import { SiteEnd, type SiteLogins } from "./site-end.ts";

/** What was there before a restore is kept so long. */
const UNDO_DAYS = 7;

export type RestoreOptions = {
  pace: Pace;
  confirm: (differences: readonly Difference[]) => Promise<boolean>;
} & Pick<MigrationOptions, "content"> &
  Why;

/** Where the rows of the past are, and what has been made of it that must not stay. */
type Past = (job: Job, site: Site) => Promise<SiteLogins>;

/** Sets a tenant's rows back to those in a copy of its database, whose connection string this is. */
export async function restoreFrom(
  slug: string,
  from: string,
  variables: JobVariables,
  options: RestoreOptions,
) {
  const url = URL.parse(from);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || url.pathname.length < 2)
    throw new Error("--from is no connection string: postgres://user:password@host/database");
  // Before a job begins, which would be in the list of moves as an abandoned one.
  await connected(from, () => Promise.resolve());
  return carryOut(slug, variables, "tenant.set_back", options, (job, site) =>
    prepareCopy(url, job, site, variables, options),
  );
}

/** Sets a tenant's rows back to those before its last restore. */
export async function undoRestore(slug: string, variables: JobVariables, options: RestoreOptions) {
  const last = await inControl(variables, async (control) => {
    const { rows } = await control.query<Pick<Job, "id" | "source">>(
      `select j.id, j.source from control.jobs j join control.tenants t on t.id = j.tenant_id
       where t.slug = $1 and j.kind = 'restore' and j.outcome = 'done' and j.kept_until > now()
       order by j.token desc limit 1`,
      [slug],
    );
    return rows[0];
  });
  if (!last)
    throw new Error(`There is no restore of ${slug} in the last ${UNDO_DAYS} days that could be undone.`);
  return carryOut(slug, variables, "tenant.undo", options, async () => {
    const site = undoSite(await siteNamed(variables, last.source), last);
    const logins = loginsAtSite(variables, site);
    await migrateSite(logins.migrator, site, quiet(options));
    return logins;
  });
}

async function carryOut(
  slug: string,
  variables: JobVariables,
  action: "tenant.set_back" | "tenant.undo",
  options: RestoreOptions,
  findPast: Past,
): Promise<Restored | undefined> {
  const job = await beginJob(variables, slug, "restore", undefined, options);
  const control = new JobControl(variables, job);
  const site = await siteNamed(variables, job.source);
  const undo = loginsAtSite(variables, undoSite(site, job));
  const as = { tenant: job.tenant, job: job.id, token: job.token };
  await using live = new SiteEnd(loginsAtSite(variables, site), as);
  await using beside = new SiteEnd(loginsAtSite(variables, site), as);
  await using kept = new SiteEnd(undo, as);
  let restored: Restored | undefined;
  try {
    // First: by this the copy is told from what it is a copy of.
    await live.setFence("logged", job.epoch);
    await using past = new SiteEnd(await findPast(job, site), as);
    await migrateSite(undo.migrator, undo.site, quiet(options));
    restored = await restore({
      live,
      beside,
      past,
      undo: kept,
      epoch: job.epoch,
      confirm: async (differences) => {
        const isWanted = await options.confirm(differences);
        if (isWanted) await noteOfJob(variables, job, action, options.reason);
        return isWanted;
      },
      beforeHold: () => control.note(Object.assign(job.progress, { phase: "switching" })),
      around: options.pace,
    });
  } catch (error) {
    // Where that fails as well, `moves abandon` does it later.
    await giveUp(job, variables).catch(() => undefined);
    throw error;
  }
  if (!restored) {
    await dropUndo(undo);
    await control.finish("abandoned");
    return undefined;
  }
  await control.tellOfRestore();
  await control.finish("done", inDays(UNDO_DAYS));
  return restored;
}

/** Ends a restore that has ended early; returns whether it had been done all the same. */
export async function giveUp(job: Job, variables: JobVariables): Promise<boolean> {
  const site = await siteNamed(variables, job.source);
  const control = new JobControl(variables, job);
  await using live = new SiteEnd(loginsAtSite(variables, site), {
    tenant: job.tenant,
    job: job.id,
    token: job.token,
  });
  // Not `open` at once: it cannot follow no fence.
  const was = await live.setFence("logged", job.epoch);
  await live.setFence("open", job.epoch);
  // The rows are set back, and the fence opened, in one transaction.
  if (was === "open" && job.progress.phase === "switching") {
    await control.tellOfRestore();
    await control.finish("done", inDays(UNDO_DAYS));
    return true;
  }
  await dropUndo(loginsAtSite(variables, undoSite(site, job)));
  await control.finish("abandoned");
  return false;
}

/** Deletes what restores have kept for longer than a week. */
export async function dropOldUndos(variables: JobVariables): Promise<number> {
  const due = await inControl(variables, async (control) => {
    const { rows } = await control.query<Pick<Job, "id" | "source">>(
      "select id, source from control.jobs where kind = 'restore' and kept_until < now()",
    );
    return rows;
  });
  for (const job of due) {
    await dropUndo(loginsAtSite(variables, undoSite(await siteNamed(variables, job.source), job)));
    await inControl(variables, (control) =>
      control.query("update control.jobs set kept_until = null where id = $1", [job.id]),
    );
  }
  return due.length;
}

/** A schema beside the tenant's, for what is there before a restore. It is in no list of sites: no tenant works there. */
function undoSite(site: Site, { id }: Pick<Job, "id">): Site {
  const name = `undo-${id.replaceAll("-", "")}`;
  return { ...site, name, schema: schemaOf(name) };
}

const dropUndo = ({ site, migrator }: SiteLogins): Promise<void> =>
  connected(migrator, async (client) => {
    await client.query("set role partywall_owner");
    await client.query(`drop schema if exists ${pg.escapeIdentifier(site.schema)} cascade`);
    await dropJournals(client, site);
  });

/**
 * Makes a copy of a database readable for this job alone: with a key of its own for contexts, and with today's tables. Throws
 * a sentence when it is no copy that has the tenant, or the tenant's own database.
 */
async function prepareCopy(
  url: URL,
  job: Job,
  site: Site,
  variables: JobVariables,
  options: RestoreOptions,
): Promise<SiteLogins> {
  const from = url.href;
  const then = await siteThen(from, job, site);
  const key: NamedKey = { kid: randomBytes(4).toString("hex"), key: new Uint8Array(randomBytes(32)) };
  const known = new URL(loginsAtSite(variables, site).mover);
  known.host = url.host;
  known.pathname = url.pathname;
  const isKnown = await connected(known.href, () => Promise.resolve(true)).catch(() => false);
  // A copy at another server may have another password, or no such login.
  const mover = isKnown ? known : new URL(known);
  if (!isKnown) [mover.username, mover.password] = [MOVER, randomBytes(32).toString("base64url")];
  await prepareDatabase(from, isKnown ? [] : [mover.href], [key], quiet(options));
  await migrateSite(from, then, quiet(options));
  return { site: { ...site, ...then }, mover: mover.href, migrator: from, key };
}

/** The site where the tenant was when the copy was made. */
const siteThen = (from: string, job: Job, site: Site): Promise<Pick<Site, "name" | "schema">> =>
  connected(from, async (client) => {
    const isThere = async (table: string) =>
      (await client.query("select from pg_class where oid = to_regclass($1)", [table])).rowCount !== 0;
    const { rowCount: owners } = await client.query("select from pg_roles where rolname = 'partywall_owner'");
    if (owners === 0) throw new Error("--from is no copy of a database of partywall's.");
    await client.query("grant partywall_owner to current_user with inherit false, set true");
    await client.query("set role partywall_owner");
    let then: Pick<Site, "name" | "schema"> = site;
    if (await isThere("control.tenants")) {
      const hasSites = await isThere("control.sites");
      const { rows } = await client.query<{ name: string; schema: string; is_here: boolean }>(
        hasSites
          ? `select s.name, s.schema, s.database is null as is_here from control.tenants t
             join control.sites s on s.name = t.site where t.id = $1`
          : "select $2 as name, $3 as schema, true as is_here from control.tenants t where t.id = $1",
        hasSites ? [job.tenant] : [job.tenant, SHARED_SITE.name, SHARED_SITE.schema],
      );
      const [found] = rows;
      if (!found) throw new Error(`The copy does not have the tenant ${job.slug}: it is older.`);
      if (!found.is_here)
        throw new Error(`The tenant was at the site ${found.name} then: give a copy of that one's database.`);
      then = { name: found.name, schema: found.schema };
    } else if (!(await isThere(`${pg.escapeIdentifier(site.schema)}.audit_events`)))
      throw new Error(`The copy has no schema ${site.schema}: it is none of the site ${site.name}.`);
    const fences = `${pg.escapeIdentifier(then.schema)}.fences`;
    if (await isThere(fences)) {
      const { rowCount } = await client.query(`select from ${fences} where tenant = $1 and token = $2`, [
        job.tenant,
        job.token,
      ]);
      if (rowCount !== 0) throw new Error("--from is the tenant's own database, not a copy of it.");
    }
    return then;
  });

const quiet = ({ content }: Pick<MigrationOptions, "content">): MigrationOptions => ({
  say: () => undefined,
  ...(content !== undefined && { content }),
});

const inDays = (days: number) => new Date(Date.now() + days * 24 * 3_600_000);
