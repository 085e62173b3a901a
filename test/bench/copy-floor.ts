import { execFile } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { connect } from "./sides.ts";
import type { Ground } from "./grounds.ts";
import { makeFolder } from "./workerd.ts";

const run = promisify(execFile);
const DATABASE = "bench_plain";
/** What a copied tenant has rows in, and what these refer to. */
const TABLES = ["members", "projects", "tasks"] as const;

/** Copies the tenant's rows once more, to tables that are empty; returns how many it copied a second. */
export type CopyFloor = (tenantId: string) => Promise<number>;

/**
 * What pg_dump | psql does to a tenant's rows: COPY at one server into COPY at the other, as superusers, into tables without
 * indexes; then the primary keys, the indexes and the foreign keys. At least as fast as these: the servers pass the rows on
 * through a pipe of the system, without a client and a network between.
 */
export async function makeCopyFloor(
  bench: AsyncDisposableStack,
  { first, second }: Ground,
): Promise<CopyFloor> {
  const target = await makePlainTables(bench, second);
  const folder = makeFolder(bench);
  // As root, Postgres runs as another user, who then reaches the pipes here.
  chmodSync(folder, 0o711);
  const pipes = TABLES.map((name) => join(folder, name));
  await run("mkfifo", ["-m", "666", ...pipes]);
  return async (tenantId) => {
    const rebuild = await dropRules(target);
    await target.query(`truncate ${TABLES.join(", ")}`);
    let rows = 0;
    const began = performance.now();
    for (const [at, name] of TABLES.entries()) {
      const pipe = pg.escapeLiteral(pipes[at] ?? "");
      const [, copied] = await Promise.all([
        first.query(
          `copy (select * from public.${name} where tenant_id = ${pg.escapeLiteral(tenantId)}) to ${pipe}`,
        ),
        target.query(`copy ${name} from ${pipe}`),
      ]);
      rows += copied.rowCount ?? 0;
    }
    for (const step of rebuild) await target.query(step);
    return (rows * 1000) / (performance.now() - began);
  };
}

/** A database with the tables of the site there, without their triggers and policies. */
async function makePlainTables(bench: AsyncDisposableStack, { client, url }: Ground["second"]) {
  await client.query(`create database ${DATABASE} template dedicated`);
  const target = await connect(bench, url.replace(/[^/]*$/, DATABASE));
  await target.query(
    `${TABLES.map((name) => `alter table ${name} disable row level security, disable trigger user;`).join(" ")}
     truncate ${TABLES.join(", ")} cascade`,
  );
  return target;
}

/** Drops the tables' keys and indexes; returns the statements that make them again, in pg_dump's order. */
async function dropRules(target: pg.Client): Promise<string[]> {
  const { rows } = await target.query<{ drop: string; make: string }>(
    `with rules as (
       select case contype when 'p' then 1 else 3 end as make_order,
         format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop,
         format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as make
       from pg_constraint where conrelid = any ($1::text[]::regclass[]) and contype in ('p', 'f')
       union all
       select 2, format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
       from pg_index where indrelid = any ($1::text[]::regclass[]) and not indisprimary
     ) select drop, make from rules order by make_order, make`,
    [[...TABLES]],
  );
  // Foreign keys first: they rest on the primary keys, which are last in reverse.
  for (const { drop } of rows.toReversed()) await target.query(drop);
  return rows.map(({ make }) => make);
}
