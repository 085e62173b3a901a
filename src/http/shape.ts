import { getTableColumns } from "drizzle-orm";
import type { PgColumn, PgTable } from "drizzle-orm/pg-core";
import * as v from "valibot";

const ALWAYS = ["id", "created_at", "updated_at"] as const;

type Columns<T extends PgTable> = Exclude<keyof T["_"]["columns"], "tenant_id" | "version"> & string;

/**
 * What is shown of a table's rows: these columns, beside their id, created_at and updated_at. Throws when there is no such
 * column, or JSON has no value for one.
 */
export function shownOf<T extends PgTable, Name extends Columns<T>>(table: T, ...names: Name[]) {
  const columns = getTableColumns(table) as Record<string, PgColumn>;
  const entries = [...new Set<string>(["id", ...names, ...ALWAYS])].map((name) => {
    const column = columns[name];
    if (!column) throw new Error(`the table has no column ${name}`);
    const schema = schemaOf(name, column);
    return [name, column.notNull ? schema : v.nullable(schema)];
  });
  return v.object(Object.fromEntries(entries) as Record<Name | (typeof ALWAYS)[number], v.GenericSchema>);
}

/** A column's value as JSON has it, once Drizzle has read it. */
function schemaOf(name: string, { columnType, dataType, enumValues }: PgColumn): v.GenericSchema {
  if (enumValues && enumValues.length > 0) return v.picklist(enumValues);
  if (columnType === "PgUUID") return v.pipe(v.string(), v.uuid());
  if (columnType === "PgDateString") return v.pipe(v.string(), v.isoDate());
  if (/Int|Serial/.test(columnType) && dataType === "number") return v.pipe(v.number(), v.integer());
  if (dataType === "bigint" || columnType === "PgCustomColumn")
    throw new Error(`${name} has no value in JSON: show it by a schema of its own`);
  return SCHEMAS[dataType] ?? v.unknown();
}

const SCHEMAS: Partial<Record<PgColumn["dataType"], v.GenericSchema>> = {
  string: v.string(),
  number: v.number(),
  boolean: v.boolean(),
  date: v.pipe(v.string(), v.isoTimestamp()),
  array: v.array(v.unknown()),
};
