import { readMigrationFiles, type MigrationMeta } from "drizzle-orm/migrator";
import pg from "pg";
import { SHARED_SITE } from "../src/db/places.ts";

/** Where migrations are applied: the site's name, which its functions know, and the schema. The control plane has no name. */
export type Target = { name: string; schema: string };

/** Migrations that are numbered and noted by themselves, and the folder where drizzle-kit writes them. */
export type Lineage = { name: string; folder: string };

/** The table in which the migrations of a lineage that a schema has are noted. */
export const journalOf = ({ name }: Pick<Lineage, "name">, { schema }: Pick<Target, "schema">) =>
  schema.startsWith(SITE_SCHEMA) ? `drizzle."${schema} ${name}"` : `drizzle.${name}`;

/** How the schema of a site begins that shares its database. */
export const SITE_SCHEMA = "site_";
export const schemaOf = (site: string): string => SITE_SCHEMA + site.replaceAll("-", "_");

/** Names of things in schema `public`, which is what drizzle-kit calls a site's own. */
const IN_PUBLIC = /(?<![\w."])(?:"public"|public)\.(?=["\w])/g;

/** A migration's statement, for this site. */
export const statementAt = (statement: string, { name, schema }: Target): string => {
  const named = statement.replaceAll("{site}", name);
  return schema === SHARED_SITE.schema ? named : named.replaceAll(IN_PUBLIC, `"${schema}".`);
};

const CONCURRENT_INDEX =
  /^(?:\s|--.*\n)*(create(?: unique)?|drop) index concurrently (?:if (?:not )?exists )?("[^"]+"|\w+)/i;
const PLAIN_INDEX = /^(?:\s|--.*\n)*create (?:unique )?index /i;

/** The lineage's migrations that this schema does not have yet, oldest first. */
export async function pendingMigrations(
  client: pg.Client,
  lineage: Lineage,
  target: Target,
): Promise<MigrationMeta[]> {
  const last = await lastMigration(client, lineage, target);
  const pending = readMigrationFiles({ migrationsFolder: lineage.folder }).filter(
    (one) => one.folderMillis > last,
  );
  if (pending.some((one) => !isConcurrent(one) && one.sql.some(isConcurrentIndex)))
    throw new Error(
      "A migration with CREATE INDEX CONCURRENTLY must hold nothing else: generate it apart from the other changes.",
    );
  return pending;
}

/** When the newest of the schema's migrations was generated, in epoch milliseconds; 0 when it has none. */
async function lastMigration(client: pg.Client, lineage: Lineage, target: Target): Promise<number> {
  const journal = journalOf(lineage, target);
  const journals = await client.query("select from pg_class where oid = to_regclass($1)", [journal]);
  if (journals.rowCount === 0) return 0;
  const { rows } = await client.query<{ last: string | null }>(
    `select max(created_at) as last from ${journal}`,
  );
  return Number(rows[0]?.last ?? 0);
}

const isConcurrentIndex = (statement: string) => CONCURRENT_INDEX.test(statement);

/** Whether it builds or drops indexes beside the requests, which Postgres does outside of a transaction only. */
export const isConcurrent = ({ sql }: MigrationMeta) => sql.every(isConcurrentIndex);

/**
 * Applies it in the caller's transaction. The tables that it names do not bind their owner until its end: Postgres
 * checks the rows of a new foreign key as the owner, whom FORCE would ask for a tenant. An index is built without.
 */
export async function applyMigration(
  client: pg.Client,
  lineage: Lineage,
  migration: MigrationMeta,
  target: Target,
): Promise<void> {
  const text = migration.sql.filter((statement) => !PLAIN_INDEX.test(statement)).join("\n");
  const { rows } = await client.query<{ oid: number }>(
    `select oid from pg_class
      where relforcerowsecurity and relowner = current_user::regrole and $1 ~ concat('\\m', relname, '\\M')
        and case when $2 ^@ $3 then relnamespace = to_regnamespace(quote_ident($2))
          else not relnamespace::regnamespace::text ^@ $3 end`,
    [text, target.schema, SITE_SCHEMA],
  );
  const named = rows.map(({ oid }) => oid);
  await alterTables(client, named, "no force row level security");
  for (const statement of migration.sql) await client.query(statementAt(statement, target));
  // A table with checks that are still due cannot be altered.
  await client.query("set constraints all immediate");
  await alterTables(client, named, "force row level security");
  await note(client, lineage, migration, target);
}

/** Alters those of the tables that are there, whatever they are called by now. */
async function alterTables(client: pg.Client, oids: number[], change: string): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "select oid::regclass::text as name from pg_class where oid = any ($1)",
    [oids],
  );
  for (const { name } of rows) await client.query(`alter table ${name} ${change}`);
}

/**
 * Builds or drops its indexes one by one, beside the requests. It is noted only when all are there: what an earlier try
 * left half built is dropped first, what it finished is left alone.
 */
export async function buildIndexes(
  client: pg.Client,
  lineage: Lineage,
  migration: MigrationMeta,
  target: Target,
): Promise<void> {
  // Nobody waits behind a build, so it may wait for others as long as it takes.
  await client.query("set lock_timeout = 0");
  for (const statement of migration.sql) {
    const [, verb = "", index = ""] = CONCURRENT_INDEX.exec(statement) ?? [];
    const { rows } = await client.query<{ indisvalid: boolean }>(
      "select indisvalid from pg_index where indexrelid = to_regclass($1)",
      [index],
    );
    const drops = verb.toLowerCase() === "drop";
    const isThere = rows.length > 0;
    const isValid = rows[0]?.indisvalid === true;
    if (isThere && (drops || !isValid)) await client.query(`drop index concurrently ${index}`);
    if (!drops && !isValid) await client.query(statementAt(statement, target));
  }
  await note(client, lineage, migration, target);
}

/** Forgets what a site's schema had, which is deleted. */
export async function dropJournals(client: pg.Client, site: Pick<Target, "schema">): Promise<void> {
  for (const name of ["site", "content"])
    await client.query(`drop table if exists ${journalOf({ name }, site)}`);
}

async function note(
  client: pg.Client,
  lineage: Lineage,
  { hash, folderMillis }: MigrationMeta,
  target: Target,
): Promise<void> {
  const journal = journalOf(lineage, target);
  await client.query("create schema if not exists drizzle");
  await client.query(
    `create table if not exists ${journal} (id serial primary key, hash text not null, created_at bigint)`,
  );
  await client.query(`insert into ${journal} (hash, created_at) values ($1, $2)`, [hash, folderMillis]);
}
