import type {
  Catalog,
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
} from "../../../src/lifecycle/end.ts";
import type { Mover } from "./move-mover.ts";
import { Refusal, Tx, type Site } from "./move-postgres.ts";
import {
  childrenOf,
  dropRow,
  fits,
  imagesOf,
  lockedToDelete,
  lockedToWrite,
  rowsIn,
  TABLES,
  type Row,
  type Rules,
  type TableName,
} from "./move-rows.ts";

const CATALOG = {
  tables: TABLES.map((name) => ({ name, key: [{ name: "id", type: "text" }], columns: [], types: {} })),
  references: [{ of: "children", to: "parents", columns: ["ref"], keyColumns: ["id"] }],
};

const idOf = ([id = ""]: Key): string => id;
const keyOf = ({ id }: Row): Key => [id];
const nameOf = ({ name }: Table): TableName => TABLES.find((each) => each === name) ?? "keys";
const rowsOf = (rows: readonly Row[]): Rows => {
  const text = imagesOf(rows);
  return { texts: [text], count: rows.length, bytes: text.length };
};

/** How much of anything an End gives at once, so that few rows are many pages. */
export type Sizes = { page: number; changes: number };

/** A simulated site as an End, whose connections fail together. */
export class ModelEnd implements End {
  readonly #site: Site;
  readonly #mover: Mover;
  readonly #sizes: Sizes;
  readonly #rules: Rules;
  #connected: number | undefined;

  constructor(site: Site, mover: Mover, sizes: Sizes, rules: Rules) {
    this.#site = site;
    this.#mover = mover;
    this.#sizes = sizes;
    this.#rules = rules;
  }

  setFence(mode: FenceMode, epoch: number, heldMs = 0): Promise<FenceMode | ""> {
    return this.#transact(`sets ${mode}`, (tx) => tx.setFence(mode, epoch, heldMs));
  }

  catalog(): Promise<Catalog> {
    return this.#mover.ask("reads the catalog", async () => {
      await this.#step("reads the catalog");
      return { ...CATALOG, fingerprint: `${this.#site.version}` };
    });
  }

  holdMigrations(): Promise<() => Promise<void>> {
    return this.#mover.ask("holds migrations", async () => {
      await this.#step("holds migrations");
      if (this.#site.migrating || this.#mover.client.state === "dead") throw new Refusal("55006");
      const held = this.#site.crashes;
      this.#site.migrating = this.#mover.client;
      return async () => {
        if (held === this.#site.crashes) this.#site.migrating = undefined;
      };
    });
  }

  lastKey(table: Table): Promise<Key | null> {
    return this.#read("reads the last key", (tx) => {
      const last = tx.all(nameOf(table)).at(-1);
      return last ? keyOf(last) : null;
    });
  }

  page(table: Table, range: Range, most: { rows: number }): Promise<Page> {
    return this.#read("reads a page", (tx) => {
      const found = within(tx, table, range);
      const rows = found.slice(0, Math.min(most.rows, this.#sizes.page));
      const last = rows.at(-1);
      return { ...rowsOf(rows), last: last && rows.length < found.length ? keyOf(last) : null };
    });
  }

  digestPage(table: Table, after: Key | null, most: number) {
    return this.#read("digests a page", (tx) => {
      const found = tx.all(nameOf(table)).filter(({ id }) => after === null || id > idOf(after));
      const rows = found.slice(0, Math.min(most, this.#sizes.page));
      const pending = new Set(
        tx.entries().flatMap((entry) => (entry.table === table.name ? [entry.key] : [])),
      );
      const left = rows.filter(({ id }) => !pending.has(id));
      const last = rows.at(-1);
      const upto = last && rows.length < found.length ? keyOf(last) : null;
      return {
        count: left.length,
        digest: imagesOf(left),
        after,
        upto,
        pending: [...pending].map((id) => [id]),
      };
    });
  }

  digest(table: Table, range: Range, but: readonly Key[]): Promise<Digest> {
    return this.#read("digests a range", (tx) => {
      const without = new Set(but.map(idOf));
      const rows = within(tx, table, range).filter(({ id }) => !without.has(id));
      return { count: rows.length, digest: imagesOf(rows) };
    });
  }

  count(table: Table): Promise<number> {
    return this.#read("counts", (tx) => tx.all(nameOf(table)).length);
  }

  keys(table: Table, range: Range): Promise<readonly Key[]> {
    return this.#read("reads keys", (tx) => within(tx, table, range).map(keyOf));
  }

  find(table: Table, keys: readonly Key[]): Promise<Found> {
    return this.#read("finds rows", (tx) => {
      const rows = keys.flatMap((key) => tx.get(nameOf(table), idOf(key)) ?? []);
      return { ...rowsOf(rows), keys: rows.map(keyOf), sums: rows.map(({ image }) => image) };
    });
  }

  add(table: Table, rows: Rows): Promise<readonly Key[]> {
    return this.load(table, rows);
  }

  async load(table: Table, { texts: [text], count }: Rows): Promise<readonly Key[]> {
    if (text === undefined || count === 0) return [];
    const name = nameOf(table);
    const rows = rowsIn(text);
    return this.#write(
      "loads rows",
      (tx) => rows.flatMap(({ id, ref }) => lockedToWrite(tx, name, id, ref)),
      (tx) =>
        rows.flatMap((row) => {
          if (!fits(tx, name, row)) return [keyOf(row)];
          tx.put(name, row);
          return [];
        }),
    );
  }

  async erase(table: Table, after: Key | null, most: number) {
    const { keys, last } = await this.#read("looks where to erase", (tx) => {
      const found = tx.all(nameOf(table)).filter(({ id }) => after === null || id > idOf(after));
      const some = found.slice(0, Math.min(most, this.#sizes.page)).map(keyOf);
      return { keys: some, last: some.length < found.length ? (some.at(-1) ?? null) : null };
    });
    const refused = await this.remove(table, keys);
    return { erased: keys.length - refused.length, last, isReferredTo: refused.length > 0 };
  }

  async remove(table: Table, keys: readonly Key[]): Promise<readonly Key[]> {
    if (keys.length === 0) return [];
    const name = nameOf(table);
    return this.#write(
      "removes rows",
      (tx) => keys.flatMap((key) => lockedToDelete(tx, name, idOf(key))),
      (tx) => keys.filter((key) => !dropRow(tx, name, idOf(key), this.#rules)),
    );
  }

  referring(_reference: Reference, _table: Table, _to: Table, keys: readonly Key[]): Promise<readonly Key[]> {
    return this.#read("reads what refers", (tx) =>
      keys.flatMap((key) => childrenOf(tx, idOf(key)).map(keyOf)),
    );
  }

  changes(most: number): Promise<readonly Change[]> {
    return this.#read("reads changes", (tx) => {
      const byRow = [...Map.groupBy(tx.entries(), ({ table, key }) => `${table} ${key}`).values()];
      // In no order.
      const first = byRow.length === 0 ? 0 : this.#site.schedule.dice.below(byRow.length);
      return [...byRow.slice(first), ...byRow.slice(0, first)]
        .slice(0, Math.min(most, this.#sizes.changes))
        .flatMap((entries) => {
          const [entry] = entries;
          return entry ? [{ table: entry.table, key: [entry.key], ids: entries.map(({ id }) => id) }] : [];
        });
    });
  }

  async forget(ids: readonly string[]): Promise<void> {
    if (ids.length > 0)
      await this.#write(
        "forgets changes",
        () => [],
        (tx) => tx.forget(ids),
      );
  }

  async note(table: Table, keys: readonly Key[]): Promise<void> {
    if (keys.length === 0) return;
    await this.#write(
      "notes changes",
      () => [],
      (tx) => keys.forEach((key) => tx.enter(nameOf(table), idOf(key))),
    );
  }

  #step(label: string): Promise<void> {
    return this.#site.schedule.step(this.#mover.server, `${label} at ${this.#site.name}`);
  }

  #begin(): Tx {
    this.#connected ??= this.#site.crashes;
    if (this.#connected !== this.#site.crashes) throw new Error("The connection has failed.");
    return new Tx(this.#site, this.#mover.server, { token: this.#mover.token });
  }

  #read<Answer>(label: string, work: (tx: Tx) => Answer): Promise<Answer> {
    return this.#mover.ask(label, async () => {
      const tx = this.#begin();
      await tx.step(label);
      tx.verify();
      return work(tx);
    });
  }

  #write<Answer>(label: string, names: (tx: Tx) => string[], work: (tx: Tx) => Answer): Promise<Answer> {
    return this.#transact(label, async (tx) => {
      await tx.lock("shared");
      await this.#next(tx, label);
      tx.verify();
      await tx.hold(() => names(tx));
      return work(tx);
    });
  }

  #transact<Answer>(label: string, work: (tx: Tx) => Promise<Answer>): Promise<Answer> {
    return this.#mover.ask(label, async () => {
      const tx = this.#begin();
      this.#mover.underWay += 1;
      try {
        await tx.step(`begins, and ${label},`);
        const answer = await work(tx);
        await this.#next(tx, `commits what ${label}`);
        tx.commit();
        return answer;
      } finally {
        tx.end();
        this.#mover.underWay -= 1;
      }
    });
  }

  #next(tx: Tx, label: string): Promise<void> {
    const turn = tx.step(label);
    this.#mover.asked(label);
    return turn;
  }
}

function within(tx: Tx, table: Table, { after, upto }: Range): Row[] {
  return tx
    .all(nameOf(table))
    .filter(({ id }) => (after === null || id > idOf(after)) && (upto === null || id <= idOf(upto)));
}
