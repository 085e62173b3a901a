/**
 * What is counted of a tenant's requests, in the order in which lists of it are kept and sent: admitted requests, refusals by
 * a limit, cost units, answers of 5xx, bytes of answers, ms that requests waited for Postgres, ms that the tenant's object
 * was in memory, and rows that it wrote. docs/usage.md says which are exact.
 */
export const FIGURES = [
  "requests",
  "refused",
  "units",
  "errors",
  "bytes_out",
  "db_ms",
  "object_ms",
  "object_rows",
] as const;
export type Figure = (typeof FIGURES)[number];

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
