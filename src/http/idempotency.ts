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
import type { PgColumn, PgTable } from "drizzle-orm/pg-core";
import type { SelectResultFields } from "drizzle-orm/query-builders/select.types";
import type { Context } from "hono";
import * as v from "valibot";
import type { Edge } from "../context.ts";
import { sqlState } from "../db/client.ts";
import { idempotencyKeys } from "../db/schema.ts";
import { Problem, type ProblemCode } from "../problem.ts";

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

type Keyed = Context<Edge, string, { out: { header: v.InferOutput<typeof IdempotencyKey> } }>;

/**
 * Inserts one row and returns what is `shown` of it. With an `Idempotency-Key`, the row and the key commit together,
 * and the caller's same request returns the first one's row for 24 hours, however many come at once; a failed one
 * leaves no key. Throws `idempotency_key_reused` when the key came with another request, `idempotency_key_in_use`
 * when that one takes longer than a lock may be waited for.
 */
export async function createOnce<T extends PgTable, Shown extends Record<string, PgColumn>>(
  c: Keyed,
  table: T,
  values: InferInsertModel<T>,
  shown: Shown,
): Promise<SelectResultFields<Shown>> {
  const key = c.req.valid("header")["idempotency-key"];
  const row = await (key === undefined
    ? create(c, table, values, shown)
    : createFirst(c, key, table, values, shown));
  return row as SelectResultFields<Shown>;
}

type Row = Record<string, unknown>;
type Columns = Record<string, PgColumn>;

async function create(c: Keyed, table: PgTable, values: Row, shown: Columns): Promise<Row> {
  const [[row]] = await c.get("db").write((db) => [db.insert(table).values(values).returning(shown)]);
  if (!row) throw new Error("the insert returned no row");
  return row;
}

async function createFirst(c: Keyed, key: string, table: PgTable, values: Row, shown: Columns): Promise<Row> {
  const request_hash = await hashOf(c);
  const mine = and(
    eq(idempotencyKeys.actor_id, sql`(select current_actor_id())`),
    eq(idempotencyKeys.key, key),
  );
  const ofThisRequest = and(mine, eq(idempotencyKeys.request_hash, request_hash));

  const [, made, [row]] = await c
    .get("db")
    .write((db) => [
      // Waits while another transaction holds the key; each statement after it sees what that one has committed.
      db
        .insert(idempotencyKeys)
        .values({ key, request_hash })
        .onConflictDoUpdate({
          target: [idempotencyKeys.tenant_id, idempotencyKeys.actor_id, idempotencyKeys.key],
          set: { request_hash, answer: null, created_at: sql`now()` },
          setWhere: isExpired,
        }),
      db.execute(sql`
        with made as (
          ${insertSelect(table, values)} from ${idempotencyKeys}
          where ${and(ofThisRequest, isNull(idempotencyKeys.answer))} returning *
        )
        update ${idempotencyKeys} set answer = to_jsonb(made.*) from made where ${mine} returning 1`),
      // As a row of its table again, so that its columns are read as any row's are.
      db.select(shown).from(
        new Subquery(
          sql`select first.* from ${idempotencyKeys},
            jsonb_populate_record(null::${table}, ${idempotencyKeys.answer}) first where ${ofThisRequest}`,
          getTableColumns(table),
          getTableName(table),
        ),
      ),
      db.execute(sql`
        delete from ${idempotencyKeys} where ctid = any(array(
          select ctid from ${idempotencyKeys} where ${isExpired} order by created_at limit ${SWEPT} for update skip locked))`),
    ])
    .catch((cause: unknown) => {
      if (sqlState(cause) !== "55P03") throw cause;
      throw new Problem("idempotency_key_in_use", { cause, headers: { "retry-after": "1" } });
    });
  if (!row) throw new Problem("idempotency_key_reused");
  if (made.rows.length === 0) c.header("Idempotency-Replayed", "true");
  return row;
}

/** Tells requests apart by what the client sent, whatever a handler makes of it; equal JSON in another order is equal. */
async function hashOf(c: Context<Edge>): Promise<Buffer> {
  const body: unknown = c.req.raw.body ? await c.req.json() : null;
  const sorted = (_: string, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return createHash("sha256")
    .update(JSON.stringify([c.req.method, c.req.path, body], sorted))
    .digest();
}

/**
 * `insert into … select …` of these values, up to its FROM, with the defaults that Drizzle's own insert gives a row; what
 * neither names is left to the table's defaults.
 */
function insertSelect(table: PgTable, values: Row): SQL {
  const given = Object.entries(getTableColumns(table)).flatMap(([name, column]) => {
    if (column.generated && column.generated.type !== "byDefault") return [];
    const value = values[name] === undefined ? defaultOf(column) : values[name];
    return value === undefined ? [] : [{ column, value }];
  });
  const names = given.map(({ column }) => sql.identifier(column.name));
  const selected = given.map(({ column, value }) => (is(value, SQL) ? value : sql.param(value, column)));
  return sql`insert into ${table} (${sql.join(names, sql`, `)}) select ${sql.join(selected, sql`, `)}`;
}

function defaultOf({ default: inTable, defaultFn, onUpdateFn }: PgColumn): unknown {
  return defaultFn ? defaultFn() : inTable === undefined ? onUpdateFn?.() : undefined;
}
