import type { Reference, Table } from "./end.ts";

type Column = { name: string; type: string; collation: string | null; generated: boolean };
/** A table, as TABLES describes it. */
export type FoundTable = {
  name: string;
  columns: Column[];
  key: string[] | null;
  /** Its constraints, unique indexes and triggers, as Postgres prints them without its schema. */
  rules: string[];
  references: Reference[];
};

/** The tables of schema $1 that hold tenants' rows: the catalog is for everybody to read. */
export const TABLES = `
select c.relname as name,
  (select json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod), 'collation', o.collname,
      'generated', attgenerated <> '') order by attnum)
    from pg_attribute left join pg_collation o on o.oid = attcollation
    where attrelid = c.oid and attnum > 0 and not attisdropped) as columns,
  (select json_agg(attname order by at) from pg_index, unnest(indkey) with ordinality as k (num, at)
    join pg_attribute on attnum = num where indrelid = c.oid and indisprimary and attrelid = c.oid) as key,
  (select coalesce(json_agg(replace(rule, n.nspname || '.', '') order by rule), '[]') from (
    select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint where conrelid = c.oid
    union all select pg_get_indexdef(indexrelid) from pg_index where indrelid = c.oid and indisunique
    union all select tgenabled::text || ' ' || pg_get_triggerdef(oid) from pg_trigger where tgrelid = c.oid and not tgisinternal
  ) r (rule)) as rules,
  (select coalesce(json_agg(json_build_object('of', c.relname, 'to', f.relname,
      'columns', (select json_agg(attname order by at) from unnest(conkey) with ordinality as k (num, at)
        join pg_attribute on attnum = num and attrelid = conrelid),
      'keyColumns', (select json_agg(attname order by at) from unnest(confkey) with ordinality as k (num, at)
        join pg_attribute on attnum = num and attrelid = confrelid))), '[]')
    from pg_constraint join pg_class f on f.oid = confrelid where conrelid = c.oid and contype = 'f') as references
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition
  and exists (select from pg_policy where polrelid = c.oid and polname = 'tenant_only')
order by c.relname`;

/** The tables that these describe, parents first. Throws when one of them cannot be copied. */
export function tablesOf(found: readonly FoundTable[]): { tables: Table[]; references: Reference[] } {
  const references = found.flatMap((table) => table.references);
  return { tables: inOrder(found.map(tableOf), references), references };
}

function tableOf({ name, columns, key }: FoundTable): Table {
  if (!key?.includes("tenant_id"))
    throw new Error(`The table ${name} cannot be moved: its primary key does not start with tenant_id.`);
  const own = columns.filter((column) => key.includes(column.name) && column.name !== "tenant_id");
  const sorted = own.find(({ collation }) => collation !== null && collation !== "C");
  if (sorted)
    throw new Error(
      `The table ${name} cannot be moved: give its key ${sorted.name} the collation "C", so that it sorts alike at every server.`,
    );
  return {
    name,
    key: key.flatMap((part) => own.find((column) => column.name === part) ?? []),
    columns: columns.filter(({ generated }) => !generated).map((column) => column.name),
    types: Object.fromEntries(columns.map((column) => [column.name, column.type])),
  };
}

/** The tables that others refer to first; in a circle, in the order of their names. */
function inOrder(tables: readonly Table[], references: readonly Reference[]): Table[] {
  const sorted: Table[] = [];
  const seen = new Set<string>();
  const visit = (table: Table) => {
    if (seen.has(table.name)) return;
    seen.add(table.name);
    for (const { of, to } of references) {
      const parent = of === table.name && tables.find(({ name }) => name === to);
      if (parent) visit(parent);
    }
    sorted.push(table);
  };
  tables.forEach(visit);
  return sorted;
}
