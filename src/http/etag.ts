import { inArray, type SQL } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import type { Context } from "hono";
import * as v from "valibot";

/** Characters: each ETag in them is a value that the database is asked about. */
const MAX_IF_MATCH = 1024;
const ENTITY_TAG = /(W\/)?"([^"]*)"/g;

/**
 * Answers one row: its columns but the version as JSON, the version as a strong ETag. A GET whose `If-None-Match` names
 * that one is answered 304, without the row.
 */
export function answerRow<Row extends { version: number }>(c: Context, row: Row, status: 200 | 201 = 200) {
  const { version, ...shown } = row;
  c.header("ETag", `"${version}"`);
  const isRead = c.req.method === "GET" || c.req.method === "HEAD";
  return isRead && names(c.req.header("if-none-match"), version) ? c.body(null, 304) : c.json(shown, status);
}

/** Whether an `If-None-Match` holds this version: weak tags count as strong ones here (RFC 9110, 13.1.2). */
function names(header: string | undefined, version: number): boolean {
  if (header === undefined) return false;
  return header === "*" || [...header.matchAll(ENTITY_TAG)].some(([, , tag]) => tag === String(version));
}

/** `If-Match` with the row versions that the client will change; `*` and no header match any. */
export const IfMatch = v.object({
  "if-match": v.optional(
    v.pipe(
      v.string(),
      v.maxLength(MAX_IF_MATCH),
      v.regex(/^(?:\*|(?:W\/)?"[^"]*"(?:\s*,\s*(?:W\/)?"[^"]*")*)$/, 'an ETag such as "3"'),
      v.transform((header) => (header === "*" ? undefined : versionsIn(header))),
    ),
  ),
});

/** Weak tags and tags that no row ever had match nothing (RFC 9110, 13.1.1). */
const versionsIn = (header: string) =>
  [...header.matchAll(ENTITY_TAG)].flatMap(([, weak, tag = ""]) =>
    weak === undefined && /^\d{1,9}$/.test(tag) ? [Number(tag)] : [],
  );

/** The rows that `If-Match` allows a write to touch; undefined when it allows any. */
export function ifMatch(
  table: { version: PgColumn },
  header: v.InferOutput<typeof IfMatch>,
): SQL | undefined {
  const versions = header["if-match"];
  return versions && inArray(table.version, versions);
}
