import { catchUp, compareRows, copyChanges, copyRows, type Ends } from "./copy.ts";
import { eraseRows } from "../../src/lifecycle/erase-rows.ts";
import {
  CANNOT_FOLLOW,
  stateOf,
  type Catalog,
  type End,
  type FenceMode,
  type Position,
} from "../../src/lifecycle/end.ts";

/** A tenant's writes are held so long at most; then they go on by themselves. */
const HELD_MS = 10_000;
/** The mover gives up holding them this long before. */
const MARGIN_MS = 2_000;
/** With no more changed rows than this to bring, the writes are held. */
const FEW_CHANGES = 100;
/** How soon to try again what others are in the way of. */
const RETRY_MS = 500;
/** Postgres waited for the tenant's writers for as long as others may wait behind it. */
const LOCK_TIMEOUT = "55P03";

/** How far a move is, as the control plane keeps it, so that whoever resumes it goes on from there. */
export type Progress = {
  phase: "preparing" | "copying" | "comparing" | "switching";
  /** What earlier jobs left at the target is deleted: the rows that are there now were brought by this job. */
  prepared: boolean;
  /** Earlier jobs of the tenant were at the target, so rows that are there may be deleted. */
  isLeftover: boolean;
  position?: Position | undefined;
  rows: number;
  bytes: number;
  /** As counted when it began. */
  total?: number | undefined;
  heldMs?: number | undefined;
};

/** What a move asks of the control plane. */
export type MoveControl = {
  /** Throws Superseded when a newer attempt would not know of it: what is loaded before it is noted, nobody deletes. */
  note(progress: Progress): Promise<void>;
  /** Sends the tenant to the target, if that has not happened yet. */
  commit(): Promise<void>;
  finish(outcome: "done" | "abandoned"): Promise<void>;
};

export type Surroundings = {
  /** Rows that are copied at once, at most. */
  rowsAtOnce?: number;
  now(): number;
  pause(ms: number): Promise<void>;
  /** Delays the work as its rate demands, or ends it by throwing. */
  pace(rows: number, bytes: number): Promise<void>;
  say(line: string): void;
};

export type Move = { epoch: number; progress: Progress; control: MoveControl; around: Surroundings } & Ends;

/** The target has rows of the tenant that no move has brought there. */
class TargetNotEmpty extends Error {}

/** A newer attempt has taken the job over. */
export class Superseded extends Error {
  constructor() {
    super("A newer attempt works on this job.");
  }
}

/**
 * Moves the tenant, as one attempt: from wherever an earlier one has ended. When it returns the tenant is at the target.
 * What ends it, at whatever step, leaves the tenant at work in one place, and the move to be resumed or abandoned. The point of
 * no return is the closing of the source: by then the target has all and is open, though nobody is sent there yet.
 */
export async function move(of: Move): Promise<void> {
  const { source, target, epoch, control } = of;
  if (!(await startLogging(of))) return control.commit();
  await flip(of, target, "loading", epoch + 1);
  let catalog = await alikeCatalog(of);
  if (!of.progress.prepared) await prepare(of, catalog);
  await note(of, { phase: "copying" });
  await copyRows(
    { source, target },
    catalog,
    of.progress.position,
    async ({ rows, bytes }, position) => {
      of.progress.position = position;
      of.progress.rows += rows;
      of.progress.bytes += bytes;
      await note(of, {});
      await of.around.pace(rows, bytes);
    },
    of.around.rowsAtOnce,
  );
  for (let outcome: Outcome = "changed"; outcome !== "done";) {
    if (outcome === "changed") catalog = await compare(of);
    await note(of, { phase: "switching" });
    await catchUp(of, catalog, () => of.around.pause(0), FEW_CHANGES);
    outcome = await switchOver(of, catalog);
    if (outcome !== "done") await of.around.pause(RETRY_MS);
  }
}

/** Gives the move up, as a newer attempt than any that has worked on it; returns false when it has happened already. */
export async function abandon(of: Move): Promise<boolean> {
  const { source, target, epoch, control, progress } = of;
  // From here on no earlier attempt can close it any more. Not `open` at once: it cannot follow no fence either.
  if (!(await startLogging(of))) {
    await control.commit();
    return false;
  }
  await flip(of, source, "open", epoch);
  await flip(of, target, "loading", epoch + 1);
  if (progress.prepared)
    await eraseRows(target, await target.catalog(), ({ rows, bytes }) => of.around.pace(rows, bytes));
  await flip(of, target, "closed", 0);
  await control.finish("abandoned");
  return true;
}

/** Has the source note all changes; returns false when it is closed, so that all is at the target. */
async function startLogging(of: Move): Promise<boolean> {
  try {
    await flip(of, of.source, "logged", of.epoch);
    return true;
  } catch (error) {
    if (stateOf(error) === CANNOT_FOLLOW) return false;
    throw error;
  }
}

/** Empties the target of what the tenant has left there, when it moved away or a move there was abandoned. */
async function prepare(of: Move, catalog: Catalog): Promise<void> {
  const { source, target, epoch, around } = of;
  if (!of.progress.isLeftover)
    for (const table of catalog.tables)
      if ((await target.count(table)) > 0) {
        await flip(of, target, "closed", 0);
        await flip(of, source, "open", epoch);
        await of.control.finish("abandoned");
        throw new TargetNotEmpty(`The target is not empty: it has rows of the tenant in ${table.name}.`);
      }
  const erased = await eraseRows(target, catalog, ({ rows, bytes }) => around.pace(rows, bytes));
  if (erased > 0) around.say(`deleted ${erased} rows that an earlier move left at the target`);
  let total = 0;
  for (const table of catalog.tables) total += await source.count(table);
  await note(of, { prepared: true, total });
}

/** What the tables are at both ends, once that is the same: a migration goes from site to site. */
async function alikeCatalog({ source, target, around }: Move): Promise<Catalog> {
  for (let isTold = false; ; isTold = true) {
    const [here, there] = [await source.catalog(), await target.catalog()];
    if (here.fingerprint === there.fingerprint) return here;
    if (!isTold) around.say("waiting until the migration of both sites is through");
    await around.pause(RETRY_MS);
  }
}

/** Compares all rows, by the tables as they are now. */
async function compare(of: Move): Promise<Catalog> {
  await note(of, { phase: "comparing" });
  const catalog = await alikeCatalog(of);
  await catchUp(of, catalog, () => of.around.pause(0));
  const repaired = await compareRows(of, catalog, (rows) => of.around.pace(rows, 0));
  if (repaired > 0) of.around.say(`copied ${repaired} rows again that a migration has changed`);
  return catalog;
}

/** Done; or migrated meanwhile, so that all has to be compared again; or something was in the way, and the tenant works on. */
type Outcome = "done" | "changed" | "hindered";

/** Holds the tenant's writes, brings the last of them, and sends it to the target. */
async function switchOver(of: Move, { fingerprint }: Catalog): Promise<Outcome> {
  const { source, target, epoch, around, control } = of;
  await using holds = new AsyncDisposableStack();
  for (const end of [source, target]) {
    const release = await end.holdMigrations().catch(() => undefined);
    if (!release) return "hindered";
    holds.defer(release);
  }
  const [here, there] = [await source.catalog(), await target.catalog()];
  if (here.fingerprint !== fingerprint || there.fingerprint !== fingerprint) return "changed";

  const heldFrom = around.now();
  try {
    await flip(of, source, "frozen", epoch, HELD_MS);
  } catch (error) {
    if (stateOf(error) !== LOCK_TIMEOUT && stateOf(error) !== CANNOT_FOLLOW) throw error;
    await flip(of, source, "logged", epoch);
    return "hindered";
  }
  for (;;) {
    if (around.now() - heldFrom > HELD_MS - MARGIN_MS) {
      await flip(of, source, "logged", epoch);
      return "hindered";
    }
    const { read } = await copyChanges(of, here);
    if (read === 0) break;
  }
  await flip(of, target, "open", epoch + 1);
  try {
    await flip(of, source, "closed", epoch);
  } catch (error) {
    if (stateOf(error) !== CANNOT_FOLLOW && stateOf(error) !== LOCK_TIMEOUT) throw error;
    // Its writes have gone on by themselves. Nobody was sent to the target.
    await flip(of, target, "loading", epoch + 1);
    await flip(of, source, "logged", epoch);
    return "hindered";
  }
  await control.commit();
  of.progress.heldMs = around.now() - heldFrom;
  await control.note(of.progress);
  return "done";
}

/** How often a fence is tried to be set while the tenant's writers keep its lock. */
const MAX_FLIPS = 10;

async function flip({ around }: Move, end: End, mode: FenceMode, epoch: number, heldMs?: number) {
  for (let time = 1; ; time++) {
    try {
      return await end.setFence(mode, epoch, heldMs);
    } catch (error) {
      if (stateOf(error) !== LOCK_TIMEOUT || time === MAX_FLIPS) throw error;
      await around.pause(RETRY_MS / 5);
    }
  }
}

async function note(of: Move, change: Partial<Progress>): Promise<void> {
  Object.assign(of.progress, change);
  await of.control.note(of.progress);
}
