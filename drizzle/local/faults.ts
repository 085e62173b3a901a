import { existsSync, statfsSync } from "node:fs";

/** The data in the folder is of no use to this PostgreSQL, and a start with an empty folder is the way out. */
export class UnusableData extends Error {}

const NO_SPACE: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT"]);
const NO_SPACE_WORDS = /No space left on device|Disk quota exceeded/;
/** With less, Postgres may have had no room to log that it had none. */
const LEAST_SPACE_BYTES = 1024 * 1024;

/** The sentence for a full disk, if that is what an error or the words of Postgres' log come from, else undefined. */
export function fullDisk(place: string, told: unknown): string | undefined {
  const full =
    typeof told === "string"
      ? NO_SPACE_WORDS.test(told) || isFull(place)
      : told instanceof Error &&
        (("code" in told && NO_SPACE.has(told.code)) || fullDisk(place, told.cause) !== undefined);
  return full ? `The disk that holds ${place} is full. Free some space, then start again.` : undefined;
}

function isFull(place: string): boolean {
  if (!existsSync(place)) return false;
  const { bavail, bsize } = statfsSync(place);
  return bavail * bsize < LEAST_SPACE_BYTES;
}
