/** The data in the folder is of no use to this PostgreSQL, and a start with an empty folder is the way out. */
export class UnusableData extends Error {}

const NO_SPACE: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT"]);
const NO_SPACE_WORDS = /No space left on device|Disk quota exceeded/;

/** What Postgres' log or an error of the file system says of a full disk, as a sentence; undefined when nothing. */
export function fullDisk(place: string, told: unknown): string | undefined {
  const full =
    typeof told === "string"
      ? NO_SPACE_WORDS.test(told)
      : told instanceof Error &&
        (("code" in told && NO_SPACE.has(told.code)) || fullDisk(place, told.cause) !== undefined);
  return full ? `The disk that holds ${place} is full. Free some space, then start again.` : undefined;
}
