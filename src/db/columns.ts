import { sql } from "drizzle-orm";
import { check, customType, integer, timestamp, uuid } from "drizzle-orm/pg-core";
import { v7 as uuidv7 } from "uuid";

/** RFC 3339 instants with milliseconds, which is also what a JavaScript Date keeps. */
export const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: "date" });

/** Columns that the database keeps by itself: `touch_row()` renews both on every UPDATE. */
export const rowHistory = () => ({
  created_at: instant("created_at").notNull().defaultNow(),
  updated_at: instant("updated_at").notNull().defaultNow(),
  /** Counts the row's updates; its ETag. */
  version: integer("version").notNull().default(1),
});

/** The column `id`: a UUIDv7 that the Worker makes. */
export const newId = () =>
  uuid("id")
    .notNull()
    .$defaultFn(() => uuidv7());

export const bytea = customType<{ data: Uint8Array; driverData: string }>({
  dataType: () => "bytea",
  toDriver: (bytes) => `\\x${Buffer.from(bytes).toString("hex")}`,
});

/**
 * Only these values. Text with a CHECK, not an enum: an enum's comparisons are not leakproof, so row-level security would
 * keep them from indexes.
 */
export const oneOf = (column: string, values: readonly string[]) =>
  check(`${column}_known`, sql.raw(`${column} in (${values.map((value) => `'${value}'`).join(", ")})`));
