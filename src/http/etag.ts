import { eq, type SQL } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import type { Context } from "hono";
import * as v from "valibot";

/** Answers one row: its columns but the version as JSON, the version as a strong ETag. */
export function answerRow<Row extends { version: number }>(c: Context, row: Row, status: 200 | 201 = 200) {
  const { version, ...shown } = row;
  c.header("ETag", `"${version}"`);
  return c.json(shown, status);
}

/** `If-Match` with the row version that the client last saw; `*` and no header match any. */
export const IfMatch = v.object({
  "if-match": v.optional(
    v.union([
      v.pipe(
        v.literal("*"),
        v.transform(() => undefined),
      ),
      v.pipe(
        v.string(),
        v.regex(/^"\d{1,9}"$/, 'an ETag such as "3"'),
        v.transform((tag) => Number(tag.slice(1, -1))),
      ),
    ]),
  ),
});

/** The rows that `If-Match` allows a write to touch; undefined when it allows any. */
export function ifMatch(
  table: { version: PgColumn },
  header: v.InferOutput<typeof IfMatch>,
): SQL | undefined {
  const version = header["if-match"];
  return version === undefined ? undefined : eq(table.version, version);
}
