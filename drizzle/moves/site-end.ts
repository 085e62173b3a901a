import pg from "pg";
import * as v from "valibot";
import { placeOf, type Site } from "../../src/db/places.ts";
import { signContext } from "../../src/db/signed-context.ts";
import type { NamedKey } from "../../src/settings.ts";
import { connect } from "../connected.ts";
import { lockMigrations } from "../migrate.ts";
import { readCatalog } from "./catalog.ts";
import type {
  Change,
  Digest,
  End,
  FenceMode,
  Found,
  Key,
  Page,
  Range,
  Reference,
  Rows,
  Table,
} from "./end.ts";

/** Rows that are found, deleted or entered by one statement. */
const KEYS_AT_ONCE = 1000;

/** As whom an attempt works on a tenant. */
export type Attempt = { tenant: string; job: string; token: number };

export type SiteLogins = {
  site: Site;
  /** Of partywall_mover. */
  mover: string;
  /** Of whoever migrates. */
  migrator: string;
  /** What signs contexts there. */
  key: NamedKey;
};

/** A write takes the tenant's lock shared; what flips the fence takes it alone, or none where it says so. */
type Mode = "read" | "write" | "flip";
type Statement = readonly [text: string, ...params: unknown[]];

/** A site as an End. It works over one connection; once that has failed, every call does. */
export class SiteEnd implements End, AsyncDisposable {
  readonly #of: SiteLogins;
  readonly #attempt: Attempt;
  #client: Promise<pg.Client> | undefined;
  /** Ends with the statement before: a connection does one transaction after the other. */
  #before: Promise<unknown> = Promise.resolve();
  #isAtomic = false;

  constructor(of: SiteLogins, attempt: Attempt) {
    this.#of = of;
    this.#attempt = attempt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    await client?.end();
  }

  async setFence(mode: FenceMode, epoch: number, heldMs = 0): Promise<FenceMode | ""> {
    const { was } = await this.#one<{ was: FenceMode | "" }>("flip", [
      "select set_fence($1, $2, $3) as was",
      mode,
      epoch,
      heldMs,
    ]);
    return was;
  }

  /** Has the tenant's writes held for so long from now on. Throws when they were not held all the time. */
  async extendHold(heldMs: number): Promise<void> {
    const { was } = await this.#one<{ was: string }>("flip", ["select extend_hold($1)::text as was", heldMs]);
    // Only now is it sure that this was in force before the time was up.
    const { in_time } = await this.#one<{ in_time: boolean }>("read", [
      "select clock_timestamp() < $1::timestamptz as in_time",
      was,
    ]);
    if (!in_time) throw new Error("The tenant's writes were not held in time.");
  }

  /** Has `work` done in one transaction: all of it or nothing. Others cannot use this End meanwhile. */
  async atomically(work: () => Promise<void>): Promise<void> {
    const client = await (this.#client ??= this.#connect());
    await client.query("begin isolation level read committed");
    this.#isAtomic = true;
    try {
      await work();
      await client.query("commit");
    } catch (error) {
      await client.query("rollback").catch(() => undefined);
      throw error;
    } finally {
      this.#isAtomic = false;
    }
  }

  catalog() {
    return readCatalog(this.#of.migrator, this.#of.site);
  }

  holdMigrations() {
    return lockMigrations(this.#of.migrator, this.#of.site);
  }

  async page(table: Table, after: Key | null, most: { rows: number; bytes: number }): Promise<Page> {
    const range = this.#within(table, { after, upto: null }, 3);
    const keys = table.key.map((_, at) => `k${at}`);
    const found = await this.#run<Record<string, string>>("read", [
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

  async digestPage(table: Table, after: Key | null, most: number) {
    const range = this.#within(table, { after, upto: null }, 3);
    const { count, digest, last, read, pending } = await this.#one<
      Digest & { last: string | null; read: number; pending: string }
    >("read", [
      `with pending as materialized (select to_jsonb(key)::text as key from changes(2147483647) where table_name = $2)
      select (count(*) filter (where not is_pending))::int as count, ${digestOf("filter (where not is_pending)")} as digest,
        (array_agg(key order by at desc))[1] as last, count(*)::int as read,
        (select coalesce(json_agg(key::json), '[]')::text from pending) as pending
      from (select p.*, exists (select from pending where pending.key = p.key) as is_pending
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
    return this.#one<Digest>("read", [
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
    const found = await this.#run<{ key: string }>("read", [
      `select ${keyJson(table)} as key from ${this.#name(table)} t where ${within.sql}`,
      ...within.params,
    ]);
    return found.map(({ key }) => parsed(key));
  }

  async find(table: Table, keys: readonly Key[]): Promise<Found> {
    const found = await this.#run<{ key: string; image: string; sum: string }>("read", [
      `select ${keyJson(table)} as key, t::text as image, md5(t::text) as sum from ${this.#name(table)} t
        ${among(table)} order by 1`,
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
      await this.#undoable(() =>
        this.#run("write", [this.#inserting(table, "$1::text[]"), textArray(rows.texts)]),
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
    const { refused } = await this.#one<{ refused: number[] }>("write", [
      "select load_rows($1, $2::text[]) as refused",
      loading,
      textArray(texts),
    ]);
    if (refused.length === 0) return [];
    const keys = await this.#run<{ key: string }>("read", [
      `select ${keyJson(table)} as key from unnest(($1::text[])::${this.#name(table)}[]) t`,
      textArray(refused.map((at) => texts[at - 1] ?? "")),
    ]);
    return keys.map(({ key: one }) => parsed(one));
  }

  /** An INSERT of rows that come as an array of texts. */
  #inserting(table: Table, texts: string): string {
    const columns = table.columns.map(quoted);
    // OFFSET keeps Postgres from parsing each text once a column.
    return `insert into ${this.#name(table)} (${columns.join(", ")}) overriding system value
      select ${columns.map((column) => `(r).${column}`).join(", ")}
      from (select image::${this.#name(table)} as r from unnest(${texts}) image offset 0) read`;
  }

  async erase(table: Table, after: Key | null, most: number) {
    const range = this.#within(table, { after, upto: null }, 2);
    const [end] = await this.#run<{ key: string }>("read", [
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
      await this.#undoable(async () => {
        const { count } = await this.#one<{ count: number }>("write", [
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
      this.#undoable(() =>
        this.#run("write", [
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
    const found = await this.#run<{ key: string }>("read", [
      `select distinct ${keyJson(table)} as key from ${this.#name(table)} t
      join (select t.* from ${this.#name(to)} t ${among(to)}) r on ${join.join(" and ")}`,
      ...columnsOf(to, keys),
    ]);
    return found.map(({ key }) => parsed(key));
  }

  async changes(most: number): Promise<readonly Change[]> {
    const found = await this.#run<{ table_name: string; key: string[]; ids: string[] }>("read", [
      "select * from changes($1)",
      most,
    ]);
    return found.map(({ table_name: table, key, ids }) => ({ table, key, ids }));
  }

  async forget(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#run("write", ["select forget_changes($1::uuid[])", ids]);
  }

  async note(table: Table, keys: readonly Key[]): Promise<void> {
    if (keys.length > 0)
      await this.#run("write", ["select note_changes($1, $2)", table.name, JSON.stringify(keys)]);
  }

  async count(table: Table): Promise<number> {
    const { count } = await this.#one<{ count: number }>("read", [
      `select count(*)::int as count from ${this.#name(table)}`,
    ]);
    return count;
  }

  /** Inside a larger transaction, what fails here is undone alone. */
  async #undoable(work: () => Promise<unknown>): Promise<void> {
    const client = await this.#client;
    if (!this.#isAtomic || !client) {
      await work();
      return;
    }
    await client.query("savepoint undoable");
    try {
      await work();
      await client.query("release undoable");
    } catch (error) {
      await client.query("rollback to undoable");
      throw error;
    }
  }

  async #one<Row extends pg.QueryResultRow>(mode: Mode, statement: Statement): Promise<Row> {
    const [row] = await this.#run<Row>(mode, statement);
    if (!row) throw new Error("Postgres has returned no row.");
    return row;
  }

  /** Runs the statement in a transaction of its own, as the attempt, once the one before is over, and returns its rows. */
  #run<Row extends pg.QueryResultRow>(mode: Mode, statement: Statement): Promise<Row[]> {
    const rows = this.#before.then(() => this.#transact<Row>(mode, statement));
    this.#before = rows.catch(() => undefined);
    return rows;
  }

  async #transact<Row extends pg.QueryResultRow>(mode: Mode, [text, ...params]: Statement): Promise<Row[]> {
    const client = await (this.#client ??= this.#connect());
    // Again in a larger transaction, as a context lives for a minute.
    if (this.#isAtomic) {
      await client.query(...this.#entering(mode));
      return (await client.query<Row>(text, params)).rows;
    }
    try {
      await client.query(`begin isolation level read committed${mode === "read" ? ", read only" : ""}`);
      await client.query(...this.#entering(mode));
      const { rows } = await client.query<Row>(text, params);
      await client.query("commit");
      return rows;
    } catch (error) {
      await client.query("rollback").catch(() => undefined);
      throw error;
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = await connect(this.#of.mover);
    // So that rows are the same text at every server.
    await client.query(
      `set extra_float_digits = 3; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set bytea_output = 'hex';
      set timezone = 'UTC'; set statement_timeout = '60s'; set jit = off`,
    );
    return client;
  }

  /**
   * What enters as the Worker does: in the tenant's context, and with its lock before a write. The context is a parameter: as
   * text of the statement it would be in pg_stat_activity, and in a log.
   */
  #entering(mode: Mode): [text: string, params: string[]] {
    const { site, key, mover } = this.#of;
    const { tenant, job, token } = this.#attempt;
    const place = placeOf(site);
    const actor = { id: job, as: "job" } as const;
    const role = decodeURIComponent(new URL(mover).username);
    const context = signContext(key, place, role, tenant, actor, Date.now(), token);
    const entering = "select set_config('app.tenant', $1, true), set_config('search_path', $2, true)";
    const params = [context, `pg_catalog, ${place.schema}, pg_temp`];
    return mode === "write"
      ? [
          `${entering}, pg_advisory_xact_lock_shared(hashtextextended($3, 0))`,
          [...params, `${place.name} ${tenant}`],
        ]
      : [entering, params];
  }

  #name({ name }: Table): string {
    return `${quoted(this.#of.site.schema)}.${quoted(name)}`;
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
const quoted = (name: string) => pg.escapeIdentifier(name);
const isReferredTo = (error: unknown) => error instanceof pg.DatabaseError && error.code === "23503";
/** What load_rows() puts right: a row that is there already, or that refers to what is not. */
const isRefusal = (error: unknown) =>
  error instanceof pg.DatabaseError && ["23503", "23505", "23P01"].includes(error.code ?? "");
const jsonOf = (key: Key) => `[${key.map((value) => JSON.stringify(value)).join(", ")}]`;

const TEXT_OID = 25;

/** A text[] parameter in Postgres' binary format: written out, every quote and backslash would be escaped once more. */
function textArray(texts: readonly string[]): Buffer {
  const sizes = texts.map((text) => Buffer.byteLength(text));
  const array = Buffer.allocUnsafe(20 + sizes.reduce((sum, size) => sum + 4 + size, 0));
  // One dimension, no nulls, of texts, so many, counted from 1.
  for (const [at, word] of [1, 0, TEXT_OID, texts.length, 1].entries()) array.writeInt32BE(word, at * 4);
  let end = 20;
  for (const [at, text] of texts.entries()) {
    end = array.writeInt32BE(sizes[at] ?? 0, end);
    end += array.write(text, end);
  }
  return array;
}

/** The columns of the key, of the alias t; a table with one row a tenant has none. */
const keyOf = ({ key }: Table) => key.map(({ name }) => `t.${quoted(name)}`).join(", ") || "1";
/** The key as Postgres prints jsonb, so that keys can be compared as texts. */
const keyJson = ({ key }: Table) =>
  key.length === 0
    ? "'[]'"
    : `to_jsonb(array[${key.map(({ name }) => `t.${quoted(name)}::text`).join(", ")}])::text`;

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

/** Joins the rows of t whose keys are the parameters. */
const among = (table: Table) => (table.key.length === 0 ? "" : `join ${keyRows(table)} on ${isKey(table)}`);
const amongExists = (table: Table) =>
  table.key.length === 0 ? "" : `using ${keyRows(table)} where ${isKey(table)}`;
