import { createHash } from "node:crypto";
import {
  and,
  eq,
  getTableColumns,
  getTableName,
  is,
  isNull,
  lt,
  sql,
  SQL,
  Subquery,
  type InferInsertModel,
} from "drizzle-orm";
import type { PgColumn, PgInsertValue, PgTable } from "drizzle-orm/pg-core";
import type { SelectResultFields } from "drizzle-orm/query-builders/select.types";
import type { Context } from "hono";
import * as v from "valibot";
import type { Edge } from "../context.ts";
import { sqlState } from "../db/client.ts";
import { query, type Given } from "../db/query.ts";
import { idempotencyKeys } from "../db/site.ts";
import { Problem, type ProblemCode } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";

/** How many expired keys each new request with a key takes with it: more than one, so that they do not pile up. */
const SWEPT = 10;
const isExpired = lt(idempotencyKeys.created_at, sql`now() - interval '24 hours'`);

/** `Idempotency-Key`: a string of RFC 9651, or, as many clients send it, the same without quotes. */
export const IdempotencyKey = v.object({
  "idempotency-key": v.optional(
    v.pipe(
      v.string(),
      v.regex(
        /^(?:"(?:[ !#-[\]-~]|\\["\\]){1,255}"|[!#-+\--~]{1,255})$/,
        'a string such as "8e03978e-40d5-43dd-bc93-6894a57f9324"',
      ),
      v.transform((text) => (text.startsWith('"') ? text.slice(1, -1).replaceAll(/\\(.)/g, "$1") : text)),
      v.description("Makes it safe to repeat the request: within 24 hours it gets its first answer again."),
    ),
  ),
});
export const IDEMPOTENCY_PROBLEMS = [
  "invalid_header",
  "idempotency_key_in_use",
  "idempotency_key_reused",
] as const satisfies ProblemCode[];

/** The context of a route that parses `Idempotency-Key`. */
export type Keyed = Context<Edge, string, { out: { header: v.InferOutput<typeof IdempotencyKey> } }>;

type Columns = Record<string, PgColumn>;
type Values = Record<string, unknown>;
/** The key, and a hash of the request that it came with, beside values that are named as columns are. */
type Keying = { $key: string; $hash: string };

const mine = ({ $key }: Given<Keying>) =>
  and(eq(idempotencyKeys.actor_id, sql`(select current_actor_id())`), eq(idempotencyKeys.key, $key));
const ofRequest = (given: Given<Keying>) =>
  and(mine(given), eq(idempotencyKeys.request_hash, sql`${given.$hash}::bytea`));

/** Takes the key. Waits while another transaction holds it; each statement after it sees what that one has committed. */
const claim = query((db, { $key, $hash }: Given<Keying>) =>
  db
    .insert(idempotencyKeys)
    .values({ key: $key, request_hash: sql`${$hash}::bytea` })
    .onConflictDoUpdate({
      target: [idempotencyKeys.tenant_id, idempotencyKeys.actor_id, idempotencyKeys.key],
      set: { request_hash: sql`excluded.request_hash`, answer: null, created_at: sql`now()` },
      setWhere: isExpired,
    }),
);

const sweep = query((db) =>
  db.execute(sql`
    delete from ${idempotencyKeys} where ctid = any(array(
      select ctid from ${idempotencyKeys} where ${isExpired} order by created_at limit ${SWEPT} for update skip locked))`),
);

/**
 * What inserts one row and returns what is `shown` of it. With an `Idempotency-Key`, the row and the key commit together,
 * and the caller's same request returns the first one's row for 24 hours, however many come at once; a failed one
 * leaves no key. Throws `idempotency_key_reused` when the key came with another request, `idempotency_key_in_use`
 * when that one takes longer than a lock may be waited for.
 */
export function creation<T extends PgTable, Shown extends Columns>(table: T, shown: Shown) {
  const columns = getTableColumns(table);

  const insert = query((db, values: Given<Values>) =>
    // The cast: Drizzle's types do not know which table this is.
    db
      .insert(table)
      .values(values as PgInsertValue<T>)
      .returning(shown),
  );
  const insertFirst = query((db, values: Given<Keying & Values>) =>
    db.execute(sql`
      with made as (
        ${insertSelect(table, values)} from ${idempotencyKeys}
        where ${and(ofRequest(values), isNull(idempotencyKeys.answer))} returning *
      )
      update ${idempotencyKeys} set answer = to_jsonb(made.*) from made where ${mine(values)} returning 1`),
  );
  // Read as a row of its table, so that its columns are decoded like those of any row.
  const readFirst = query((db, given: Given<Keying>) =>
    db.select(shown).from(
      new Subquery(
        sql`select first.* from ${idempotencyKeys},
          jsonb_populate_record(null::${table}, ${idempotencyKeys.answer}) first where ${ofRequest(given)}`,
        columns,
        getTableName(table),
      ) as Subquery,
    ),
  );

  async function create(db: TenantDb, values: Values): Promise<unknown> {
    const { row } = await db.write({ row: insert(values) });
    return (row as unknown[])[0];
  }

  async function createFirst(c: Keyed, key: string, values: Values): Promise<unknown> {
    const request = { $key: key, $hash: await hashOf(c) };
    const { made, row } = await c
      .get("db")
      .write({
        claimed: claim(request),
        made: insertFirst({ ...request, ...values }),
        row: readFirst(request),
        swept: sweep({}),
      })
      .catch((cause: unknown) => {
        if (sqlState(cause) !== "55P03") throw cause;
        throw new Problem("idempotency_key_in_use", { cause, headers: { "retry-after": "1" } });
      });
    const [first] = row as unknown[];
    if (first === undefined) throw new Problem("idempotency_key_reused");
    if (made.rows.length === 0) c.header("Idempotency-Replayed", "true");
    return first;
  }

  return async (c: Keyed, given: InferInsertModel<T>): Promise<SelectResultFields<Shown>> => {
    const values = withDefaults(columns, given);
    const key = c.req.valid("header")["idempotency-key"];
    const row = await (key === undefined ? create(c.get("db"), values) : createFirst(c, key, values));
    if (row === undefined) throw new Error("the insert returned no row");
    return row as SelectResultFields<Shown>;
  };
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

/** Tells requests apart by what the client sent, whatever a handler makes of it; equal JSON in another order is equal. */
async function hashOf(c: Context<Edge>): Promise<string> {
  const body: unknown = c.req.raw.body ? await c.req.json() : null;
  const sorted = (_: string, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  const hash = createHash("sha256").update(JSON.stringify([c.req.method, c.req.path, body], sorted));
  return `\\x${hash.digest("hex")}`;
}

/** `insert into … select …` of these values, up to its FROM; what they do not name is left to the table's defaults. */
function insertSelect(table: PgTable, values: Given<Values>): SQL {
  const given = Object.entries(getTableColumns(table)).flatMap(([name, column]) => {
    const value = values[name];
    return value === undefined ? [] : [{ column, value }];
  });
  const names = given.map(({ column }) => sql.identifier(column.name));
  const selected = given.map(({ column, value }) => (is(value, SQL) ? value : sql.param(value, column)));
  return sql`insert into ${table} (${sql.join(names, sql`, `)}) select ${sql.join(selected, sql`, `)}`;
}

function defaultOf({ default: inTable, defaultFn, onUpdateFn }: PgColumn): unknown {
  return defaultFn ? defaultFn() : inTable === undefined ? onUpdateFn?.() : undefined;
}
