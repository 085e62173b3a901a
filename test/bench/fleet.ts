import pg from "pg";
import { migrateFleet } from "../../drizzle/fleet.ts";
import { schemaOf } from "../../drizzle/lineage.ts";
import { TESTS_MIGRATIONS, withMigrations } from "../support/node/product.ts";
import { aimsTable } from "./aims.ts";
import { startEmpty } from "./bed.ts";
import { shown, spread, table } from "./figures.ts";
import type { Options, Result } from "./subject.ts";
import { makeFolder } from "./workerd.ts";

const SITES = 300;
const { content = "" } = TESTS_MIGRATIONS;
/** Connections whose first query is timed. */
const PROBES = 20;

/** How long `db:migrate` takes with many sites in schemas of one database, and what these cost its catalog. */
export async function fleet(bench: AsyncDisposableStack, { say }: Options): Promise<Result> {
  say("starting Postgres");
  const { stack, variables } = await startEmpty({ dir: makeFolder(bench) });
  bench.defer(() => stack.stop());
  const root = new pg.Client({ connectionString: stack.superuserUrl.replace(/[^/]*$/, "partywall") });
  await root.connect();
  bench.defer(() => root.end());
  const before = await catalogOf(root, variables.MIGRATION_DATABASE_URL);
  for (let at = 1; at <= SITES; at++)
    await root.query("insert into control.sites (name, kind, schema, secret) values ($1, 'schema', $2, '')", [
      `site-${at}`,
      schemaOf(`site-${at}`),
    ]);
  const seconds = async (what: string, folder: string): Promise<number> => {
    say(what);
    const began = performance.now();
    await migrateFleet(variables, { content: folder, say: () => undefined });
    return (performance.now() - began) / 1000;
  };
  const made = await seconds(`making ${SITES} sites`, content);
  const idle = await seconds("migrating when nothing is to be done", content);
  const added = await seconds(
    "adding a column to a table of each",
    withMigrations(makeFolder(bench), ['alter table "projects" add column "colour" text']),
  );
  const after = await catalogOf(root, variables.MIGRATION_DATABASE_URL);
  const aims = [{ aim: `db:migrate of ${SITES} sites with nothing to be done, s`, is: idle, most: 60 }];
  return {
    data: { sites: SITES, madeS: made, idleS: idle, columnS: added, before, after },
    text: [
      `${SITES} sites in schemas of one database: made in ${shown(made)} s, migrated in ${shown(idle)} s when nothing is to be done and in ${shown(added)} s with a column to add.`,
      table(
        ["", "without them", "with them"],
        [
          ["relations in the catalog", shown(before.relations), shown(after.relations)],
          ["size of pg_class and pg_attribute, MiB", shown(before.catalogMiB, 1), shown(after.catalogMiB, 1)],
          [
            "first query of a connection, planning, ms",
            shown(before.firstPlanMs, 2),
            shown(after.firstPlanMs, 2),
          ],
          ["the same again, planning, ms", shown(before.laterPlanMs, 2), shown(after.laterPlanMs, 2)],
        ],
      ),
      aimsTable(aims),
    ].join("\n\n"),
  };
}

/** What the catalog holds, and how long Postgres plans a point read of the shared site for somebody who has just connected. */
async function catalogOf(root: pg.Client, url: string) {
  const { rows } = await root.query<{ relations: number; bytes: string }>(
    `select count(*)::int as relations,
      pg_total_relation_size('pg_class') + pg_total_relation_size('pg_attribute') as bytes from pg_class`,
  );
  const times: { first: number[]; later: number[] } = { first: [], later: [] };
  for (let at = 0; at < PROBES; at++) {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      await client.query("set role partywall_owner");
      for (const kind of ["first", "later"] as const) {
        const explained = await client.query<{ "QUERY PLAN": [{ "Planning Time": number }] }>(
          "explain (summary, format json) select * from public.projects where id = gen_random_uuid()",
        );
        times[kind].push(explained.rows[0]?.["QUERY PLAN"][0]["Planning Time"] ?? NaN);
      }
    } finally {
      await client.end();
    }
  }
  return {
    relations: rows[0]?.relations ?? NaN,
    catalogMiB: Number(rows[0]?.bytes ?? NaN) / 2 ** 20,
    firstPlanMs: spread(times.first).median,
    laterPlanMs: spread(times.later).median,
  };
}
