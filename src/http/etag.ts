import { inArray, sql, type SQL, type SQLWrapper } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import type { Context } from "hono";
import * as v from "valibot";

/** Characters: each ETag in them is a value that the database is asked about. */
const MAX_IF_MATCH = 1024;
/** An entity tag (RFC 9110, 8.8.3), and a list of them, which may have empty members (5.6.1). */
const TAG = String.raw`(?:W/)?"[^\u0000- "\u007f]*"`;
const TAGS = String.raw`[ \t,]*${TAG}(?:[ \t]*,[ \t,]*${TAG})*[ \t,]*`;
const LIST = new RegExp(`^${TAGS}$`);
const EACH = new RegExp(TAG, "g");
/** The tag of a row's version, spelled as tagOf() does. */
const OF_VERSION = /^"[1-9]\d{0,8}"$/;

/**
 * Answers one row: its columns but the version as JSON, the version as a strong ETag. A GET whose `If-None-Match` names
 * that one is answered 304, without the row.
 */
export function answerRow<Row extends { version: number }>(c: Context, row: Row, status: 200 | 201 = 200) {
  const { version, ...shown } = row;
  const tag = tagOf(version);
  c.header("ETag", tag);
  const isRead = c.req.method === "GET" || c.req.method === "HEAD";
  return isRead && isKnown(c, tag) ? c.body(null, 304) : c.json(shown, status);
}

/** Answers a row that was made, with `Location`: `at`, the list that it is in, and its id. */
export function answerNew<Row extends { id: string; version: number }>(
  c: Context,
  row: Row,
  at = c.req.path,
) {
  c.header("Location", `${at}/${row.id}`);
  return answerRow(c, row, 201);
}

const tagOf = (version: number) => `"${version}"`;

/** Whether the client has what this strong ETag names: its `If-None-Match` holds it, or `*`. A malformed one holds none. */
export function isKnown(c: Context, tag: string): boolean {
  const header = c.req.header("if-none-match");
  return header !== undefined && (header === "*" || tagsIn(header).includes(tag));
}

/** `If-Match` with the row versions that the client will change; `*` and no header match any. */
export const IfMatch = v.object({
  "if-match": v.optional(
    v.pipe(
      v.string(),
      v.maxLength(MAX_IF_MATCH),
      v.regex(new RegExp(`^(?:\\*|${TAGS})$`), 'an ETag such as "3"'),
      v.transform((header) => (header === "*" ? undefined : versionsIn(header))),
    ),
  ),
});

/** Tags that no row ever had match nothing (RFC 9110, 13.1.1). */
const versionsIn = (header: string) =>
  tagsIn(header)
    .filter((tag) => OF_VERSION.test(tag))
    .map((tag) => Number(tag.slice(1, -1)));

/**
 * The tags of a list, as strong ones: Cloudflare, nginx and others make an ETag weak when they compress an answer, and no
 * two versions of a row share a number. So `W/"3"` still names version 3 alone.
 */
const tagsIn = (header: string) =>
  LIST.test(header) ? (header.match(EACH) ?? []).map((tag) => tag.replace(/^W\//, "")) : [];

/** The versions of `If-Match` as an array of Postgres'; undefined when it allows any. */
export function versionsOf(header: v.InferOutput<typeof IfMatch>): string | undefined {
  const versions = header["if-match"];
  return versions && `{${versions.join()}}`;
}

/** Whether a row has one of the versions that versionsOf() gives a query; undefined when it may have any. */
export const hasVersion = (table: { version: PgColumn }, versions: SQLWrapper | undefined): SQL | undefined =>
  versions && sql`${table.version} = any(${versions}::integer[])`;

/** The rows that `If-Match` allows a write to touch; undefined when it allows any. */
export function ifMatch(
  table: { version: PgColumn },
  header: v.InferOutput<typeof IfMatch>,
): SQL | undefined {
  const versions = header["if-match"];
  return versions && inArray(table.version, versions);
}
