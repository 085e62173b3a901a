import type { FENCE_MODES } from "../db/site.ts";

export type FenceMode = (typeof FENCE_MODES)[number];

/** The values of a row's primary key without the tenant's, each as Postgres prints it. */
export type Key = readonly string[];

/** A table of tenants' rows. */
export type Table = {
  name: string;
  /** The columns of its primary key without the tenant's, with their types. */
  key: readonly { name: string; type: string }[];
  /** The columns that an INSERT may name, and the types of each, as Postgres prints them. */
  columns: readonly string[];
  types: Readonly<Record<string, string>>;
};

/** A foreign key: the rows of `of` whose `columns` have the values of `keyColumns` of a row in `to`. */
export type Reference = {
  of: string;
  to: string;
  columns: readonly string[];
  keyColumns: readonly string[];
};

/** What a place's tables are: the tables that others refer to first, and what has to be the same at two places. */
export type Catalog = { tables: readonly Table[]; references: readonly Reference[]; fingerprint: string };

/** Rows, each as a text that only Postgres reads. */
export type Rows = { texts: readonly string[]; count: number; bytes: number };

/** A table's rows behind one key up to another, in the order of their keys: from the first, or to the last, where null. */
export type Range = { after: Key | null; upto: Key | null };

/** The next rows of a table as NDJSON: a JSON object a line, without the tenant. `last` is as of a Page. */
export type Lines = { lines: readonly string[]; last: Key | null };

/** The next rows of a range; `last` is where they end, and null behind the last of all. */
export type Page = Rows & { last: Key | null };

/** What rows are, without the rows: as many, and a SHA-256 of them all. */
export type Digest = { count: number; digest: string };

/** A row that was changed, with the entries of the change log that say so. */
export type Change = { table: string; key: Key; ids: readonly string[] };

/** The rows of these keys that there are, in one order, each with the MD5 of its text. */
export type Found = Rows & { keys: readonly Key[]; sums: readonly string[] };

/** Which rows were changed, and have to be copied once more. */
export type ChangeLog = {
  /** At most so many, each once. */
  changes(most: number): Promise<readonly Change[]>;
  /** Deletes these entries, and none that came later. */
  forget(ids: readonly string[]): Promise<void>;
  /** Enters these rows, so that they are copied again. */
  note(table: Table, keys: readonly Key[]): Promise<void>;
};

/**
 * One place where a tenant's rows are or are to be, as one attempt at a job sees it: each call is one transaction in the
 * signed context of that tenant and attempt, and does nothing once a newer attempt was there. Whoever gets no answer to a
 * call does not know whether it was done, and has to go on as a new attempt.
 */
export type End = ChangeLog & {
  /** Sets the tenant's fence, and returns the mode before; none is "". Throws PW006 or PW007 where it may not. */
  setFence(mode: FenceMode, epoch: number, heldMs?: number): Promise<FenceMode | "">;
  catalog(): Promise<Catalog>;
  /** Keeps migrations away until the returned function is called. Throws when one is under way. */
  holdMigrations(): Promise<() => Promise<void>>;
  /** The key of the table's last row; null when it has none. */
  lastKey(table: Table): Promise<Key | null>;
  /** At most so many rows, of so many bytes or a little more. */
  page(table: Table, range: Range, most: { rows: number; bytes: number }): Promise<Page>;
  /** Of the next rows, at most so many, the digest of those that are not in the change log, and the keys of what is. */
  digestPage(
    table: Table,
    after: Key | null,
    most: number,
  ): Promise<Digest & Range & { pending: readonly Key[] }>;
  /** The digest of the rows in the range but for these. */
  digest(table: Table, range: Range, but: readonly Key[]): Promise<Digest>;
  count(table: Table): Promise<number>;
  keys(table: Table, range: Range): Promise<readonly Key[]>;
  find(table: Table, keys: readonly Key[]): Promise<Found>;
  /** Adds the rows as load() does, faster where none of them is there yet. */
  add(table: Table, rows: Rows): Promise<readonly Key[]>;
  /**
   * Adds the rows, or puts them in the place of those with their keys. Returns the keys of those that collide with others, or
   * refer to what is not there.
   */
  load(table: Table, rows: Rows): Promise<readonly Key[]>;
  /** Deletes the next rows, at most so many. Returns how many, where they end as page() does, and whether others refer to some. */
  erase(
    table: Table,
    after: Key | null,
    most: number,
  ): Promise<{ erased: number; last: Key | null; isReferredTo: boolean }>;
  /** Deletes these rows, if there are. Returns the keys of those that others refer to. */
  remove(table: Table, keys: readonly Key[]): Promise<readonly Key[]>;
  /** The keys of the rows that refer to these, by this reference. */
  referring(reference: Reference, table: Table, to: Table, keys: readonly Key[]): Promise<readonly Key[]>;
};

/** Where a copy stands: behind this row of the table, which it copies up to `upto`, once that is known. */
export type Position = { table: string; after: Key | null; upto?: Key | undefined };

/** Hears of each page that was brought, and delays or ends the work: it may throw. */
export type OnPage = (page: { rows: number; bytes: number }, position: Position) => Promise<void>;

/** The SQLSTATE of what a call failed with; undefined when that was not Postgres' answer. */
export const stateOf = (error: unknown): string | undefined =>
  error instanceof Error &&
  "code" in error &&
  typeof error.code === "string" &&
  /^[0-9A-Z]{5}$/.test(error.code)
    ? error.code
    : undefined;

/** What set_fence() and the verifier refuse an attempt with. */
export const SUPERSEDED = "PW006";
export const CANNOT_FOLLOW = "PW007";
