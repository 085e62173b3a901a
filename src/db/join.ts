import { and, eq, getTableColumns, Table, type SQL } from "drizzle-orm";
import { getTableConfig, type PgColumn, type PgTable } from "drizzle-orm/pg-core";

/** The table's name in the database, also of an alias of it. */
const originalName = (table: PgTable): string =>
  (table as unknown as Record<symbol, string>)[
    (Table as unknown as { Symbol: { OriginalName: symbol } }).Symbol.OriginalName
  ] ?? "";

/**
 * The condition of a join of two tenant tables, from the foreign key by which the first refers to the second: all of its
 * columns, the tenant's too. By the id alone Postgres finds no index, and reads the tenant's whole table for each row.
 * `key` names the foreign key where there are several. Throws when there is none, or more than one to choose from.
 *
 *     db.select().from(tasks).innerJoin(projects, joined(tasks, projects))
 */
export function joined(from: PgTable, to: PgTable, key?: string): SQL {
  const [child, parent] = [originalName(from), originalName(to)];
  const [found, other] = getTableConfig(from).foreignKeys.filter(
    (each) =>
      originalName(each.reference().foreignTable) === parent && (key === undefined || each.getName() === key),
  );
  if (!found) throw new Error(`${child} has no foreign key ${key ?? ""} to ${parent}`);
  if (other) throw new Error(`${child} has several foreign keys to ${parent}: name one`);
  const { columns, foreignColumns } = found.reference();
  const condition = and(
    ...columns.map((column, index) =>
      eq(columnOf(from, column.name), columnOf(to, foreignColumns[index]?.name)),
    ),
  );
  if (!condition) throw new Error(`the foreign key ${found.getName()} has no columns`);
  return condition;
}

function columnOf(table: PgTable, name: string | undefined): PgColumn {
  const column = Object.values(getTableColumns(table)).find((each) => each.name === name);
  if (!column) throw new Error(`there is no column ${name}`);
  return column;
}
