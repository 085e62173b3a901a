import { randomUUID } from "node:crypto";
import { differingKeys, type Ends } from "./copy.ts";
import type { Catalog, Change, ChangeLog, End, Key, Table } from "../../src/lifecycle/end.ts";

/** Rows that are compared one by one, where the digests of their ranges differ. */
const FOUND_AT_ONCE = 200;

/** What making one place like another does to a table's rows. */
export type Difference = { table: Table; added: Key[]; changed: Key[]; deleted: Key[] };

/** What making `target` like `source` would do, table by table. */
export async function differencesOf(ends: Ends, catalog: Catalog): Promise<Difference[]> {
  const all = new Map(catalog.tables.map((table) => [table, differenceIn(table)]));
  for await (const { table, keys } of differingKeys(ends, catalog, async () => undefined))
    add(all.get(table) ?? differenceIn(table), await differenceOf(ends, table, keys));
  return [...all.values()];
}

const differenceIn = (table: Table): Difference => ({ table, added: [], changed: [], deleted: [] });

/** The same for these rows alone. */
export async function differenceOf(
  { source, target }: Ends,
  table: Table,
  keys: readonly Key[],
): Promise<Difference> {
  const difference = differenceIn(table);
  const distinct = [...new Map(keys.map((key) => [JSON.stringify(key), key])).values()];
  for (let first = 0; first < distinct.length; first += FOUND_AT_ONCE) {
    const some = distinct.slice(first, first + FOUND_AT_ONCE);
    const [here, there] = [await sumsOf(source, table, some), await sumsOf(target, table, some)];
    for (const key of some) {
      const [ours, theirs] = [here.get(JSON.stringify(key)), there.get(JSON.stringify(key))];
      if (ours === theirs) continue;
      if (theirs === undefined) difference.added.push(key);
      else if (ours === undefined) difference.deleted.push(key);
      else difference.changed.push(key);
    }
  }
  return difference;
}

async function sumsOf(
  end: End,
  table: Table,
  keys: readonly Key[],
): Promise<Map<string, string | undefined>> {
  const found = await end.find(table, keys);
  return new Map(found.keys.map((key, at) => [JSON.stringify(key), found.sums[at]]));
}

function add(to: Difference, more: Difference): void {
  for (const kind of ["added", "changed", "deleted"] as const) to[kind].push(...more[kind]);
}

/** Rows that are to be copied, as a list of this process that has each once. */
export class ListedChanges implements ChangeLog {
  /** By the entry's id, and that by the row. */
  readonly #noted = new Map<string, Change>();
  readonly #ids = new Map<string, string>();

  changes(most: number): Promise<readonly Change[]> {
    return Promise.resolve([...this.#noted.values()].slice(0, most));
  }

  forget(ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#noted.delete(id);
    return Promise.resolve();
  }

  note({ name }: Pick<Table, "name">, keys: readonly Key[]): Promise<void> {
    for (const key of keys) {
      const [row, id] = [JSON.stringify([name, key]), randomUUID()];
      // Another id: whoever has read the one before forgets that alone.
      this.#noted.delete(this.#ids.get(row) ?? "");
      this.#ids.set(row, id);
      this.#noted.set(id, { table: name, key, ids: [id] });
    }
    return Promise.resolve();
  }
}

/** A change log that keeps what was read from it. */
export class SeenChanges implements ChangeLog {
  readonly #log: ChangeLog;
  readonly #seen = new Map<string, Change>();

  constructor(log: ChangeLog) {
    this.#log = log;
  }

  /** The rows of the table that it was read of, each once. */
  of({ name }: Pick<Table, "name">): Key[] {
    return [...this.#seen.values()].flatMap(({ table, key }) => (table === name ? [key] : []));
  }

  async changes(most: number): Promise<readonly Change[]> {
    const changes = await this.#log.changes(most);
    for (const change of changes) this.#seen.set(JSON.stringify([change.table, change.key]), change);
    return changes;
  }

  forget(ids: readonly string[]): Promise<void> {
    return this.#log.forget(ids);
  }

  note(table: Table, keys: readonly Key[]): Promise<void> {
    return this.#log.note(table, keys);
  }
}
