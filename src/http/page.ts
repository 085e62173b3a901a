import { createHmac, timingSafeEqual } from "node:crypto";
import { sql, type SQL } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import * as v from "valibot";
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
  cursor: v.optional(v.pipe(v.string(), v.maxLength(512))),
});
type PageQuery = v.InferOutput<typeof PageQuery>;

/** One page of a list, newest first. */
export const pageOf = <S extends v.GenericSchema>(item: S) =>
  v.object({ data: v.array(item), next_cursor: v.nullable(v.string()) });

/** Where one page ends: its last row in the order (created_at, id). */
type Position = { created_at: Date; id: string };

/**
 * A list as one client may page through it. `scope` says whose it is and which: tenant, path and filters. A cursor
 * is signed together with it, so that it is worth nothing elsewhere.
 */
export class Pager {
  readonly #scope: string;
  readonly #query: PageQuery;

  constructor(query: PageQuery & Record<string, unknown>, tenantId: string, path: string) {
    const { limit, cursor, ...filters } = query;
    this.#query = { limit, cursor };
    this.#scope = JSON.stringify([
      tenantId,
      path,
      Object.entries(filters).sort(([a], [b]) => (a < b ? -1 : 1)),
    ]);
  }

  /** One row more than the page shows, to tell whether another page follows. */
  get rows(): number {
    return this.#query.limit + 1;
  }

  /** The rows after the cursor; undefined on the first page. Throws `invalid_cursor`. */
  after(table: { created_at: PgColumn; id: PgColumn }): SQL | undefined {
    if (this.#query.cursor === undefined) return undefined;
    const { created_at, id } = this.#open(this.#query.cursor);
    return sql`(${table.created_at}, ${table.id}) < (${created_at}, ${id})`;
  }

  page<Row extends Position>(rows: Row[]): { data: Row[]; next_cursor: string | null } {
    const data = rows.slice(0, this.#query.limit);
    const last = data.at(-1);
    return { data, next_cursor: last && rows.length > data.length ? this.#seal(last) : null };
  }

  #seal({ created_at, id }: Position): string {
    const place = `${created_at.toISOString()} ${id}`;
    const [key] = settings.OPAQUE_TOKEN_KEYS;
    if (!key) throw new Error("OPAQUE_TOKEN_KEYS is empty");
    return Buffer.concat([this.#mac(place, key.key), Buffer.from(place)]).toString("base64url");
  }

  #open(cursor: string): { created_at: string; id: string } {
    const bytes = Buffer.from(cursor, "base64url");
    // The same bytes may be spelled otherwise: with padding, with stray low bits, with what base64url has no sign for.
    if (bytes.toString("base64url") !== cursor) throw new Problem("invalid_cursor");
    const place = bytes.toString("utf8", MAC_BYTES);
    const mac = bytes.subarray(0, MAC_BYTES);
    const isOurs = settings.OPAQUE_TOKEN_KEYS.some(
      ({ key }) => mac.length === MAC_BYTES && timingSafeEqual(mac, this.#mac(place, key)),
    );
    const [created_at, id] = place.split(" ");
    if (!isOurs || !created_at || !id) throw new Problem("invalid_cursor");
    return { created_at, id };
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
