import pg from "pg";
import { placeOf, type Site } from "../../src/db/places.ts";
import { signContext } from "../../src/db/signed-context.ts";
import type { End } from "../../src/lifecycle/end.ts";
import { TenantRows, type Mode, type Statement } from "../../src/lifecycle/rows.ts";
import type { NamedKey } from "../../src/settings.ts";
import { connect } from "../connected.ts";
import { lockMigrations } from "../migrate.ts";
import { readCatalog } from "./catalog.ts";

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

/** A connection, which does one transaction after the other; once it has failed, every one does. */
type Lane = { client?: Promise<pg.Client>; waiting: number; before: Promise<unknown> };
const newLane = (): Lane => ({ waiting: 0, before: Promise.resolve() });

/** A site as an End. It works over two connections: while one page is on its way, another one is loaded. */
export class SiteEnd extends TenantRows implements End, AsyncDisposable {
  protected readonly schema: string;
  readonly #of: SiteLogins;
  readonly #attempt: Attempt;
  readonly #first = newLane();
  readonly #second = newLane();
  #isAtomic = false;

  constructor(of: SiteLogins, attempt: Attempt) {
    super();
    this.schema = of.site.schema;
    this.#of = of;
    this.#attempt = attempt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { client } of [this.#first, this.#second]) await (await client?.catch(() => undefined))?.end();
  }

  /** Has the tenant's writes held for so long from now on. Throws when they were not held all the time. */
  async extendHold(heldMs: number): Promise<void> {
    const { was } = await this.one<{ was: string }>("flip", ["select extend_hold($1)::text as was", heldMs]);
    // Only now is it sure that this was in force before the time was up.
    const { in_time } = await this.one<{ in_time: boolean }>("read", [
      "select clock_timestamp() < $1::timestamptz as in_time",
      was,
    ]);
    if (!in_time) throw new Error("The tenant's writes were not held in time.");
  }

  /** Has `work` done in one transaction: all of it or nothing. Others cannot use this End meanwhile. */
  async atomically(work: () => Promise<void>): Promise<void> {
    const client = await (this.#first.client ??= this.#connect());
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

  /** Inside a larger transaction, what fails here is undone alone. */
  protected override async undoable(work: () => Promise<unknown>): Promise<void> {
    const client = await this.#first.client;
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

  /** On the connection where fewer wait; a larger transaction has the first one. */
  protected async run<Row extends pg.QueryResultRow>(mode: Mode, statement: Statement): Promise<Row[]> {
    const isSecondFree = this.#second.waiting < this.#first.waiting && !this.#isAtomic;
    const lane = isSecondFree ? this.#second : this.#first;
    lane.waiting += 1;
    try {
      const rows = lane.before.then(() => this.#transact<Row>(lane, mode, statement));
      lane.before = rows.catch(() => undefined);
      return await rows;
    } finally {
      lane.waiting -= 1;
    }
  }

  async #transact<Row extends pg.QueryResultRow>(
    lane: Lane,
    mode: Mode,
    [text, ...params]: Statement,
  ): Promise<Row[]> {
    const client = await (lane.client ??= this.#connect());
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

  /** A text[] parameter in Postgres' binary format: written out, every quote and backslash would be escaped once more. */
  protected override textArray(texts: readonly string[]): Buffer {
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
}

const TEXT_OID = 25;
