import { readFileSync } from "node:fs";
import { join } from "node:path";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate as applyMigrations } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import { hmacPads } from "../src/db/signed-context.ts";
import { keyRing } from "../src/settings.ts";
import * as v from "valibot";
import { loadVariables } from "./variables.ts";

const sqlFile = (name: string) => readFileSync(join(import.meta.dirname, name), "utf8");
const MIGRATIONS = join(import.meta.dirname, "migrations");
/** Any number, as long as all migrations of one database take the same lock. */
const LOCK = 7_277_466;

export type MigrationVariables = {
  MIGRATION_DATABASE_URL: string;
  DATABASE_URL: string;
  IDENTITY_DATABASE_URL: string;
  OPERATOR_DATABASE_URL: string;
  TENANT_CONTEXT_KEYS: string;
};

/**
 * Brings a database up to date: the roles with the passwords of their URLs, the migrations, the grants and FORCE,
 * the keys of the signed context. Safe to run again and at the same time as another; a failure changes no table.
 */
export async function migrate(variables: MigrationVariables): Promise<void> {
  const client = new pg.Client({
    connectionString: variables.MIGRATION_DATABASE_URL,
    application_name: "partywall",
  });
  await client.connect();
  try {
    await client.query("select pg_advisory_lock($1)", [LOCK]);
    await client.query(`begin; ${sqlFile("roles.sql")}; commit`);
    for (const url of [
      variables.DATABASE_URL,
      variables.IDENTITY_DATABASE_URL,
      variables.OPERATOR_DATABASE_URL,
    ])
      await setPassword(client, new URL(url));
    await client.query("set role partywall_owner");
    await client.query(forceRowSecurity("no force"));
    try {
      await applyMigrations(drizzle(client), { migrationsFolder: MIGRATIONS });
    } finally {
      await client.query(forceRowSecurity("force"));
    }
    await client.query(`begin; ${sqlFile("wall.sql")}; commit`);
    await storeContextKeys(client, variables.TENANT_CONTEXT_KEYS);
  } finally {
    await client.end();
  }
}

/**
 * Binds the tables' owner, and nobody else, to their policies, or does not while it migrates: Postgres checks the rows
 * of a new foreign key as the owner, whom FORCE would ask for a tenant.
 */
const forceRowSecurity = (mode: "force" | "no force") => `do $$ declare t regclass; begin
  for t in select distinct c.oid from pg_class c join pg_policy on polrelid = c.oid
    where c.relrowsecurity and pg_get_userbyid(c.relowner) = 'partywall_owner'
  loop execute format('alter table %s ${mode} row level security', t); end loop;
end $$`;

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
    "IDENTITY_DATABASE_URL",
    "OPERATOR_DATABASE_URL",
    "TENANT_CONTEXT_KEYS",
  ] as const;
  await migrate(loadVariables(names));
  console.log("The database is up to date.");
}
