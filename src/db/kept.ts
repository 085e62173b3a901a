import { getTableName } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import type { Batch, Results } from "../tenant-db.ts";
import { readerOf } from "./client.ts";
import { prepare } from "./query.ts";
import { idempotencyKeys } from "./site.ts";

/** The rows of statements, by their names: each value as Postgres writes it, and the types by which it is read. */
export type KeptRows = Record<string, { types: number[] | null; rows: (string | null)[][] }>;

/** What is kept of the results: rows. A statement that returns none has no result. */
export type Kept<B extends Batch> = {
  [Name in keyof B]: B[Name]["_"]["result"] extends unknown[] ? B[Name]["_"]["result"] : undefined;
};

const WRITES_WITHIN = /\bas \((insert into|update|delete from|merge into)\s/i;

/**
 * The batch, each statement's text built, and its rows such as can be kept. Throws for one that writes in a WITH of its own:
 * each write is a statement.
 */
export function keepable<B extends Batch>(batch: B): B {
  const named = Object.entries(batch).map(([name, item]) => {
    const prepared = prepare(item);
    if (prepared.fields && WRITES_WITHIN.test(prepared.getQuery().sql))
      throw new Error(`once() cannot keep the rows of ${name}, which writes in a WITH: make it two queries`);
    return [name, { _prepare: () => prepared }];
  });
  return Object.fromEntries(named) as B;
}

/** The batch; each of its statements that returns rows also notes them in its transaction, beside this Idempotency-Key. */
export const keeping = (batch: Batch, key: string): Batch =>
  Object.fromEntries(Object.entries(batch).map(([name, item]) => [name, keepingItem(name, item, key)]));

/** The column's value as Postgres sends it; a cast to text may write it otherwise, such as an inet. */
const written = (column: string) => `case num_nulls(${column}) when 0 then format('%s', ${column}) end`;

function keepingItem(name: string, item: BatchItem<"pg">, key: string): BatchItem<"pg"> {
  const prepared = prepare(item);
  if (!prepared.fields) return item;
  const { sql: text, params } = prepared.getQuery();
  const columns = prepared.fields.map((_, index) => `c${index}`);
  const array = (of: (column: string) => string) => `to_jsonb(array[${columns.map(of).join()}])`;
  const sql = `with kept (${columns.join()}) as (${text}), noted as (
    update ${getTableName(idempotencyKeys)} set answer = answer || jsonb_build_object($${params.length + 1}::text, jsonb_build_object(
      'types', (select ${array((column) => `pg_typeof(${column})::oid::bigint`)} from kept limit 1),
      'rows', (select coalesce(jsonb_agg(${array(written)}), '[]') from kept)))
    where actor_id = (select current_actor_id()) and key = $${params.length + 2})
    select * from kept`;
  const kept = {
    getQuery: () => ({ sql, params: [...params, name, key] }),
    isResponseInArrayMode: () => true,
    mapResult: (result: unknown) => prepared.mapResult(result),
  };
  return { _prepare: () => kept } as unknown as BatchItem<"pg">;
}

/** What is kept of the results of the batch. */
export function keptOf<B extends Batch>(batch: B, results: Results<B>): Kept<B> {
  const named = Object.entries(batch).map(([name, item]) => [
    name,
    prepare(item).fields ? results[name] : undefined,
  ]);
  return Object.fromEntries(named) as Kept<B>;
}

/** The same of the results that the batch had when its rows were noted. */
export function readKept<B extends Batch>(batch: B, noted: KeptRows): Kept<B> {
  const named = Object.entries(batch).map(([name, item]) => {
    const kept = noted[name];
    if (!kept) return [name, undefined];
    const readers = (kept.types ?? []).map((type) => readerOf(type));
    const rows = kept.rows.map((row) =>
      row.map((text, index) => (text === null ? null : readers[index]?.(text))),
    );
    return [name, prepare(item).mapResult({ rows })];
  });
  return Object.fromEntries(named) as Kept<B>;
}
