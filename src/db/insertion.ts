import { getTableColumns } from "drizzle-orm";
import type { InferInsertModel } from "drizzle-orm";
import type { PgColumn, PgInsertValue, PgTable } from "drizzle-orm/pg-core";
import type { SelectResultFields } from "drizzle-orm/query-builders/select.types";
import type { RunnableQuery } from "drizzle-orm/runnable-query";
import { query, type Given } from "./query.ts";

type Columns = Record<string, PgColumn>;
type Values = Record<string, unknown>;

/** An insert of one row, which returns what is `shown` of it. Its text is built once, as query() says. */
export function insertionOf<T extends PgTable, Shown extends Columns>(table: T, shown: Shown) {
  const columns = getTableColumns(table);
  const insert = query((db, values: Given<Values>) =>
    // The cast: Drizzle's types do not know which table this is.
    db
      .insert(table)
      .values(values as PgInsertValue<T>)
      .returning(shown),
  );
  return (values: InferInsertModel<T>) =>
    insert(withDefaults(columns, values)) as unknown as RunnableQuery<SelectResultFields<Shown>[], "pg">;
}

/** The values, and those that Drizzle makes, such as ids: the query is built once, but its values are made each time. */
function withDefaults(columns: Columns, given: Values): Values {
  const values: Values = {};
  for (const [name, column] of Object.entries(columns)) {
    if (column.generated && column.generated.type !== "byDefault") continue;
    const value = given[name] === undefined ? defaultOf(column) : given[name];
    if (value !== undefined) values[name] = value;
  }
  return values;
}

function defaultOf({ default: inTable, defaultFn, onUpdateFn }: PgColumn): unknown {
  return defaultFn ? defaultFn() : inTable === undefined ? onUpdateFn?.() : undefined;
}
