import * as v from "valibot";
import { stateOf } from "./end.ts";
import type {
  Change,
  Digest,
  FenceMode,
  Found,
  Key,
  Lines,
  Page,
  Range,
  Reference,
  Rows,
  Table,
} from "./end.ts";

/** Rows that are deleted or entered by one statement. */
const KEYS_AT_ONCE = 1000;

/** A write takes the tenant's lock shared; what flips the fence takes it alone, or none where it says so. */
export type Mode = "read" | "write" | "flip";
export type Statement = readonly [text: string, ...params: unknown[]];

/**
 * One tenant's rows at a site, as one attempt at a job sees them: the SQL of an End. How a statement gets there is another's
 * to say: over a connection (drizzle/moves/site-end.ts), or over HTTP from the Worker (site.ts).
 */
export abstract class TenantRows {
  /** The site's schema. */
  protected abstract readonly schema: string;

  /** Runs the statement in a transaction of its own, as the attempt, and returns its rows. */
  protected abstract run<Row extends Record<string, unknown>>(
    mode: Mode,
    statement: Statement,
  ): Promise<Row[]>;

  /** A text[] parameter. */
  protected textArray(texts: readonly string[]): unknown {
    return texts;
  }

  /** Inside a larger transaction, what fails here is undone alone. */
  protected async undoable(work: () => Promise<unknown>): Promise<void> {
    await work();
  }

  async setFence(mode: FenceMode, epoch: number, heldMs = 0): Promise<FenceMode | ""> {
    const { was } = await this.one<{ was: FenceMode | "" }>("flip", [
      "select set_fence($1, $2, $3) as was",
      mode,
      epoch,
      heldMs,
    ]);
    return was;
  }

  async lastKey(table: Table): Promise<Key | null> {
    const backwards = table.key.map(({ name }) => `t.${quoted(name)} desc`).join(", ") || "1";
    const [last] = await this.run<{ key: string }>("read", [
      `select ${keyJson(table)} as key from ${this.#name(table)} t order by ${backwards} limit 1`,
    ]);
    return last ? parsed(last.key) : null;
  }

  async page(table: Table, within: Range, most: { rows: number; bytes: number }): Promise<Page> {
    const range = this.#within(table, within, 3);
    const keys = table.key.map((_, at) => `k${at}`);
    const found = await this.run<Record<string, string>>("read", [
      `select ${["image", ...keys.map((key) => `${key}::text`)].join(", ")}
      from (select *, sum(octet_length(image)) over (order by ${keys.join(", ") || "1"} rows unbounded preceding)
          - octet_length(image) as before
        from (select t::text as image${table.key.map(({ name }, at) => `, t.${quoted(name)} as k${at}`).join("")}
          from ${this.#name(table)} t where ${range.sql} order by ${keyOf(table)} limit $1) p) measured
      where before < $2 order by ${keys.map((key) => `measured.${key}`).join(", ") || "1"}`,
      most.rows,
      most.bytes,
      ...range.params,
    ]);
    const texts = found.map(({ image }) => image ?? "");
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const last = found.at(-1);
    // What stops short of both bounds has come to the end.
    const isLast = table.key.length === 0 || !last || (found.length < most.rows && bytes < most.bytes);
    return {
      texts,
      count: found.length,
      bytes,
      last: isLast ? null : keys.map((name) => last[name] ?? ""),
    };
  }

  /** Has the site keep, from this moment on, what lines() needs to read the rows as they are now. */
  async keepImages(epoch: number): Promise<void> {
    await this.run("flip", ["select keep_images($1)", epoch]);
  }

  /**
   * At most so many rows, of so many bytes or a little more, as they were when keepImages() was first called by this job. Numbers
   * have all their digits: nothing on the way may parse them.
   */
  async lines(table: Table, after: Key | null, most: { rows: number; bytes: number }): Promise<Lines> {
    const range = this.#within(table, { after, upto: null }, 4);
    const keys = table.key.map((_, at) => `k${at}`);
    const inOrder = keys.join(", ") || "1";
    const found = await this.run<Record<string, string>>("read", [
      // One statement, so one snapshot: what is changed after it is read here is in the log by then, or not changed yet.
      `with logged as materialized (select key, image from images($3)),
      found as (
        (select t.* from ${this.#name(table)} t
          where ${range.sql} and ${keyTexts(table)} not in (select key from logged)
          order by ${keyOf(table)} limit $1)
        union all
        select t.* from (select (r).* from (select image::${this.#name(table)} as r from logged where image is not null offset 0) i) t
          where ${range.sql}
      )
      select ${["line", ...keys.map((key) => `${key}::text`)].join(", ")}
      from (select *, sum(octet_length(line)) over (order by ${inOrder} rows unbounded preceding) - octet_length(line) as before
        from (select ${lineOf(table)} as line${table.key.map(({ name }, at) => `, t.${quoted(name)} as k${at}`).join("")}
          from found t order by ${keyOf(table)} limit $1) p) measured
      where before < $2 order by ${keys.map((key) => `measured.${key}`).join(", ") || "1"}`,
      most.rows,
      most.bytes,
      table.name,
      ...range.params,
    ]);
    const lines = found.map(({ line }) => line ?? "");
    const bytes = lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0);
    const last = found.at(-1);
    const isLast = table.key.length === 0 || !last || (found.length < most.rows && bytes < most.bytes);
    return { lines, last: isLast ? null : keys.map((name) => last[name] ?? "") };
  }

  /**
   * Adds rows as lines() gives them; one whose key is there stays, but for a column of which the larger value does. Returns
   * the places of those that are refused.
   */
  async loadLines(table: Table, lines: readonly string[], larger?: string): Promise<readonly number[]> {
    if (lines.length === 0) return [];
    const columns = table.columns.filter((name) => name !== "tenant_id");
    const values = columns.map((name) => (isJson(table, name) ? jsonIn(table, name) : `r.${quoted(name)}`));
    const ofSame = larger
      ? `update set ${quoted(larger)} = greatest(t.${quoted(larger)}, excluded.${quoted(larger)})`
      : "nothing";
    const loading = `insert into ${this.#name(table)} as t (${["tenant_id", ...columns].map(quoted).join(", ")}) overriding system value
      select (select current_tenant_id()), ${values.join(", ")} from unnest($1) line, json_populate_record(null::${this.#name(table)}, line::json) r
      on conflict (${["tenant_id", ...table.key.map(({ name }) => name)].map(quoted).join(", ")}) do ${ofSame}`;
    const { refused } = await this.one<{ refused: number[] }>("write", [
      "select load_rows($1, $2::text[]) as refused",
      loading,
      this.textArray(lines),
    ]);
    return refused.map((at) => at - 1);
  }

  async digestPage(table: Table, after: Key | null, most: number) {
    const range = this.#within(table, { after, upto: null }, 3);
    const { count, digest, last, read, pending } = await this.one<
      Digest & { last: string | null; read: number; pending: string }
    >("read", [
      `with pending as materialized (select to_jsonb(key)::text as key from changes(2147483647) where table_name = $2)
      select (count(*) filter (where not is_pending))::int as count, ${digestOf("filter (where not is_pending)")} as digest,
        (array_agg(key order by at desc))[1] as last, count(*)::int as read,
        (select coalesce(json_agg(key::json), '[]')::text from pending) as pending
      from (select p.*, p.key in (select key from pending) as is_pending
        from (select row_number() over (order by ${keyOf(table)}) as at, ${keyJson(table)} as key, ${SUM} as sum
          from ${this.#name(table)} t where ${range.sql} order by ${keyOf(table)} limit $1) p) marked`,
      most,
      table.name,
      ...range.params,
    ]);
    const isLast = table.key.length === 0 || read < most;
    const upto = isLast || last === null ? null : parsed(last);
    return {
      count,
      digest,
      after,
      upto,
      pending: v.parse(v.array(v.array(v.string())), JSON.parse(pending)),
    };
  }

  async digest(table: Table, range: Range, but: readonly Key[]): Promise<Digest> {
    const within = this.#within(table, range, 2);
    return this.one<Digest>("read", [
      `select count(*)::int as count, ${digestOf()} as digest
      from (select row_number() over (order by ${keyOf(table)}) as at, ${keyJson(table)} as key, ${SUM} as sum
        from ${this.#name(table)} t where ${within.sql}) p
      where key <> all ($1::text[])`,
      but.map(jsonOf),
      ...within.params,
    ]);
  }

  async keys(table: Table, range: Range): Promise<readonly Key[]> {
    const within = this.#within(table, range, 1);
    const found = await this.run<{ key: string }>("read", [
      `select ${keyJson(table)} as key from ${this.#name(table)} t where ${within.sql}`,
      ...within.params,
    ]);
    return found.map(({ key }) => parsed(key));
  }

  async find(table: Table, keys: readonly Key[]): Promise<Found> {
    const found = await this.run<{ key: string; image: string; sum: string }>("read", [
      `select ${keyJson(table)} as key, t::text as image, md5(t::text) as sum
        from ${this.#among(table)} order by 1`,
      ...columnsOf(table, keys),
    ]);
    const texts = found.map(({ image }) => image);
    return {
      texts,
      count: found.length,
      bytes: texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
      keys: found.map(({ key }) => parsed(key)),
      sums: found.map(({ sum }) => sum),
    };
  }

  async add(table: Table, rows: Rows): Promise<readonly Key[]> {
    if (rows.count === 0) return [];
    try {
      await this.undoable(() =>
        this.run("write", [this.#inserting(table, "$1::text[]"), this.textArray(rows.texts)]),
      );
      return [];
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return this.load(table, rows);
    }
  }

  async load(table: Table, { texts, count }: Rows): Promise<readonly Key[]> {
    if (count === 0) return [];
    const key = ["tenant_id", ...table.key.map(({ name }) => name)].map(quoted);
    const others = table.columns.map(quoted).filter((column) => !key.includes(column));
    const update = others.map((column) => `${column} = excluded.${column}`).join(", ");
    const loading = `${this.#inserting(table, "$1")}
      on conflict (${key.join(", ")}) do ${update ? `update set ${update}` : "nothing"}`;
    const { refused } = await this.one<{ refused: number[] }>("write", [
      "select load_rows($1, $2::text[]) as refused",
      loading,
      this.textArray(texts),
    ]);
    if (refused.length === 0) return [];
    const keys = await this.run<{ key: string }>("read", [
      `select ${keyJson(table)} as key from unnest(($1::text[])::${this.#name(table)}[]) t`,
      this.textArray(refused.map((at) => texts[at - 1] ?? "")),
    ]);
    return keys.map(({ key: one }) => parsed(one));
  }

  /** An INSERT of rows that come as an array of texts. */
  #inserting(table: Table, texts: string): string {
    const columns = table.columns.map(quoted).join(", ");
    return `insert into ${this.#name(table)} (${columns}) overriding system value
      select ${columns} from unnest((${texts})::${this.#name(table)}[]) read`;
  }

  async erase(table: Table, after: Key | null, most: number) {
    const range = this.#within(table, { after, upto: null }, 2);
    const [end] = await this.run<{ key: string }>("read", [
      `select ${keyJson(table)} as key from (select * from ${this.#name(table)} t where ${range.sql}
        order by ${keyOf(table)} offset $1 limit 1) t`,
      most - 1,
      ...range.params,
    ]);
    const last = end && table.key.length > 0 ? parsed(end.key) : null;
    const some = { after, upto: last };
    const within = this.#within(table, some, 1);
    try {
      let erased = 0;
      await this.undoable(async () => {
        const { count } = await this.one<{ count: number }>("write", [
          `with gone as (delete from ${this.#name(table)} t where ${within.sql} returning 1)
          select count(*)::int as count from gone`,
          ...within.params,
        ]);
        erased = count;
      });
      return { erased, last, isReferredTo: false };
    } catch (error) {
      if (!isReferredTo(error)) throw error;
      const keys = await this.keys(table, some);
      const refused = await this.remove(table, keys);
      return { erased: keys.length - refused.length, last, isReferredTo: refused.length > 0 };
    }
  }

  async remove(table: Table, keys: readonly Key[]): Promise<readonly Key[]> {
    const remove = (some: readonly Key[]) =>
      this.undoable(() =>
        this.run("write", [
          `delete from ${this.#name(table)} t ${amongExists(table)}`,
          ...columnsOf(table, some),
        ]),
      );
    const refused: Key[] = [];
    for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
      const some = keys.slice(at, at + KEYS_AT_ONCE);
      try {
        await remove(some);
      } catch (error) {
        if (!isReferredTo(error)) throw error;
        for (const key of some)
          await remove([key]).catch((one: unknown) => {
            if (!isReferredTo(one)) throw one;
            refused.push(key);
          });
      }
    }
    return refused;
  }

  async referring(
    reference: Reference,
    table: Table,
    to: Table,
    keys: readonly Key[],
  ): Promise<readonly Key[]> {
    const join = reference.columns.map(
      (column, at) => `t.${quoted(column)} = r.${quoted(reference.keyColumns[at] ?? "")}`,
    );
    const found = await this.run<{ key: string }>("read", [
      `select distinct ${keyJson(table)} as key from ${this.#name(table)} t
      join (select t.* from ${this.#among(to)}) r on ${join.join(" and ")}`,
      ...columnsOf(to, keys),
    ]);
    return found.map(({ key }) => parsed(key));
  }

  async changes(most: number): Promise<readonly Change[]> {
    const found = await this.run<{ table_name: string; key: string[]; ids: string[] }>("read", [
      "select * from changes($1)",
      most,
    ]);
    return found.map(({ table_name: table, key, ids }) => ({ table, key, ids }));
  }

  async forget(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.run("write", ["select forget_changes($1::uuid[])", ids]);
  }

  async note(table: Table, keys: readonly Key[]): Promise<void> {
    if (keys.length > 0)
      await this.run("write", ["select note_changes($1, $2)", table.name, JSON.stringify(keys)]);
  }

  async count(table: Table): Promise<number> {
    const { count } = await this.one<{ count: number }>("read", [
      `select count(*)::int as count from ${this.#name(table)}`,
    ]);
    return count;
  }

  protected async one<Row extends Record<string, unknown>>(mode: Mode, statement: Statement): Promise<Row> {
    const [row] = await this.run<Row>(mode, statement);
    if (!row) throw new Error("Postgres has returned no row.");
    return row;
  }

  #name({ name }: Table): string {
    return `${quoted(this.schema)}.${quoted(name)}`;
  }

  /** The rows, as t, whose keys are the parameters. LIMIT has each looked up: a join may read all rows of the tenant. */
  #among(table: Table): string {
    const name = this.#name(table);
    if (table.key.length === 0) return `${name} t`;
    return `${keyRows(table)}, lateral (select * from ${name} t where ${isKey(table)} limit 1) t`;
  }

  /** The condition for a table's rows in the range, with its parameters from this number on. */
  #within(table: Table, { after, upto }: Range, first: number): { sql: string; params: readonly string[] } {
    const bound = (values: Key | null, sign: string, from: number) =>
      values === null || table.key.length === 0
        ? []
        : [
            `(${keyOf(table)}) ${sign} (${table.key.map(({ type }, at) => `$${from + at}::text::${type}`).join(", ")})`,
          ];
    const params = table.key.length === 0 ? [] : [...(after ?? []), ...(upto ?? [])];
    const sql = [...bound(after, ">", first), ...bound(upto, "<=", first + (after?.length ?? 0))];
    return { sql: sql.join(" and ") || "true", params };
  }
}

const parsed = (key: string): Key => v.parse(v.array(v.string()), JSON.parse(key));
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
const isReferredTo = (error: unknown) => stateOf(error) === "23503";
/** What load_rows() puts right: a row that is there already, or that refers to what is not. */
const isRefusal = (error: unknown) => ["23503", "23505", "23P01"].includes(stateOf(error) ?? "");
const jsonOf = (key: Key) => `[${key.map((value) => JSON.stringify(value)).join(", ")}]`;

/** The columns of the key, of the alias t; a table with one row a tenant has none. */
const keyOf = ({ key }: Table) => key.map(({ name }) => `t.${quoted(name)}`).join(", ") || "1";
/** The key as Postgres prints jsonb, so that keys can be compared as texts. */
const keyJson = ({ key }: Table) =>
  key.length === 0
    ? "'[]'"
    : `to_jsonb(array[${key.map(({ name }) => `t.${quoted(name)}::text`).join(", ")}])::text`;

/** The key's values as texts, as the change log has them. */
const keyTexts = ({ key }: Table) =>
  `array[${key.map(({ name }) => `t.${quoted(name)}::text`).join(", ")}]::text[]`;

const isJson = ({ types }: Table, name: string) => types[name] === "json" || types[name] === "jsonb";
const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
/** SQL's null and JSON's differ, so a JSON column that is null is left out of a line. */
const jsonIn = ({ types }: Table, name: string) => `(line::json -> ${literal(name)})::${types[name]}`;

/** The row of the alias t as JSON in one line, without its tenant. Only JSON's own white space can break a line. */
function lineOf(table: Table): string {
  const columns = table.columns.filter((name) => name !== "tenant_id");
  const plain = columns.filter((name) => !isJson(table, name)).map((name) => `t.${quoted(name)}`);
  const json = columns
    .filter((name) => isJson(table, name))
    .map((name) => `coalesce(${literal(`,${JSON.stringify(name)}:`)} || t.${quoted(name)}::text, '')`);
  const object = `row_to_json((select p from (select ${plain.join(", ")}) p))::text`;
  const line = json.length === 0 ? object : `left(${object}, -1) || ${json.join(" || ")} || '}'`;
  return `translate(${line}, E'\n\r', '  ')`;
}

/** Of a row of the alias t, and of all rows together, in the order of `at`. */
const SUM = "sha256(convert_to(t::text, 'UTF8'))";
const digestOf = (filter = "") =>
  `encode(sha256(coalesce(string_agg(sum, ''::bytea order by at) ${filter}, '')), 'hex')`;

/** Each key column's values, as one parameter. */
const columnsOf = ({ key }: Table, keys: readonly Key[]) =>
  key.map((_, at) => keys.map((values) => values[at]));

const keyRows = ({ key }: Table) =>
  `unnest(${key.map((_, at) => `$${at + 1}::text[]`).join(", ")}) k (${key.map((_, at) => `k${at}`).join(", ")})`;
const isKey = ({ key }: Table) =>
  key.map(({ name, type }, at) => `t.${quoted(name)} = k.k${at}::${type}`).join(" and ");

const amongExists = (table: Table) =>
  table.key.length === 0 ? "" : `using ${keyRows(table)} where ${isKey(table)}`;
