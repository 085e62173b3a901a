import { getTableName } from "drizzle-orm";
import type { Batch, Results } from "../tenant-db.ts";
import { readerOf } from "./client.ts";
import { prepare, type Prepared } from "./query.ts";
import { idempotencyKeys } from "./site.ts";

/** The rows of statements, by their names: each value as Postgres writes it, and the types by which it is read. */
export type KeptRows = Record<string, { types: number[] | null; rows: (string | null)[][] }>;

/** What is kept of the results: rows. A statement that returns none has no result. */
export type Kept<B extends Batch> = {
  [Name in keyof B]: B[Name]["_"]["result"] extends unknown[] ? B[Name]["_"]["result"] : undefined;
};

const WRITES_WITHIN = /\bas \((insert into|update|delete from|merge into)\s/i;

/** A batch whose statements are built, with their parameters: those that return rows have `fields`. */
type Ready = Record<string, Prepared>;

/** Builds the statements once. Throws for one whose rows cannot be kept, as it writes in a WITH of its own. */
export function ready(batch: Batch): Ready {
  const named = Object.entries(batch).map(([name, item]) => {
    const prepared = prepare(item);
    const sent = prepared.getQuery();
    if (prepared.fields && WRITES_WITHIN.test(sent.sql))
      throw new Error(`once() cannot keep the rows of ${name}, which writes in a WITH: make it two queries`);
    return [name, { ...passing(prepared), getQuery: () => sent }];
  });
  return Object.fromEntries(named) as Ready;
}

/** The same, by whatever object Drizzle has made of it. */
const passing = (prepared: Prepared) => ({
  fields: prepared.fields,
  isResponseInArrayMode: () => prepared.isResponseInArrayMode(),
  mapResult: (result: unknown) => prepared.mapResult(result),
});

/** The statements as Drizzle takes them. */
export const batchOf = (statements: Ready): Batch =>
  Object.fromEntries(
    Object.entries(statements).map(([name, prepared]) => [
      name,
      { _prepare: () => prepared } as unknown as Batch[string],
    ]),
  );

/** Those that return rows also note them in their transaction, beside this Idempotency-Key. */
export const keeping = (statements: Ready, key: string): Ready =>
  Object.fromEntries(
    Object.entries(statements).map(([name, prepared]) => [name, keepingOne(name, prepared, key)]),
  );

/** The column's value as Postgres sends it; a cast to text may write it otherwise, such as an inet. */
const written = (column: string) => `case num_nulls(${column}) when 0 then format('%s', ${column}) end`;

function keepingOne(name: string, prepared: Prepared, key: string): Prepared {
  if (!prepared.fields) return prepared;
  const { sql: text, params } = prepared.getQuery();
  const columns = prepared.fields.map((_, index) => `c${index}`);
  const array = (of: (column: string) => string) => `to_jsonb(array[${columns.map(of).join()}])`;
  const sql = `with kept (${columns.join()}) as (${text}), noted as (
    update ${getTableName(idempotencyKeys)} set answer = answer || jsonb_build_object($${params.length + 1}::text, jsonb_build_object(
      'types', (select ${array((column) => `pg_typeof(${column})::oid::bigint`)} from kept limit 1),
      'rows', (select coalesce(jsonb_agg(${array(written)}), '[]') from kept)))
    where actor_id = (select current_actor_id()) and key = $${params.length + 2})
    select * from kept`;
  return { ...prepared, getQuery: () => ({ sql, params: [...params, name, key] }) };
}

/** What is kept of the results. */
export const keptOf = <B extends Batch>(statements: Ready, results: Results<Batch>): Kept<B> =>
  Object.fromEntries(
    Object.entries(statements).map(([name, { fields }]) => [name, fields && results[name]]),
  ) as Kept<B>;

/** The same, of the results that the statements had when their rows were noted. */
export function readKept<B extends Batch>(statements: Ready, noted: KeptRows): Kept<B> {
  const named = Object.entries(statements).map(([name, prepared]) => {
    const kept = noted[name];
    if (!kept) return [name, undefined];
    const readers = (kept.types ?? []).map((type) => readerOf(type));
    const rows = kept.rows.map((row) =>
      row.map((text, index) => (text === null ? null : readers[index]?.(text))),
    );
    return [name, prepared.mapResult({ rows })];
  });
  return Object.fromEntries(named) as Kept<B>;
}
