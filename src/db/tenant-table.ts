import { sql } from "drizzle-orm";
import type { BuildExtraConfigColumns } from "drizzle-orm";
import {
  bigint,
  pgPolicy,
  pgTable,
  primaryKey,
  uuid,
  type PgColumnBuilderBase,
  type PgTableExtraConfigValue,
} from "drizzle-orm/pg-core";
import { newId, rowHistory } from "./columns.ts";

// The subselect makes Postgres verify the context once a statement, not once a row.
const mine = sql`tenant_id = (select current_tenant_id())`;
const all = sql`true`;

/**
 * The wall of one table: `tenant_only` is the whole of it, and holds beside any other policy. `tenant_may` is there
 * because without a permissive policy Postgres shows nothing; asking it for the tenant too would verify each write twice.
 */
export const tenantPolicies = () => [
  pgPolicy("tenant_may", { as: "permissive", for: "all", to: "public", using: all, withCheck: all }),
  pgPolicy("tenant_only", { as: "restrictive", for: "all", to: "public", using: mine, withCheck: mine }),
];

/**
 * A column that numbers the tenant's rows 1, 2, 3 … as they are made, without gaps, and in the order of commits: whoever
 * makes the next one waits for the transaction that makes this one. Another name is another counter.
 *
 *     number: tenantNumber("invoices"),
 */
export const tenantNumber = (counter: string) =>
  bigint({ mode: "number" })
    .notNull()
    .default(sql.raw(`next_number('${counter.replaceAll("'", "''")}')`));

const tenantColumns = () => ({
  // Not verified, and computed for each row: tenant_only's WITH CHECK verifies it, as it does a tenant_id that SQL names.
  tenant_id: uuid("tenant_id")
    .notNull()
    .default(sql`claimed_tenant_id()`),
  id: newId(),
  ...rowHistory(),
});

type Columns<Own extends Record<string, PgColumnBuilderBase>> = ReturnType<typeof tenantColumns> & Own;

/**
 * A table whose every row belongs to one tenant, and which shows and takes rows of the signed context's
 * tenant only, whatever SQL runs. `drizzle/wall.sql` adds FORCE and the app role's grants when migrating.
 * Unique constraints and foreign keys in `constraints` start with `tenant_id`: their checks bypass RLS.
 */
export function tenantTable<Name extends string, Own extends Record<string, PgColumnBuilderBase>>(
  name: Name,
  own: Own,
  constraints: (t: BuildExtraConfigColumns<Name, Columns<Own>, "pg">) => PgTableExtraConfigValue[] = () => [],
) {
  return pgTable(name, { ...tenantColumns(), ...own }, (t) => [
    primaryKey({ columns: [t.tenant_id, t.id] }),
    ...tenantPolicies(),
    ...constraints(t),
  ]);
}
