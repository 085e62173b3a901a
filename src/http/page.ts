import { createHmac, timingSafeEqual } from "node:crypto";
import { and, asc, desc, isNotNull, isNull, sql, type SQL } from "drizzle-orm";
import type { PgColumn, PgSelect } from "drizzle-orm/pg-core";
import * as v from "valibot";
import type { Parsed } from "../context.ts";
import type { Given } from "../db/query.ts";
import { settings } from "../env.ts";
import { Problem } from "../problem.ts";

const MAC_BYTES = 16;

/** The query of every list: `?limit=` 1 to 100, and where to go on. */
export const PageQuery = v.object({
  limit: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,3}$/, "a whole number from 1 to 100"),
      v.toNumber(),
      v.minValue(1),
      v.maxValue(100),
    ),
    "50",
  ),
  // An index of Postgres takes 2.6 KiB of a value.
  cursor: v.optional(v.pipe(v.string(), v.maxLength(4096))),
});
type PageQuery = v.InferOutput<typeof PageQuery>;

/** One page of a list, newest first. */
export const pageOf = <S extends v.GenericSchema>(item: S) =>
  v.object({ data: v.array(item), next_cursor: v.nullable(v.string()) });

/**
 * Where a page begins: after the row with this value of what the list is ordered by, or null, and this id. And how many
 * rows to read: one more than it shows, to tell whether another page follows.
 */
export type PageStart = { after?: string | undefined; after_id?: string | undefined; rows: number };

/** What a list is ordered by, beside the id. Nulls are the greatest, as in an index of Postgres. */
type Order = { by: PgColumn; id: PgColumn; isRising?: boolean };

/**
 * Has a select answer the rows of one page, of those that `where` finds. `select` begins it anew at each call, and selects
 * what the list is ordered by.
 */
export function pageFrom<Q extends PgSelect>(
  select: () => Q,
  { by, id, isRising = false }: Order,
  { after, after_id, rows }: Given<PageStart>,
  where?: SQL,
): Q {
  const direction = isRising ? asc : desc;
  const isLater = isRising ? sql`>` : sql`<`;
  const read = (from?: SQL) =>
    select().where(and(where, from)).orderBy(direction(by), direction(id)).limit(rows);
  if (after_id === undefined) return read();
  if (after === undefined) {
    const nulls = read(and(isNull(by), sql`${id} ${isLater} ${after_id}`));
    return isRising ? nulls : joinedPages(nulls, read(isNotNull(by)));
  }
  const values = read(sql`(${by}, ${id}) ${isLater} (${after}, ${after_id})`);
  return isRising && !by.notNull ? joinedPages(values, read(isNull(by))) : values;

  // Each is a range of the index. With OR, Postgres would read the list from its start.
  function joinedPages(first: Q, second: Q): Q {
    return first
      .unionAll(second as never)
      .orderBy(direction(by), direction(id))
      .limit(rows);
  }
}

/** The order of most lists. */
export const newestFirst = (table: { created_at: PgColumn; id: PgColumn }): Order => ({
  by: table.created_at,
  id: table.id,
});

/**
 * Answers one page of a list. `read` is given the query's filters and where the page begins. Throws `invalid_cursor`.
 * `whose` says whose list it is where it is not the whole tenant's; `show` what of a row is answered; `place` its value of
 * what the list is ordered by. `reader` is whom a cursor is good for, where that is no tenant.
 */
export async function answerPage<Query extends PageQuery, Row extends { id: string }, Shown = Row>(
  c: Parsed<{ query: Query }>,
  read: (page: Omit<Query, "limit" | "cursor"> & PageStart) => Promise<Row[]>,
  {
    place = (row) => Reflect.get(row, "created_at"),
    show = (row) => row as unknown as Shown,
    whose = "",
    reader = c.get("caller").tenantId,
  }: {
    place?: (row: Row) => unknown;
    show?: (row: Row) => Shown;
    whose?: string;
    reader?: string;
  } = {},
) {
  const { limit, cursor, ...filters } = c.req.valid("query");
  const pager = new Pager(filters, reader, c.req.path + whose);
  const rows = await read({ ...filters, ...pager.open(cursor), rows: limit + 1 });
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  const next_cursor = last && rows.length > data.length ? pager.seal(place(last), last.id) : null;
  return c.json({ data: data.map(show), next_cursor });
}

/**
 * The cursors of a list as one client may page through it: tenant, path and filters. A cursor is signed together with
 * these, so that it is worth nothing elsewhere.
 */
class Pager {
  readonly #scope: string;

  constructor(filters: object, reader: string, path: string) {
    this.#scope = JSON.stringify([
      reader,
      path,
      Object.entries(filters).sort(([a], [b]) => (a < b ? -1 : 1)),
    ]);
  }

  /** The cursor after a row with this value of what the list is ordered by. */
  seal(value: unknown, id: string): string {
    const place =
      value === null ? id : `${id} ${value instanceof Date ? value.toISOString() : String(value)}`;
    const [key] = settings.OPAQUE_TOKEN_KEYS;
    return Buffer.concat([this.#mac(place, key.key), Buffer.from(place)]).toString("base64url");
  }

  /** The place that a cursor leads to. Throws `invalid_cursor`. */
  open(cursor: string | undefined): Omit<PageStart, "rows"> {
    if (cursor === undefined) return {};
    const bytes = Buffer.from(cursor, "base64url");
    // The same bytes may be spelled otherwise: with padding, with stray low bits, with what base64url has no sign for.
    if (bytes.toString("base64url") !== cursor) throw new Problem("invalid_cursor");
    const place = bytes.toString("utf8", MAC_BYTES);
    const mac = bytes.subarray(0, MAC_BYTES);
    const isOurs = settings.OPAQUE_TOKEN_KEYS.some(
      ({ key }) => mac.length === MAC_BYTES && timingSafeEqual(mac, this.#mac(place, key)),
    );
    if (!isOurs) throw new Problem("invalid_cursor");
    const [id = "", ...value] = place.split(" ");
    return { after_id: id, after: value.length > 0 ? value.join(" ") : undefined };
  }

  #mac(place: string, key: Uint8Array): Buffer {
    return createHmac("sha256", key)
      .update("cursor")
      .update(this.#scope)
      .update(place)
      .digest()
      .subarray(0, MAC_BYTES);
  }
}
