import { rowOf, type Op, type Shelf } from "./move-rows.ts";
import type { Dice } from "./move-schedule.ts";

// What a schedule's tenants have, and what they ask for: so few rows and names that requests meet at them.

const PARENTS = ["a", "b", "c", "d"];
const CHILDREN = ["p", "q", "r", "s"];
const NAMES = ["k", "l", "m", "n", "o"];
const KINDS = ["create", "create", "upsert", "patch", "patch", "touch", "delete", "adopt", "swap"] as const;

/** Puts some rows, the same ones, on each of the shelves. */
export function fill(dice: Dice, shelves: readonly Shelf[]): void {
  const parents = PARENTS.slice(0, 1 + dice.below(3));
  const rows = CHILDREN.slice(0, dice.below(4)).map((id) => rowOf(id, dice.pick(parents), 1, "0"));
  for (const shelf of shelves) {
    for (const [at, id] of parents.entries()) shelf.put("parents", rowOf(id, NAMES[at] ?? "", 1, "0"));
    for (const row of rows) shelf.put("children", row);
  }
}

/** A request that writes this value; a third of them with an idempotency key. */
export function drawOp(dice: Dice, value: string): Op {
  const kind = dice.pick(KINDS);
  const isParent = kind === "swap" || (kind !== "adopt" && dice.oneIn(2));
  const table = isParent ? "parents" : "children";
  const ref = dice.pick(kind === "swap" || !isParent ? PARENTS : NAMES);
  const key = dice.oneIn(3) ? `key ${value}` : undefined;
  return { kind, table, id: dice.pick(isParent ? PARENTS : CHILDREN), ref, value, key };
}

/** Which row to read; undefined for all. */
export const drawRead = (dice: Dice): string | undefined =>
  dice.oneIn(2) ? undefined : dice.pick([...PARENTS, ...CHILDREN]);
