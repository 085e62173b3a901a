import {
  and,
  eq,
  getTableColumns,
  ilike,
  or,
  sql,
  type InferInsertModel,
  type SQL,
  type SQLWrapper,
} from "drizzle-orm";
import type { PgColumn, PgTable } from "drizzle-orm/pg-core";
import type { RunnableQuery } from "drizzle-orm/runnable-query";
import type { SelectResultFields } from "drizzle-orm/query-builders/select.types";
import * as v from "valibot";
import type { Parsed } from "../context.ts";
import { sqlState } from "../db/client.ts";
import { insertionOf } from "../db/insertion.ts";
import { query, type Given } from "../db/query.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { hasVersion, versionsOf, type IfMatch } from "./etag.ts";
import { fitting } from "./fits.ts";
import { once, type Keyed } from "./idempotency.ts";
import { answerPage, pageFrom, PageQuery, type PageStart } from "./page.ts";

/** By what a page is ordered: in the select where a row does not show it, and as text. */
const [BY, PLACE] = ["$by", "$place"] as const;

/** A table of tenantTable(). */
type Table = PgTable & Record<"id" | "version" | "created_at" | "updated_at", PgColumn>;
type Entries = Record<string, v.GenericSchema>;

/** A filter of a list, by the name of its query parameter: a schema, for the column of that name, or a condition. */
type Filter = v.GenericSchema | readonly [schema: v.GenericSchema, where: (value: SQLWrapper) => SQL];
type Filters = Record<string, Filter>;
type SchemaOf<F extends Filter> = F extends v.GenericSchema
  ? F
  : F extends readonly [infer S, unknown]
    ? S
    : never;
type Parameters<F extends Filters> = {
  [Name in keyof F]: v.OptionalSchema<Extract<SchemaOf<F[Name]>, v.GenericSchema>, undefined>;
};

const Search = v.pipe(
  v.string(),
  v.trim(),
  v.minLength(1),
  v.maxLength(100),
  v.transform((text) => `%${text.replaceAll(/[\\%_]/g, "\\$&")}%`),
);

/**
 * A filter that finds rows of which one of the columns holds a text, in any case: `filters: { q: searched(customers.name) }`.
 * Without an index of pg_trgm, Postgres reads the tenant's whole table.
 */
export const searched = (...columns: [PgColumn, ...PgColumn[]]) =>
  [Search, (text: SQLWrapper) => or(...columns.map((column) => ilike(column, text))) as SQL] as const;

type Options<F extends Filters> = {
  filters?: F;
  /** Columns that a list may be ordered by: `?sort=name` rising, `?sort=-name` falling. Each needs an index. */
  sorts?: readonly string[];
  /** Makes a Problem of what Postgres refuses to write; rethrows the rest, of which refuseMisfit() makes one if it can. */
  refuse?: (error: unknown) => never;
};

type Values = Record<string, unknown>;

/**
 * What the routes of a tenant table need: list, show, create, change and delete rows. A row shows the columns that
 * `shape` names. Each verb is one round trip, and knows from its own write whether the row was there.
 */
export function rowsOf<T extends Table, Shape extends Entries, F extends Filters = Record<never, never>>(
  table: T,
  shape: v.ObjectSchema<Shape, undefined>,
  { filters = {} as F, sorts = [], refuse }: Options<F> = {},
) {
  type Columns = T["_"]["columns"];
  type Shown = Pick<Columns, keyof Shape & keyof Columns>;
  type Row = SelectResultFields<Shown & { version: Columns["version"] }> & { id: string; version: number };
  const columns = getTableColumns(table) as Record<string, PgColumn>;
  const shown = Object.fromEntries(Object.keys(shape.entries).map((name) => [name, columnOf(columns, name)]));
  const versioned = { ...shown, version: table.version };
  const isShown = (column: PgColumn) => Object.values(shown).includes(column);

  const conditions = Object.entries<Filter>(filters).map(([name, filter]) => {
    const isSchema = "kind" in filter;
    const where = isSchema ? (value: SQLWrapper) => eq(columnOf(columns, name), value) : filter[1];
    return { name, schema: v.optional(isSchema ? filter : filter[0]), where };
  });
  const parameters = Object.fromEntries(conditions.map(({ name, schema }) => [name, schema]));
  const orders = sorts.flatMap((name) => [name, `-${name}`]);
  const sort = orders.length === 0 ? {} : { sort: v.optional(v.picklist(orders)) };
  type PageEntries = typeof PageQuery.entries & Parameters<F>;
  /** A row of a page, and its place in it where that is not its created_at. */
  type Listed = SelectResultFields<Shown> & {
    id: string;
    created_at?: Date;
    [PLACE]?: string | null;
    [BY]?: unknown;
  };

  /** The rows of one page, in one of the orders. */
  const listBy = (order: string) => {
    const isRising = order !== "" && !order.startsWith("-");
    const by = order === "" ? table.created_at : columnOf(columns, order.replace(/^-/, ""));
    // Exact, whatever JavaScript would make of the value.
    const place = order === "" ? {} : { [PLACE]: sql`${by}::text`.as(PLACE) };
    const selected = { ...shown, ...(isShown(by) ? {} : { [BY]: by }), ...place };
    return query((db, values: Given<PageStart & Values>) => {
      const found = conditions.map(({ name, where }) => {
        const value = values[name];
        return value && where(value);
      });
      return pageFrom(
        () =>
          db
            .select(selected)
            .from(table as PgTable)
            .$dynamic(),
        { by, id: table.id, isRising },
        values,
        and(...found),
      );
    });
  };
  const lists = Object.fromEntries(["", ...orders].map((order) => [order, listBy(order)]));
  const list = ({ sort: order, ...values }: PageStart & Values) => {
    const chosen = lists[typeof order === "string" ? order : ""];
    if (!chosen) throw new Error(`no list is ordered by ${String(order)}`);
    return chosen(values) as unknown as RunnableQuery<Listed[], "pg">;
  };

  const byId = query((db, { id }: Given<{ id: string }>) =>
    db
      .select(versioned)
      .from(table as PgTable)
      .where(eq(table.id, id)),
  );
  const isThere = query((db, { id }: Given<{ id: string }>) =>
    db
      .select({ id: table.id })
      .from(table as PgTable)
      .where(eq(table.id, id)),
  );
  const isTarget = ({ $id, $versions }: Pick<Given<Target>, "$id" | "$versions">) =>
    and(eq(table.id, $id), hasVersion(table, $versions));
  const update = query((db, { $id, $versions, ...patch }: Given<Target & Values>) =>
    db
      .update(table as PgTable)
      .set(patch)
      .where(isTarget({ $id, $versions }))
      .returning(versioned),
  );
  const unchanged = query((db, target: Given<Target>) =>
    db
      .select(versioned)
      .from(table as PgTable)
      .where(isTarget(target)),
  );
  const remove = query((db, target: Given<Target>) =>
    db
      .delete(table as PgTable)
      .where(isTarget(target))
      .returning({ id: table.id }),
  );
  const insertion = insertionOf(table, versioned);
  const insert = (values: Inserted<T>) => {
    checkFit(values);
    return insertion(values as InferInsertModel<T>) as unknown as RunnableQuery<[Row], "pg">;
  };
  const { checkFit, refuseMisfit, mayCollide } = fitting(table);

  function refused(error: unknown): never {
    try {
      refuse?.(error);
    } catch (told) {
      if (told !== error) throw told;
    }
    return refuseMisfit(error);
  }

  function refusedRemoval(error: unknown): never {
    // Of a foreign key that is checked at once, RESTRICT, or later.
    if (/^23(503|001)$/.test(sqlState(error) ?? "")) throw new Problem("row_in_use", { cause: error });
    return refused(error);
  }

  /** The row that a write returns. Only with `If-Match` it may be there and yet not match, so only then it is looked for. */
  async function written(
    db: TenantDb,
    { $id, $versions }: Target,
    row: RunnableQuery<object[], "pg">,
    refusing: (error: unknown) => never,
  ): Promise<object> {
    const queries: Record<string, RunnableQuery<object[], "pg">> = { row };
    if ($versions !== undefined) queries["there"] = isThere({ id: $id });
    const answers = await db.write(queries).catch(refusing);
    const [found] = answers["row"] ?? [];
    if (found) return found;
    throw new Problem(answers["there"]?.[0] ? "precondition_failed" : "not_found");
  }

  return {
    /** The query of the list: `?limit=`, `?cursor=`, the filters and `?sort=`. */
    query: v.object({ ...PageQuery.entries, ...parameters, ...sort }) as unknown as v.ObjectSchema<
      PageEntries,
      undefined
    >,

    /** What is shown of a row, and its columns, for `returning()`. */
    shape,
    shown: shown as Shown,

    /** Whether create() and change() may throw `value_taken`. */
    mayCollide,

    /**
     * The query of one row's insert, which returns it, for a route that writes more in its batch. Throws `invalid_input` as
     * create() does.
     */
    insert,

    /** Throws what a route answers when Postgres refused a write of these rows: `once(…).catch(rows.refuse)`. */
    refuse: refused,

    /** The query of one page, for a route that reads more than the page in its batch. */
    list,

    /**
     * Answers one page of the list. `read` reads list() of what it is given, and more where the route needs more. Throws
     * `invalid_cursor`.
     */
    page: <Query extends v.InferOutput<typeof PageQuery>>(
      c: Parsed<{ query: Query }>,
      read = async (page: Omit<Query, "limit" | "cursor"> & PageStart): Promise<Listed[]> =>
        (await c.get("db").read({ rows: list(page) })).rows,
    ) =>
      answerPage(c, read, {
        place: (row) => (PLACE in row ? row[PLACE] : row.created_at),
        show: withoutPlace,
      }),

    /** The row that the path names. Throws `not_found`. */
    async find(c: Parsed<{ param: { id: string } }>): Promise<Row> {
      const { row } = await c.get("db").read({ row: byId(c.req.valid("param")) });
      if (!row[0]) throw new Problem("not_found");
      return row[0] as Row;
    },

    /**
     * Inserts a row and returns it; once for an `Idempotency-Key`, as once() says. Throws `invalid_input` for a value
     * that its column cannot hold, or that refers to nothing, and `value_taken`.
     */
    async create(c: Keyed, values: InferInsertModel<T>): Promise<Row> {
      const { row } = await once(c, { row: insert(values) }).catch(refused);
      return row[0];
    },

    /**
     * Changes what the patch names of the path's row, and returns it: as it is when the patch names nothing. Throws
     * `not_found` and `precondition_failed`, and `invalid_input` as create() does.
     */
    async change(c: Targeted, patch: Patch<T>): Promise<Row> {
      checkFit(patch);
      const target = targetOf(c);
      const namesNothing = Object.values(patch).every((value) => value === undefined);
      const row = namesNothing ? unchanged(target) : update({ ...target, ...patch });
      return (await written(c.get("db"), target, row, refused)) as Row;
    },

    /**
     * Deletes the path's row and returns null, the answer's body. Throws `not_found`, `precondition_failed`, and
     * `row_in_use` when a foreign key keeps it.
     */
    async remove(c: Targeted): Promise<null> {
      const target = targetOf(c);
      await written(c.get("db"), target, remove(target), refusedRemoval);
      return null;
    },
  };
}

function withoutPlace<Row extends object>(row: Row): Row {
  if (!(PLACE in row)) return row;
  const shown: Row & { [BY]?: unknown } = { ...row };
  Reflect.deleteProperty(shown, PLACE);
  Reflect.deleteProperty(shown, BY);
  return shown;
}

/** The row that a request wants to change, and which versions of it. The $ keeps these names apart from columns. */
type Target = { $id: string; $versions: string | undefined };

/** The values of a new row, or SQL that makes one. */
type Inserted<T extends Table> = {
  [Name in keyof InferInsertModel<T>]: InferInsertModel<T>[Name] | SQL;
};
/** New values of some of a row's columns, or SQL that makes one; what is undefined stays as it is. */
type Patch<T extends Table> = {
  [Name in keyof InferInsertModel<T>]?: InferInsertModel<T>[Name] | SQL | undefined;
};

type Targeted = Parsed<{ param: { id: string }; header: v.InferOutput<typeof IfMatch> }>;

const targetOf = (c: Targeted): Target => ({
  $id: c.req.valid("param").id,
  $versions: versionsOf(c.req.valid("header")),
});

function columnOf(columns: Record<string, PgColumn>, name: string): PgColumn {
  const column = columns[name];
  if (!column) throw new Error(`the table has no column ${name}`);
  return column;
}
