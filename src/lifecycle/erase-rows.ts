import type { Catalog, End, Key, OnPage } from "./end.ts";

/** Rows that are deleted at once. */
const ERASED_AT_ONCE = 2000;

/** Deletes all rows of the tenant at this end; returns how many there were. */
export async function eraseRows(
  end: Pick<End, "erase">,
  { tables }: Pick<Catalog, "tables">,
  onPage: OnPage,
): Promise<number> {
  let erased = 0;
  // Rows that refer to each other in a circle take more than one round.
  for (let isLeft = true; isLeft;) {
    isLeft = false;
    const before = erased;
    for (const table of tables.toReversed()) {
      for (let after: Key | null = null; ;) {
        const some = await end.erase(table, after, ERASED_AT_ONCE);
        erased += some.erased;
        isLeft ||= some.isReferredTo;
        after = some.last;
        await onPage({ rows: some.erased, bytes: 0 }, { table: table.name, after });
        if (after === null) break;
      }
    }
    if (isLeft && erased === before) throw new Error("Rows that refer to each other cannot be deleted.");
  }
  return erased;
}
