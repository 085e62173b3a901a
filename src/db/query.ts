import { is, Param, Placeholder, sql, SQL } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { drizzle } from "drizzle-orm/neon-http";
import { remembers } from "../memory.ts";
import type { Batch, Builder, Queries } from "../tenant-db.ts";

/** Builds queries, and can send none. */
export const builder: Builder = drizzle.mock();

export const built = <B extends Batch>(queries: Queries<B>): B =>
  typeof queries === "function" ? queries(builder) : queries;

/** The values of a query while it is built: a placeholder for each one that is given. */
export type Given<Of> = {
  [Name in keyof Of]:
    | Placeholder<Name & string, Exclude<Of[Name], undefined>>
    | (undefined extends Of[Name] ? undefined : never);
};

/** An id, or the placeholder of one. */
export type Id = string | Placeholder;

/** What Drizzle makes of a query to send it, and of its answer. */
export type Prepared = {
  /** What is made of each column of its rows; undefined when that is left to the driver. */
  fields?: unknown[] | undefined;
  getQuery(): { sql: string; params: unknown[] };
  isResponseInArrayMode(): boolean;
  mapResult(result: unknown): unknown;
};
type Preparable = { _prepare(): Prepared };

/** A query's text, which is sent with each request's own parameters. */
type Text = { prepared: Prepared; sql: string; fill: ((values: Values) => unknown)[] };
type Values = Record<string, unknown>;

/**
 * A query whose text is built once, and sent over any connection with the values of each request: building a text costs
 * more CPU than the call to the tenant's object. A value that is undefined is not given, and `build` may leave out the
 * part that needs it; there is one text for each set of names that are given. If a value is SQL, the text is built for
 * that call only.
 *
 *     const byId = query((db, { id }: Given<{ id: string }>) => db.select().from(notes).where(eq(notes.id, id)));
 *     const { note: [row] } = await c.get("db").read({ note: byId({ id }) });
 */
export function query<Item extends BatchItem<"pg">, Of extends object = Record<never, never>>(
  build: (db: Builder, given: Given<Of>) => Item,
): (values: Of) => Item {
  const texts = remembers<Text>("texts");
  const make = (values: Values) => textOf(build(builder, placeholdersOf(values) as Given<Of>));
  return (given) => {
    const values = given as Values;
    let shape = "";
    let isFixed = true;
    for (const name in values) {
      const value = values[name];
      if (value !== undefined) shape += `${name} `;
      if (value instanceof SQL) isFixed = false;
    }
    let text = isFixed ? texts.get(shape) : make(values);
    if (!text) texts.set(shape, (text = make(values)));
    return fillIn(text, values) as unknown as Item;
  };
}

/** A placeholder for each value that is given; SQL stays what it is. */
const placeholdersOf = (values: Values) =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value instanceof SQL ? value : sql.placeholder(name)]],
    ),
  );

/** A statement that no types describe, such as one about tables of the catalog; its result is its rows. */
export const statement = (text: string, params: readonly unknown[]): BatchItem<"pg"> =>
  ({
    _prepare: (): Prepared => ({
      getQuery: () => ({ sql: text, params: [...params] }),
      isResponseInArrayMode: () => false,
      mapResult: (result) => (result as { rows: unknown[] }).rows,
    }),
  }) as unknown as BatchItem<"pg">;

/** What Drizzle makes of a query, or of one that query() has filled in. */
export const prepare = (item: BatchItem<"pg">): Prepared => (item as unknown as Preparable)._prepare();

function textOf(item: BatchItem<"pg">): Text {
  const prepared = prepare(item);
  const { sql: text, params } = prepared.getQuery();
  return { prepared, sql: text, fill: params.map(filling) };
}

/** What a request's values make of one parameter. */
function filling(param: unknown): (values: Values) => unknown {
  if (is(param, Placeholder)) return (values) => values[param.name];
  if (!is(param, Param) || !is(param.value, Placeholder)) return () => param;
  const { encoder, value } = param;
  return (values) => {
    const own = values[value.name];
    // As Drizzle does: a column never encodes NULL.
    return own === null ? null : encoder.mapToDriverValue(own);
  };
}

/** An item of a batch, as Drizzle takes it. */
const fillIn = ({ prepared, sql: text, fill }: Text, values: Values): Preparable => ({
  _prepare: () => ({
    fields: prepared.fields,
    getQuery: () => ({ sql: text, params: fill.map((param) => param(values)) }),
    isResponseInArrayMode: () => prepared.isResponseInArrayMode(),
    mapResult: (result) => prepared.mapResult(result),
  }),
});
