import { catchUp, compareRows, copyChanges, copyRows, type Ends } from "./copy.ts";
import { differenceOf, differencesOf, ListedChanges, SeenChanges, type Difference } from "./differences.ts";
import type { Catalog, ChangeLog, End, Table } from "../../src/lifecycle/end.ts";
import type { Surroundings } from "./move.ts";
import type { SiteEnd } from "./site-end.ts";

/**
 * What is never set back: what has happened has happened. Members leave in the control plane, numbers are given once, and an
 * answer to a repeated request stays the same.
 */
const KEPT = new Set([
  "audit_events",
  "counters",
  "former_members",
  "idempotency_keys",
  "members",
  "outbox_receipts",
]);

/** The tenant's writes are held so long, and longer as long as the work goes on. */
const HELD_MS = 10_000;
const EXTEND_MS = 3_000;
const FEW_CHANGES = 100;

export type Restore = {
  epoch: number;
  /** Where the tenant works; once for what is one transaction, and once for what goes on beside it. */
  live: SiteEnd;
  beside: SiteEnd;
  /** The tenant's rows as they were. */
  past: End;
  /** Where its rows of now are kept, to undo this. */
  undo: End;
  /** Whether to go on, when it is known what that would do. */
  confirm: (differences: readonly Difference[]) => Promise<boolean>;
  /** Notes that from now on it may have been done, also if nobody lives to say so. */
  beforeHold: () => Promise<void>;
  around: Surroundings;
};

/** What a restore did, and how many of these rows were changed between its preview and its beginning. */
export type Restored = { differences: readonly Difference[]; since: number; heldMs: number };

/**
 * Makes the tenant's rows what they were, but for what is never set back: all or nothing, in one transaction. Before that
 * they are copied to `undo`. Undefined when it was not to go on. The tenant works meanwhile; its writes are held from the last
 * copied change to the end.
 */
export async function restore(of: Restore): Promise<Restored | undefined> {
  const { live, past, undo, epoch, around } = of;
  await live.setFence("logged", epoch);
  await past.setFence("loading", epoch);
  await undo.setFence("loading", epoch);
  const whole = await live.catalog();
  if ((await past.catalog()).fingerprint !== whole.fingerprint)
    throw new Error("The copy's tables are not those of the site, though it has the same migrations.");
  const catalog = only(whole, ({ name }) => !KEPT.has(name));
  await keepPresent(
    { source: live, target: past },
    only(whole, ({ name }) => KEPT.has(name)),
  );

  const differences = await differencesOf({ source: past, target: live }, catalog);
  if (!(await of.confirm(differences))) {
    await live.setFence("open", epoch);
    return undefined;
  }
  around.say("copying what is there, so that this can be undone");
  const pace = ({ rows, bytes }: { rows: number; bytes: number }) => around.pace(rows, bytes);
  // All that was changed since before the differences were looked for.
  const since = new SeenChanges(live);
  const toUndo = { source: live, target: undo, log: since };
  await copyRows(toUndo, whole, undefined, pace, around.rowsAtOnce);
  await catchUp(toUndo, whole, () => around.pause(0));
  await compareRows(toUndo, whole, (rows) => around.pace(rows, 0));
  await catchUp(toUndo, whole, () => around.pause(0), FEW_CHANGES);
  await of.beforeHold();
  const heldFrom = around.now();
  await live.setFence("frozen", epoch, HELD_MS);
  const hold = new Hold(of.beside);
  try {
    while ((await copyChanges(toUndo, whole)).read > 0);
    await keepLater({ source: live, target: past }, whole, since, hold);
    const list = new ListedChanges();
    for (const { table, ...keys } of differences)
      await list.note(table, [...keys.added, ...keys.changed, ...keys.deleted]);
    const later = await noteChanged({ source: past, target: live }, catalog, since, list);
    await live.atomically(async () => {
      await applyAll({ source: past, target: live, log: list }, catalog, hold);
      // Under the tenant's lock: nobody has written since they were held, or this is undone.
      await live.setFence("frozen", epoch, HELD_MS);
      await live.setFence("open", epoch);
    });
    return { differences, since: later, heldMs: around.now() - heldFrom };
  } finally {
    await hold.end();
  }
}

/** Has what is never set back be in the copy as it is now, with all that follows from it, such as that a member has left. */
async function keepPresent(ends: Ends, kept: Catalog): Promise<void> {
  await compareRows({ ...ends, log: new ListedChanges() }, kept, async () => undefined);
}

/** The same for what was changed since, as far as rows that are set back refer to it: one may refer to whoever has just left. */
async function keepLater(ends: Ends, whole: Catalog, since: SeenChanges, hold: Hold): Promise<void> {
  const isReferredTo = ({ name }: Table) =>
    whole.references.some(({ of, to }) => to === name && !KEPT.has(of));
  const kept = only(whole, (table) => KEPT.has(table.name) && isReferredTo(table));
  const list = new ListedChanges();
  for (const table of kept.tables) await list.note(table, since.of(table));
  await applyAll({ ...ends, log: list }, kept, hold);
}

/** Lists what was changed since the differences were looked for, as far as it differs; returns how many rows that are. */
async function noteChanged(
  ends: { source: End; target: End },
  { tables }: Catalog,
  since: SeenChanges,
  list: ListedChanges,
): Promise<number> {
  let rows = 0;
  for (const table of tables) {
    const { added, changed, deleted } = await differenceOf(ends, table, since.of(table));
    await list.note(table, [...added, ...changed, ...deleted]);
    rows += added.length + changed.length + deleted.length;
  }
  return rows;
}

/** Copies all that is listed. Throws when the hold has not been in force all the time. */
async function applyAll(ends: Ends & { log: ChangeLog }, catalog: Catalog, hold: Hold): Promise<void> {
  for (let last = Infinity; ;) {
    hold.check();
    const { read, refused } = await copyChanges(ends, catalog);
    if (read === 0) return;
    // What is in each other's way is cleared by the first pass that finds nothing else to do.
    if (read === refused && refused >= last)
      throw new Error("Some rows refer to what is not there any more.");
    last = read === refused ? refused : Infinity;
  }
}

/** Keeps the tenant's writes held while the work goes on. */
class Hold {
  readonly #end: SiteEnd;
  readonly #timer: ReturnType<typeof setInterval>;
  #extending: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(end: SiteEnd) {
    this.#end = end;
    this.#timer = setInterval(() => {
      this.#extending = this.#extending
        .then(() => this.#end.extendHold(HELD_MS))
        .catch((error: unknown) => {
          this.#failure ??= error;
        });
    }, EXTEND_MS);
  }

  /** Throws when they were let go meanwhile. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#extending;
  }
}

const only = ({ tables, ...rest }: Catalog, isIn: (table: Table) => boolean): Catalog => ({
  ...rest,
  tables: tables.filter(isIn),
});
