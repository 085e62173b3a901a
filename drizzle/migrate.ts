import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { hmacPads } from "../src/db/signed-context.ts";
import { keyRing } from "../src/settings.ts";
import * as v from "valibot";
import { tellAuthority } from "./authority.ts";
import { watchBlockers } from "./blockers.ts";
import { applyMigration, buildIndexes, isConcurrent, pendingMigrations } from "./lineage.ts";
import { PATIENCE, takeTurn, type Patience } from "./turn.ts";
import { loadVariables } from "./variables.ts";

const sqlFile = (name: string) => readFileSync(join(import.meta.dirname, name), "utf8");
/** partywall's own lineages, in their order; the product's comes after them. */
const OWN_LINEAGES = ["control", "site"].map((name) => ({ name, folder: join(import.meta.dirname, name) }));
/** Any number, as long as all migrations of one database take the same lock. */
const LOCK = 7_277_466;

export type MigrationVariables = {
  MIGRATION_DATABASE_URL: string;
  DATABASE_URL: string;
  ACCOUNT_DATABASE_URL: string;
  IDENTITY_DATABASE_URL: string;
  OPERATOR_DATABASE_URL: string;
  TENANT_CONTEXT_KEYS: string;
};

export type MigrationOptions = {
  /** Whoever migrates reads here what is waited for. */
  say?: (line: string) => void;
  patience?: Patience;
  /** The folder of the product's migrations. */
  content?: string;
};

/**
 * Brings a database up to date: the roles with the passwords of their URLs, the migrations, the grants and FORCE,
 * the keys of the signed context. Safe to run again and at the same time as another, and beside requests: it locks no
 * table where nothing changes, and otherwise gives way and comes back. A migration that fails has changed no table.
 */
export async function migrate(variables: MigrationVariables, options: MigrationOptions = {}): Promise<void> {
  const client = new pg.Client({
    connectionString: variables.MIGRATION_DATABASE_URL,
    application_name: "partywall",
  });
  // The query that finds it broken throws.
  client.on("error", () => undefined);
  await client.connect();
  try {
    await migrateOver(client, variables, options);
  } finally {
    await client.end();
  }
}

/** migrate(), over a connection of MIGRATION_DATABASE_URL's login that nobody uses after. */
export async function migrateOver(
  client: pg.Client,
  variables: MigrationVariables,
  {
    say = console.log,
    patience = PATIENCE,
    content = join(import.meta.dirname, "content"),
  }: MigrationOptions = {},
): Promise<void> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const url = variables.MIGRATION_DATABASE_URL;
  // Twice in each wait for a lock.
  const watch = watchBlockers(url, rows[0]?.pid ?? 0, patience.lockTimeoutMs / 2, say);
  const inTurn = (work: () => Promise<unknown>) => takeTurn({ client, watch, patience }, work);
  try {
    // The session's, so it outlives the transaction that takes it.
    await inTurn(() => client.query("select pg_advisory_lock($1)", [LOCK]));
    await inTurn(() => makeRoles(client, variables));
    await client.query("set role partywall_owner");
    // wall.sql compares what Postgres prints, which depends on it.
    await client.query("set search_path = public");
    await inTurn(() => makeKeyStore(client));
    for (const lineage of [...OWN_LINEAGES, { name: "content", folder: content }])
      for (const migration of await pendingMigrations(client, lineage)) {
        if (isConcurrent(migration)) await buildIndexes(client, lineage, migration);
        else await inTurn(() => applyMigration(client, lineage, migration));
      }
    await inTurn(async () => {
      await tellAuthority(client);
      await raiseWall(client);
      await storeContextKeys(client, variables.TENANT_CONTEXT_KEYS);
    });
  } finally {
    await watch.stop();
  }
}

async function makeRoles(client: pg.Client, variables: MigrationVariables): Promise<void> {
  await client.query(sqlFile("roles.sql"));
  for (const url of [
    variables.DATABASE_URL,
    variables.ACCOUNT_DATABASE_URL,
    variables.IDENTITY_DATABASE_URL,
    variables.OPERATOR_DATABASE_URL,
  ])
    await setPassword(client, new URL(url));
}

/** Makes the table of the context keys, if it is not there. */
async function makeKeyStore(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query("select from pg_namespace where nspname = 'partywall'");
  if (rowCount === 0) await client.query(sqlFile("keys.sql"));
}

/** Runs what is missing of wall.sql, and nothing else. */
async function raiseWall(client: pg.Client): Promise<void> {
  const { rows: missing } = await client.query<{ statement: string }>(sqlFile("wall.sql"));
  for (const { statement } of missing) await client.query(statement);
}

/** The role logs in as its connection string says. In plain text, because Neon takes no verifier. */
async function setPassword(client: pg.Client, { username, password }: URL): Promise<void> {
  const [role, secret] = [decodeURIComponent(username), decodeURIComponent(password)];
  await client.query(
    `alter role ${client.escapeIdentifier(role)} login password ${client.escapeLiteral(secret)}`,
  );
}

/** Makes these keys, and no others, open the wall. A key taken out of the list stops working here. */
async function storeContextKeys(client: pg.Client, text: string): Promise<void> {
  const keys = v.parse(keyRing, text).map(({ kid, key }) => ({ kid, ...hmacPads(key) }));
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

if (import.meta.main) {
  const names = [
    "MIGRATION_DATABASE_URL",
    "DATABASE_URL",
    "ACCOUNT_DATABASE_URL",
    "IDENTITY_DATABASE_URL",
    "OPERATOR_DATABASE_URL",
    "TENANT_CONTEXT_KEYS",
  ] as const;
  try {
    await migrate(loadVariables(names));
    console.log("The database is up to date.");
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
