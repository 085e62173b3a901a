import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { CONTROL, SHARED_SITE } from "../src/db/places.ts";
import { hmacPads } from "../src/db/signed-context.ts";
import { keyRing, type NamedKey } from "../src/settings.ts";
import * as v from "valibot";
import { connect, connected } from "./connected.ts";
import { moverUrl } from "./sites.ts";
import { tellAuthority } from "./authority.ts";
import { watchBlockers } from "./blockers.ts";
import {
  applyMigration,
  buildIndexes,
  isConcurrent,
  journalOf,
  pendingMigrations,
  type Target,
} from "./lineage.ts";
import { PATIENCE, takeTurn, type Patience } from "./turn.ts";

const sqlFile = (name: string) => readFileSync(join(import.meta.dirname, name), "utf8");
const lineage = (name: string, folder = join(import.meta.dirname, name)) => ({ name, folder });
/** Any number, as long as all migrations of one schema take the same lock. */
const LOCK = 7_277_466;

export type MigrationVariables = {
  MIGRATION_DATABASE_URL: string;
  DATABASE_URL: string;
  ACCOUNT_DATABASE_URL: string;
  IDENTITY_DATABASE_URL: string;
  OPERATOR_DATABASE_URL: string;
  TENANT_CONTEXT_KEYS: string;
  /** What the login that moves tenants is derived from. */
  SITE_KEYS: string;
};

export type MigrationOptions = {
  /** Whoever migrates reads here what is waited for. */
  say?: (line: string) => void;
  patience?: Patience;
  /** The folder of the product's migrations. */
  content?: string;
};

/**
 * Brings the control plane and the shared site up to date: the roles with the passwords of their URLs, the migrations, the
 * grants and FORCE, the keys of the signed context. Safe to run again and at the same time as another, and beside requests:
 * it locks no table where nothing changes, and otherwise gives way and comes back. A migration that fails has changed no
 * table.
 */
export async function migrate(variables: MigrationVariables, options: MigrationOptions = {}): Promise<void> {
  await connected(variables.MIGRATION_DATABASE_URL, (client) => migrateOver(client, variables, options));
}

/** migrate(), over a connection of MIGRATION_DATABASE_URL's login that nobody uses after. */
export async function migrateOver(
  client: pg.Client,
  variables: MigrationVariables,
  options: MigrationOptions = {},
): Promise<void> {
  const urls = [
    variables.DATABASE_URL,
    variables.ACCOUNT_DATABASE_URL,
    variables.IDENTITY_DATABASE_URL,
    variables.OPERATOR_DATABASE_URL,
    moverUrl(SHARED_SITE, variables),
  ];
  await migrating(client, variables.MIGRATION_DATABASE_URL, options, async (inTurn, apply) => {
    // The session's, so it outlives the transaction that takes it.
    await inTurn(() => client.query("select pg_advisory_lock($1)", [LOCK]));
    await inTurn(() => makeRoles(client, urls));
    await becomeOwner(client, SHARED_SITE.schema);
    await inTurn(() => makeKeyStore(client));
    await apply(lineage("control"), CONTROL);
    await apply(lineage("site"), SHARED_SITE);
    await apply(lineage("content", options.content), SHARED_SITE);
    await inTurn(async () => {
      await tellAuthority(client);
      await raiseWall(client, "database", SHARED_SITE.schema);
      await raiseWall(client, "control", CONTROL.schema);
      await raiseWall(client, "site", SHARED_SITE.schema);
      await storeContextKeys(client, v.parse(keyRing, variables.TENANT_CONTEXT_KEYS));
    });
  });
}

/**
 * Brings what is of no site in a site's database up to date: its server's roles, with these passwords, and these keys of
 * the signed context. `url` is the migrating login's.
 */
export const prepareDatabase = (
  url: string,
  logins: readonly string[],
  keys: readonly NamedKey[],
  options: MigrationOptions = {},
): Promise<void> =>
  connected(url, (client) =>
    migrating(client, url, options, async (inTurn) => {
      await inTurn(() => makeRoles(client, logins));
      await becomeOwner(client, SHARED_SITE.schema);
      await inTurn(async () => {
        await makeKeyStore(client);
        await raiseWall(client, "database", SHARED_SITE.schema);
        await storeContextKeys(client, keys);
      });
    }),
  );

/** Brings a site's schema up to date, in a database that is. Returns how many migrations it lacked. */
export const migrateSite = (url: string, site: Target, options: MigrationOptions = {}): Promise<number> =>
  connected(url, async (client) => {
    let applied = 0;
    await migrating(client, url, options, async (inTurn, apply) => {
      await inTurn(() => client.query("select pg_advisory_lock($1, hashtext($2))", [LOCK, site.schema]));
      await becomeOwner(client, site.schema);
      await inTurn(() => makeSchema(client, site));
      applied += await apply(lineage("site"), site);
      applied += await apply(lineage("content", options.content), site);
      await inTurn(() => raiseWall(client, "site", site.schema));
    });
    return applied;
  });

/** The migrations that a site lacks, in a database that is prepared, over a connection that may read its journals. */
export async function missingMigrations(
  client: pg.Client,
  site: Target,
  { content }: Pick<MigrationOptions, "content"> = {},
): Promise<number> {
  const missing = await Promise.all(
    [lineage("site"), lineage("content", content)].map((each) => pendingMigrations(client, each, site)),
  );
  return missing.flat().length;
}

/**
 * Keeps migrations of the site waiting until the returned function is called, or whoever called this ends. Throws when one is
 * under way.
 */
export async function lockMigrations(
  url: string,
  { schema }: Pick<Target, "schema">,
): Promise<() => Promise<void>> {
  const client = await connect(url);
  const { rows } = await client.query<{ is_free: boolean }>(
    schema === SHARED_SITE.schema
      ? `select pg_try_advisory_lock(${LOCK}) as is_free`
      : `select pg_try_advisory_lock(${LOCK}, hashtext(${client.escapeLiteral(schema)})) as is_free`,
  );
  if (rows[0]?.is_free) return () => client.end();
  await client.end();
  throw new Error(`The schema ${schema} is being migrated.`);
}

/** The query for the newest migration of each lineage that a site has, as `last`. */
export const latestMigrations = (site: Pick<Target, "schema">): string =>
  [lineage("site"), lineage("content")]
    .map((each) => `select max(created_at)::text as last from ${journalOf(each, site)}`)
    .join(" union all ");

type InTurn = (work: () => Promise<unknown>) => Promise<void>;
/** Applies what the schema lacks of a lineage, and returns how many migrations that were. */
type Apply = (lineage: { name: string; folder: string }, target: Target) => Promise<number>;

/** Has `work` migrate over the client, with an eye on who is in its way. */
async function migrating(
  client: pg.Client,
  url: string,
  { say = console.log, patience = PATIENCE }: MigrationOptions,
  work: (inTurn: InTurn, apply: Apply) => Promise<void>,
): Promise<void> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  // Twice in each wait for a lock.
  const watch = watchBlockers(url, rows[0]?.pid ?? 0, patience.lockTimeoutMs / 2, say);
  const inTurn: InTurn = (part) => takeTurn({ client, watch, patience }, part);
  const apply: Apply = async (each, target) => {
    const pending = await pendingMigrations(client, each, target);
    for (const migration of pending)
      if (isConcurrent(migration)) await buildIndexes(client, each, migration, target);
      else await inTurn(() => applyMigration(client, each, migration, target));
    return pending.length;
  };
  try {
    await work(inTurn, apply);
  } finally {
    await watch.stop();
  }
}

async function becomeOwner(client: pg.Client, schema: string): Promise<void> {
  await client.query("set role partywall_owner");
  // Postgres overrates wall.sql, and would compile it for longer than it runs.
  await client.query("set jit = off");
  // wall.sql compares what Postgres prints, which depends on it.
  await client.query(`set search_path = ${client.escapeIdentifier(schema)}`);
}

async function makeRoles(client: pg.Client, logins: readonly string[]): Promise<void> {
  await client.query(sqlFile("roles.sql"));
  for (const url of logins) await setPassword(client, new URL(url));
}

/** Makes the table of the context keys, if it is not there. */
async function makeKeyStore(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query("select from pg_namespace where nspname = 'partywall'");
  if (rowCount === 0) await client.query(sqlFile("keys.sql"));
}

/** Makes a site's schema, if it is not there. */
async function makeSchema(client: pg.Client, { schema }: Target): Promise<void> {
  const { rowCount } = await client.query("select from pg_namespace where nspname = $1", [schema]);
  if (rowCount !== 0) return;
  await client.query(`create schema ${client.escapeIdentifier(schema)}`);
}

/** Runs what is missing of wall.sql, and nothing else. */
async function raiseWall(
  client: pg.Client,
  plane: "database" | "control" | "site",
  schema: string,
): Promise<void> {
  const query = sqlFile("wall.sql").replaceAll("{plane}", plane).replaceAll("{schema}", schema);
  const { rows: missing } = await client.query<{ statement: string }>(query);
  for (const { statement } of missing) await client.query(statement);
}

/** The role logs in as its connection string says. In plain text, because Neon takes no verifier. */
async function setPassword(client: pg.Client, { username, password }: URL): Promise<void> {
  const [role, secret] = [decodeURIComponent(username), decodeURIComponent(password)];
  await client.query(
    `alter role ${client.escapeIdentifier(role)} login password ${client.escapeLiteral(secret)}`,
  );
}

/** Makes these keys, and no others, open the wall. A key that is not among them stops working here. */
async function storeContextKeys(client: pg.Client, given: readonly NamedKey[]): Promise<void> {
  const keys = given.map(({ kid, key }) => ({ kid, ...hmacPads(key) }));
  const columns = [
    keys.map(({ kid }) => kid),
    keys.map(({ inner }) => Buffer.from(inner)),
    keys.map(({ outer }) => Buffer.from(outer)),
  ];
  await client.query(
    `with given as (select * from unnest($1::text[], $2::bytea[], $3::bytea[]) as k (kid, inner_pad, outer_pad)),
       retired as (delete from partywall.context_keys where kid not in (select kid from given))
     insert into partywall.context_keys select * from given
     on conflict (kid) do update set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad`,
    columns,
  );
}
