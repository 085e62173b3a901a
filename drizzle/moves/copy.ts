import type {
  Catalog,
  Change,
  ChangeLog,
  End,
  Key,
  OnPage,
  Page,
  Position,
  Table,
} from "../../src/lifecycle/end.ts";

// The engine under moves and restores: it brings one tenant's rows from one End to another while the tenant works at the
// first. What it relies on: a row that is not in the source's change log is at the target as it is at the source.

/** Rows and bytes that are read at once; how many rows that are is found by starting with few. */
const PAGE = { rows: 2000, bytes: 1_000_000 };
const FIRST_ROWS = 200;
/** Changed rows of a table that are brought by one statement. */
const BROUGHT_AT_ONCE = 200;
/** Rows that are compared by one digest. */
const RANGE_ROWS = 5000;
/** Changed rows that are copied at once. */
const CHANGES_AT_ONCE = 1000;
/** How often all is compared, when what differs was copied again. */
const MAX_COMPARISONS = 4;

/** `log` says what was changed at the source: its own, if it is no other. */
export type Ends = { source: End; target: End; log?: ChangeLog };

/**
 * Copies the rows that each table has when its turn comes, from a position on if the rest is there. What comes later, and what
 * the target refuses, is left to the change log: a table that grows faster than it is copied would never be done.
 */
export async function copyRows(
  { source, target, log = source }: Ends,
  { tables, references }: Catalog,
  from: Position | undefined,
  onPage: OnPage,
  rowsAtOnce = PAGE.rows,
): Promise<void> {
  const first = tables.findIndex(({ name }) => name === from?.table);
  for (const [at, table] of tables.entries()) {
    if (at < first) continue;
    const begun = at === first ? from : undefined;
    const upto = begun?.upto ?? (await source.lastKey(table));
    if (upto === null) continue;
    const nextTable = tables[at + 1] ?? table;
    const positionAfter = (last: Key | null): Position =>
      last === null ? { table: nextTable.name, after: null } : { table: table.name, after: last, upto };
    /** Loads the page at once, and goes on when the one before is there too. */
    const load = async (page: Page, before: Promise<void>) => {
      const [refused] = await Promise.all([target.add(table, page), before]);
      await log.note(table, refused);
      await onPage({ rows: page.count, bytes: page.bytes }, positionAfter(page.last));
    };
    // In a table that refers to itself, a row is refused until the page with its parent is there.
    const isTree = references.some(({ of, to }) => of === table.name && to === table.name);
    const after = begun?.after ?? null;
    let reading = source.page(table, { after, upto }, { ...PAGE, rows: Math.min(FIRST_ROWS, rowsAtOnce) });
    let loading: Promise<void> = Promise.resolve();
    for (;;) {
      const page = await reading;
      // While this page is loaded the next one is read, and the one before may still be under way.
      if (page.last !== null)
        reading = source.page(table, { after: page.last, upto }, sizeAfter(page, rowsAtOnce));
      reading.catch(() => undefined);
      const before = loading;
      loading = load(page, before);
      loading.catch(() => undefined);
      await (isTree ? loading : before);
      if (page.last === null) break;
    }
    await loading;
  }
}

/** How much to read after this page: what is read beyond the bytes is read in vain. */
const sizeAfter = ({ count, bytes }: Page, rowsAtOnce: number) => ({
  ...PAGE,
  rows: Math.max(1, Math.min(rowsAtOnce, Math.ceil((count * PAGE.bytes) / Math.max(bytes, 1)))),
});

/** What a pass over the change log did: entries of how many rows it read, and how many of these the target refused. */
export type Pass = { read: number; refused: number };

/** Brings the target up to what the change log says, for some of the changed rows. */
export async function copyChanges(ends: Ends, catalog: Catalog): Promise<Pass> {
  const { target, log = ends.source } = ends;
  const changes = await log.changes(CHANGES_AT_ONCE);
  const keysOf = changedKeys(changes, catalog);
  const gone = new Map<Table, readonly Key[]>();
  let refused = new Map<Table, readonly Key[]>();
  for (const table of catalog.tables) {
    const keys = keysOf.get(table) ?? [];
    if (keys.length === 0) continue;
    const { found, refused: some } = await bring(ends, table, keys);
    const there = new Set(found.map(idOf));
    gone.set(
      table,
      keys.filter((key) => !there.has(idOf(key))),
    );
    refused.set(table, some);
  }
  const kept = new Map<Table, readonly Key[]>();
  for (const table of catalog.tables.toReversed())
    kept.set(table, await target.remove(table, gone.get(table) ?? []));
  // What was deleted may have been in the way.
  refused = await bringAll(ends, catalog, refused);
  for (const table of catalog.tables)
    await log.note(table, [...(refused.get(table) ?? []), ...(kept.get(table) ?? [])]);
  // Last: an attempt that ends before this leaves the entries to the next one.
  await log.forget(changes.flatMap(({ ids }) => ids));
  const left = [...refused.values(), ...kept.values()].reduce((sum, keys) => sum + keys.length, 0);
  if (changes.length > 0 && left === changes.length) await clearTheWay(ends, catalog, refused);
  return { read: changes.length, refused: left };
}

function changedKeys(changes: readonly Change[], { tables }: Catalog): Map<Table, readonly Key[]> {
  const keysOf = new Map<Table, readonly Key[]>();
  for (const [name, ofTable] of Map.groupBy(changes, ({ table }) => table)) {
    const table = tables.find((each) => each.name === name);
    if (!table) throw new CatalogChanged();
    keysOf.set(
      table,
      ofTable.map(({ key }) => key),
    );
  }
  return keysOf;
}

/** Copies these rows as far as there are any, and makes sure that they have arrived as they were read. */
async function bring({ source, target }: Ends, table: Table, keys: readonly Key[]) {
  const brought = { found: [] as Key[], refused: [] as Key[] };
  for (let first = 0; first < keys.length; first += BROUGHT_AT_ONCE) {
    const found = await source.find(table, keys.slice(first, first + BROUGHT_AT_ONCE));
    const refused = await target.load(table, found);
    const arrived = await target.find(table, found.keys);
    const sums = new Map(arrived.keys.map((key, at) => [idOf(key), arrived.sums[at]]));
    const isRefused = new Set(refused.map(idOf));
    for (const [at, key] of found.keys.entries())
      if (!isRefused.has(idOf(key)) && sums.get(idOf(key)) !== found.sums[at])
        throw new Error(
          `A row of ${table.name} is not the same where it was copied to: a trigger there changes it.`,
        );
    brought.found.push(...found.keys);
    brought.refused.push(...refused);
  }
  return brought;
}

const idOf = (key: Key) => JSON.stringify(key);

/** Copies these rows, parents first; returns those that are refused. */
async function bringAll(ends: Ends, { tables }: Catalog, keysOf: Map<Table, readonly Key[]>) {
  const refused = new Map<Table, readonly Key[]>();
  for (const table of tables) {
    const keys = keysOf.get(table) ?? [];
    if (keys.length > 0) refused.set(table, (await bring(ends, table, keys)).refused);
  }
  return refused;
}

/**
 * Deletes rows at the target that are in each other's way, as after two rows have swapped a unique value, with all that
 * refers to them. The change log has them all by then, so the next pass brings them again.
 */
async function clearTheWay(
  { source, target, log = source }: Ends,
  catalog: Catalog,
  refused: Map<Table, readonly Key[]>,
) {
  const cleared = new Map<Table, Map<string, Key>>(catalog.tables.map((table) => [table, new Map()]));
  const queue = [...refused];
  for (let next = queue.pop(); next; next = queue.pop()) {
    const [table, keys] = next;
    const known = cleared.get(table) ?? new Map<string, Key>();
    const added = keys.filter((key) => !known.has(idOf(key)));
    for (const key of added) known.set(idOf(key), key);
    if (added.length === 0) continue;
    for (const reference of catalog.references.filter(({ to }) => to === table.name)) {
      const child = catalog.tables.find(({ name }) => name === reference.of);
      if (child) queue.push([child, await target.referring(reference, child, table, added)]);
    }
  }
  for (const [table, keys] of cleared) await log.note(table, [...keys.values()]);
  for (const [table, keys] of [...cleared].toReversed()) await target.remove(table, [...keys.values()]);
}

/** Passes, of a million changed rows, after which a tenant is taken to write as fast as its changes are brought. */
const MAX_PASSES = 1000;

/**
 * Brings the target up to the change log until a pass finds no more than so many changed rows in it, or there have been too
 * many passes. No rate bounds it: the tenant sets the pace.
 */
export async function catchUp(
  ends: Ends,
  catalog: Catalog,
  onPass: () => Promise<void>,
  most = CHANGES_AT_ONCE - 1,
): Promise<void> {
  for (let passes = 1; passes <= MAX_PASSES; passes++) {
    const { read } = await copyChanges(ends, catalog);
    await onPass();
    if (read <= most) return;
  }
}

/** Hears of how many rows were compared, and delays or ends the work: it may throw. */
type OnRows = (rows: number) => Promise<void>;

/**
 * Compares all that is not in the change log. What differs is copied again and compared again: a migration has changed it
 * without the log. Returns how many rows that were. Throws when it still differs.
 */
export async function compareRows(ends: Ends, catalog: Catalog, onRows: OnRows): Promise<number> {
  let repaired = 0;
  for (let time = 1; time <= MAX_COMPARISONS; time++) {
    const differing = await noteDifferences(ends, catalog, onRows);
    if (differing === 0) return repaired;
    repaired += differing;
    await catchUp(ends, catalog, () => onRows(0));
  }
  throw new Error("Rows at the new place differ from those that were copied, again and again.");
}

async function noteDifferences(ends: Ends, catalog: Catalog, onRows: OnRows): Promise<number> {
  const { log = ends.source } = ends;
  let noted = 0;
  for await (const { table, keys } of differingKeys(ends, catalog, onRows)) {
    await log.note(table, keys);
    noted += keys.length;
  }
  return noted;
}

/** The keys in each range whose rows differ, each once; what is in the source's change log is not looked at. */
export async function* differingKeys(
  ends: Ends,
  catalog: Catalog,
  onRows: OnRows,
): AsyncGenerator<{ table: Table; keys: Key[] }> {
  const { source, target } = ends;
  for (const table of catalog.tables) {
    let reading = source.digestPage(table, null, RANGE_ROWS);
    for (;;) {
      const here = await reading;
      // Each range is read with all that is in the log, so that must not become long while a large table is compared.
      const isLong = here.pending.length > here.count;
      // The next one is read while this one is compared: what changes after it was read is in the log.
      if (here.upto !== null && !isLong) reading = source.digestPage(table, here.upto, RANGE_ROWS);
      reading.catch(() => undefined);
      const there = await target.digest(table, here, here.pending);
      if (here.count !== there.count || here.digest !== there.digest) {
        const keys = [...(await source.keys(table, here)), ...(await target.keys(table, here))];
        yield { table, keys: [...new Map(keys.map((key) => [idOf(key), key])).values()] };
      }
      await onRows(here.count);
      if (isLong) await catchUp(ends, catalog, () => onRows(0));
      if (here.upto === null) break;
      if (isLong) reading = source.digestPage(table, here.upto, RANGE_ROWS);
    }
  }
}

/** A migration has changed the tables while they were copied. */
export class CatalogChanged extends Error {
  constructor() {
    super("The tables have been changed by a migration.");
  }
}
