import pg from "pg";
import { connected, messageOf } from "./connected.ts";
import { migrateSite, missingMigrations, prepareDatabase, type MigrationOptions } from "./migrate.ts";
import {
  contextKeys,
  migratorUrls,
  readSites,
  regionOf,
  loginsAt,
  type SiteRow,
  type SiteVariables,
} from "./sites.ts";

/** Any number, as long as whoever works on the fleet takes the same lock in the control plane's database. */
const FLEET_LOCK = 7_277_467;
/** Sites that are migrated at once. */
const AT_ONCE = 4;

export type FleetOptions = MigrationOptions & { atOnce?: number };

/** A site that could not be brought up to date, and why. */
export type Failure = { site: string; error: unknown };

/**
 * Brings every site but the shared one up to date, some at once, in a control plane that is. What a site has is noted there,
 * so whatever ends this, running it again goes on where it was. A site that fails stops only itself: it is named, with
 * Postgres' own words, in the error that this throws at the end.
 */
export const migrateFleet = (variables: SiteVariables, options: FleetOptions = {}): Promise<void> =>
  withFleet(variables, async (control) => {
    await noteRegion(control, variables);
    const sites = await readSites(control);
    const failures = await bringUpToDate(sites, variables, options);
    if (failures.length > 0) throw new FleetError(failures, sites.length);
  });

/** Notes where the sites of the control plane's own server are, if Neon's host name says so and nobody else has. */
async function noteRegion(control: pg.Client, { MIGRATION_DATABASE_URL }: SiteVariables): Promise<void> {
  const region = regionOf(new URL(MIGRATION_DATABASE_URL).hostname);
  if (region)
    await control.query("update control.sites set region = $1 where server is null and region is null", [
      region,
    ]);
}

/** Has `work` read the control plane as its owner. */
export const inControl = <Result>(
  { MIGRATION_DATABASE_URL }: Pick<SiteVariables, "MIGRATION_DATABASE_URL">,
  work: (control: pg.Client) => Promise<Result>,
): Promise<Result> =>
  connected(MIGRATION_DATABASE_URL, async (control) => {
    await control.query("set role partywall_owner");
    await control.query("set search_path = control");
    return work(control);
  });

/** The same, and change it, while nobody else works on the fleet. Whoever waits for that hears of it. */
export const withFleet = <Result>(
  variables: Pick<SiteVariables, "MIGRATION_DATABASE_URL">,
  work: (control: pg.Client) => Promise<Result>,
): Promise<Result> =>
  inControl(variables, async (control) => {
    const { rows } = await control.query<{ is_free: boolean }>("select pg_try_advisory_lock($1) as is_free", [
      FLEET_LOCK,
    ]);
    if (!rows[0]?.is_free) {
      console.error("Waiting for another command that works on the sites.");
      await control.query("select pg_advisory_lock($1)", [FLEET_LOCK]);
    }
    return work(control);
  });

/** Brings these sites up to date, for whoever has withFleet(); returns those that it could not. */
export async function bringUpToDate(
  sites: readonly SiteRow[],
  variables: SiteVariables,
  options: FleetOptions,
): Promise<Failure[]> {
  const { say = console.log } = options;
  const failures: Failure[] = [];
  const ready: { site: SiteRow; url: string }[] = [];
  // Roles belong to a whole server, and Postgres takes one change of a role at a time.
  const servers = Map.groupBy(sites, ({ server }) => server);
  await inParallel([...servers.values()], options.atOnce, async (ofServer) => {
    for (const ofDatabase of Map.groupBy(ofServer, ({ database }) => database).values()) {
      const [first] = ofDatabase;
      if (!first) continue;
      try {
        const url = await reachable(first, variables);
        if (first.database !== null)
          await prepareDatabase(
            url,
            first.server === null ? [] : loginsAt(first, variables),
            contextKeys(first, variables),
            options,
          );
        ready.push(...ofDatabase.map((site) => ({ site, url })));
      } catch (error) {
        failures.push(...ofDatabase.map(({ name }) => ({ site: name, error })));
      }
    }
  });
  await inParallel(ready, options.atOnce, async ({ site, url }) => {
    const started = performance.now();
    try {
      const target = { name: site.name, schema: site.schema };
      const applied = await migrateSite(url, target, {
        ...options,
        say: (line) => say(`${site.name}: ${line}`),
      });
      const took = `${((performance.now() - started) / 1000).toFixed(1)} s`;
      say(`${site.name}: ${applied === 0 ? "is up to date" : `${applied} migration(s)`}, ${took}`);
    } catch (error) {
      failures.push({ site: site.name, error });
    }
  });
  return failures;
}

/** A site that is not known to be up to date: it lacks migrations, or cannot be examined. */
export type Late = { site: string; why: string; isKnown: boolean };

/** What is to be done about a site that is late, in a sentence. */
export const sentenceOf = ({ site, why, isKnown }: Late): string =>
  isKnown
    ? `The site ${site} is not up to date: ${why}. Run \`npm run db:migrate\`.`
    : `Whether the site ${site} is up to date is not known. ${why}`;

/** Of these sites, or of all but the shared one, those that are late. */
export async function behind(
  control: pg.Client,
  variables: SiteVariables,
  only?: readonly string[],
  { content, atOnce }: FleetOptions = {},
): Promise<Late[]> {
  const sites = (await readSites(control)).filter(({ name }) => only === undefined || only.includes(name));
  const late: Late[] = [];
  await inParallel(sites, atOnce, async (site) => {
    const missing = await connected(migratorUrls(site, variables)[0], async (client) => {
      await client.query("set role partywall_owner");
      return missingMigrations(client, site, content === undefined ? {} : { content });
    }).catch(messageOf);
    if (missing === 0) return;
    late.push({
      site: site.name,
      why: typeof missing === "string" ? missing : `it lacks ${missing} migration(s)`,
      isKnown: typeof missing === "number",
    });
  });
  return late;
}

/** The first of the migrating login's connection strings that the site's server lets in; its role has the newest password then. */
async function reachable(site: SiteRow, variables: SiteVariables): Promise<string> {
  const [newest, ...others] = migratorUrls(site, variables);
  try {
    await connected(newest, () => Promise.resolve());
    return newest;
  } catch (error) {
    for (const older of others) {
      if (!(error instanceof pg.DatabaseError) || error.code !== "28P01") break;
      const { username, password } = new URL(newest);
      const isIn = await connected(older, (client) =>
        client.query(
          `alter role ${client.escapeIdentifier(username)} password ${client.escapeLiteral(decodeURIComponent(password))}`,
        ),
      ).catch(() => undefined);
      if (isIn) return newest;
    }
    throw error;
  }
}

/** Runs it for all of these, some at once. It never throws. */
async function inParallel<Item>(
  items: readonly Item[],
  atOnce = AT_ONCE,
  run: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: Math.min(atOnce, queue.length) }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await run(next);
    }),
  );
}

/** Says which sites are behind, and why. */
export class FleetError extends Error {
  constructor(failures: readonly Failure[], of: number) {
    const lines = failures.map(({ site, error }) => `  ${site}: ${messageOf(error)}`);
    super(`${failures.length} of ${of} site(s) could not be brought up to date:\n${lines.join("\n")}`);
  }
}
