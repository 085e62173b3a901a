import { createHash } from "node:crypto";
import pg from "pg";
import type { Site } from "../../src/db/places.ts";
import { TABLES, tablesOf, type FoundTable } from "../../src/lifecycle/catalog.ts";
import type { Catalog } from "../../src/lifecycle/end.ts";
import { connected } from "../connected.ts";
import { latestMigrations } from "../migrate.ts";

/** The tables at a site that hold tenants' rows. Throws when one of them cannot be copied. */
export const readCatalog = (migratorUrl: string, { schema }: Pick<Site, "schema">): Promise<Catalog> =>
  connected(migratorUrl, async (client) => {
    await client.query("set role partywall_owner");
    await client.query(`set search_path = ${pg.escapeIdentifier(schema)}`);
    const { rows } = await client.query<FoundTable>(TABLES, [schema]);
    const { rows: journal } = await client.query<{ last: unknown }>(latestMigrations({ schema }));
    return {
      ...tablesOf(rows),
      fingerprint: createHash("sha256")
        .update(JSON.stringify([rows.map(({ name, columns, rules }) => [name, columns, rules]), journal]))
        .digest("hex"),
    };
  });
