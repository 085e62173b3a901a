import pg from "pg";
import { SHARED_SITE } from "../src/db/places.ts";
import { bringUpToDate, FleetError, withFleet, type FleetOptions } from "./fleet.ts";
import { schemaOf } from "./lineage.ts";
import { connected } from "./connected.ts";
import { neonProjectOf, writeNeonProject } from "./site-project.ts";
import {
  MIGRATOR,
  directHost,
  migratorUrls,
  newestSecret,
  readSites,
  regionOf,
  whereIs,
  type SiteRow,
  type SiteVariables,
} from "./sites.ts";

export type NewSite = {
  name: string;
  /** The connection string of whoever owns the database; none for the control plane's own. */
  databaseUrl?: string | undefined;
  /** A schema of its own, beside others in the database. */
  schema: boolean;
  region?: string | undefined;
  /** The id of the Neon project that it is in; "none" for none; what was said before unless it is given. */
  neonProject?: string | undefined;
};

/** Which server a role's comment names: roles belong to a whole Postgres server, and so do their passwords. */
const SERVER_COMMENT = "partywall server ";

/**
 * Makes a site, or finishes one that was half made: its row in the control plane, the logins of its server, its schema with
 * its own verifier, tables and wall. Throws a sentence when the place is taken, or is no place for a site.
 */
export const addSite = (of: NewSite, variables: SiteVariables, options: FleetOptions): Promise<SiteRow> =>
  withFleet(variables, async (control) => {
    const sites = await readSites(control);
    const site = await plan(of, sites, variables);
    const known = sites.find(({ name }) => name === site.name);
    if (known && whereIs(known) !== whereIs(site))
      throw new Error(`There is a site ${site.name} already: ${whereIs(known)}. Choose another name.`);
    const neighbour = sites.find((other) => other.name !== site.name && whereIs(other) === whereIs(site));
    if (neighbour)
      throw new Error(
        `The site ${neighbour.name} is there already: ${whereIs(site)}. Give --schema for another one beside it.`,
      );
    const { neonProject } = of;
    const project = neonProject === undefined ? undefined : neonProjectOf(neonProject, site.server);
    if (!known) await insert(control, site);
    if (project !== undefined) await writeNeonProject(control, site.name, project);
    if (of.databaseUrl !== undefined && site.host !== null)
      await enter(of.databaseUrl, known ?? site, variables);
    const failures = await bringUpToDate([known ?? site], variables, options);
    if (failures.length > 0) throw new FleetError(failures, 1);
    return known ?? site;
  });

/** What the site's row is to say. */
async function plan(of: NewSite, sites: readonly SiteRow[], variables: SiteVariables): Promise<SiteRow> {
  const { name } = of;
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(name) || name === SHARED_SITE.name)
    throw new Error(`${name} is no name for a site: a letter, then letters, digits and hyphens, 40 in all.`);
  const common = {
    name,
    kind: of.schema ? ("schema" as const) : ("dedicated" as const),
    schema: of.schema ? schemaOf(name) : SHARED_SITE.schema,
    generation: 1,
    rotated_at: null,
  };
  const control = new URL(variables.MIGRATION_DATABASE_URL);
  const url = of.databaseUrl === undefined ? control : URL.parse(of.databaseUrl);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || url.pathname.length < 2)
    throw new Error("--database-url is no connection string: postgres://user:password@host/database");
  const region = of.region ?? regionOf(url.hostname);
  const [host, database] = [directHost(url), decodeURIComponent(url.pathname.slice(1))];
  if (host === directHost(control)) {
    if (database !== decodeURIComponent(control.pathname.slice(1)))
      return {
        ...common,
        server: null,
        host: null,
        database,
        secret: newestSecret(variables),
        region,
      };
    if (!of.schema)
      throw new Error(
        "That is the control plane's own database. Give --schema for a schema of its own in it, or the connection string of another one.",
      );
    return { ...common, server: null, host: null, database: null, secret: "", region };
  }
  const server = await serverOf(url.href, host, database, sites);
  const neighbour = sites.find((site) => site.server === server);
  return {
    ...common,
    server,
    host,
    database,
    secret: neighbour?.secret ?? newestSecret(variables),
    generation: neighbour?.generation ?? 1,
    rotated_at: neighbour?.rotated_at ?? null,
    region,
  };
}

/** The name of the server where this database is. Throws when the database is no place for a site. */
const serverOf = (url: string, host: string, database: string, sites: readonly SiteRow[]): Promise<string> =>
  connected(url, async (client) => {
    const { rows } = await client.query<{ comment: string | null; is_control: boolean; is_used: boolean }>(
      `select (select shobj_description(oid, 'pg_authid') from pg_roles where rolname = 'partywall_app') as comment,
        exists (select from pg_namespace where nspname = 'control') as is_control,
        not exists (select from pg_namespace where nspname in ('partywall', 'drizzle'))
          and exists (select from pg_class where relnamespace = 'public'::regnamespace) as is_used`,
    );
    const [found] = rows;
    if (found?.is_control)
      throw new Error("That database is a control plane's. A site needs one that is empty, or --schema.");
    if (found?.is_used)
      throw new Error(
        `The database ${database} has tables in its schema public. A site needs one that is empty.`,
      );
    const comment = found?.comment ?? "";
    if (!comment.startsWith(SERVER_COMMENT)) return host;
    const server = comment.slice(SERVER_COMMENT.length);
    // This one's name, from a try that ended early, or a server that some site names.
    if (server === host || sites.some((site) => site.server === server)) return server;
    throw new Error(
      `The logins of that server belong to another deployment of partywall, which calls it ${server}. Use another server.`,
    );
  });

async function insert(control: pg.Client, site: SiteRow): Promise<void> {
  const { name, kind, schema, server, host, database, secret, generation, rotated_at, region } = site;
  await control.query(
    `insert into control.sites (name, kind, schema, server, host, database, secret, generation, rotated_at, region)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [name, kind, schema, server, host, database, secret, generation, rotated_at, region],
  );
}

/** Makes the migrating login of the site's server, which owns the site's database from then on. */
async function enter(ownerUrl: string, site: SiteRow, variables: SiteVariables): Promise<void> {
  const password = decodeURIComponent(new URL(migratorUrls(site, variables)[0]).password);
  await connected(ownerUrl, async (client) => {
    await client.query("begin");
    const { rows } = await client.query<{ is_self: boolean; is_there: boolean }>(
      `select current_user = $1 as is_self, exists (select from pg_roles where rolname = $1) as is_there`,
      [MIGRATOR],
    );
    if (!rows[0]?.is_there) await client.query(`create role ${MIGRATOR} createrole`);
    await client.query(`alter role ${MIGRATOR} login password ${client.escapeLiteral(password)}`);
    if (!rows[0]?.is_self) {
      await client.query(`grant ${MIGRATOR} to current_user`);
      await client.query(
        `alter database ${client.escapeIdentifier(site.database ?? "")} owner to ${MIGRATOR}`,
      );
    }
    await client.query("commit");
  });
  await connected(migratorUrls(site, variables)[0], async (client) => {
    const { rowCount } = await client.query("select from pg_roles where rolname = 'partywall_app'");
    if (rowCount === 0)
      await client.query("create role partywall_app nologin noinherit nocreatedb nocreaterole");
    await client.query(
      `comment on role partywall_app is ${client.escapeLiteral(SERVER_COMMENT + (site.server ?? ""))}`,
    );
  });
}
