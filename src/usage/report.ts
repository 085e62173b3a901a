import { sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { builder } from "../db/query.ts";
import { FIGURES } from "../usage-figures.ts";
import { PRICED } from "./cost.ts";
import type { Granularity, Periods } from "./periods.ts";

/** The figures that are shown of any usage. */
export const SHOWN_FIGURES = {
  requests: v.number(),
  refused: v.number(),
  units: v.number(),
  errors: v.number(),
  bytes_out: v.number(),
};
/** As last measured by then; null before the first time. */
export const SHOWN_STORAGE = { rows: v.nullable(v.number()), bytes_stored: v.nullable(v.number()) };

/** A tenant's usage in one period, or one key's, where `rows` and `bytes_stored` are null. */
const UsagePeriod = v.object({
  /** The period's first instant. */
  start: v.string(),
  ...SHOWN_FIGURES,
  ...SHOWN_STORAGE,
});
export const UsageReport = v.object({ data: v.array(UsagePeriod) });

const SHOWN = ["requests", "refused", "units", "errors", "bytes_out"] as const;
const STEP: Record<Granularity, SQL> = { day: sql`interval '1 day'`, hour: sql`interval '1 hour'` };

/** RFC 3339 with milliseconds, of an instant. */
const written = (at: SQL) => sql`to_char(${at} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** Of which tenant, where the login sees more than one; of which API key. */
type Of = { tenant?: string | undefined; key?: string | undefined };

/**
 * The usage of each period, oldest first, those without any included. Of the one tenant that is seen, or of the one that is
 * named.
 */
export function usageOf({ granularity, first, last }: Periods, { tenant, key }: Of = {}): SQL {
  const isTenant = (alias: SQL) => (tenant === undefined ? sql`true` : sql`${alias}.tenant_id = ${tenant}`);
  const isHour = granularity === "hour";
  const table = isHour ? sql`usage_hours` : key === undefined ? sql`usage_days` : sql`usage_keys`;
  const start = isHour ? sql`u.hour = p.start` : sql`u.day = (p.start at time zone 'UTC')::date`;
  const ofKey = key === undefined ? sql`true` : sql`u.key_id = ${key}`;
  const figures = SHOWN.map(
    (name) => sql`coalesce(u.${sql.identifier(name)}, 0)::float8 as ${sql.identifier(name)}`,
  );
  const of = key === undefined ? sql`${isTenant(sql`s`)}` : sql`false`;
  // Nothing of a key that was never used here: it may be another tenant's.
  const isKnown =
    key === undefined
      ? sql`true`
      : sql`exists (select from usage_keys k where k.key_id = ${key} and ${isTenant(sql`k`)})`;
  // What is stored is as last measured: on the first day with the same number of measurements, or before all of them.
  const latest = (name: string) => sql`
    coalesce(first_value(p.${sql.identifier(name)}) over (partition by p.measured order by p.start), b.${sql.identifier(name)})::float8
      as ${sql.identifier(name)}`;
  return sql`
    with periods as (
      select p.start, ${sql.join(figures, sql`, `)}, s.rows, s.bytes_stored, count(s.rows) over (order by p.start) as measured
      from generate_series(${first}::timestamptz, ${last}::timestamptz, ${STEP[granularity]}, 'UTC') as p (start)
      left join ${table} u on ${start} and ${isTenant(sql`u`)} and ${ofKey}
      left join usage_days s on s.day = (p.start at time zone 'UTC')::date and ${of}
    ), before as (
      select s.rows, s.bytes_stored from usage_days s
      where ${of} and s.day < ${first.slice(0, 10)} and s.rows is not null order by s.day desc limit 1
    )
    select ${written(sql`p.start`)} as start, ${sql.join(
      SHOWN.map((name) => sql`p.${sql.identifier(name)}`),
      sql`, `,
    )}, ${latest("rows")}, ${latest("bytes_stored")}
    from periods p left join before b on true where ${isKnown} order by p.start`;
}

/** The usage of the tenant whose database it is sent to, as usageOf() says. */
export const ownUsage = (periods: Periods, key: string | undefined) =>
  builder.execute(usageOf(periods, { key }));

/** What a tenant used on these days, for costOf(), as texts of whole numbers. */
export const quantitiesOf = ({ first, last }: Periods, tenant: string): SQL => sql`
  select ${sql.join(
    FIGURES.map((name) => sql`coalesce(sum(u.${sql.identifier(name)}), 0)::text as ${sql.identifier(name)}`),
    sql`, `,
  )}, coalesce(sum(s.bytes_stored), 0)::text as byte_days, coalesce(sum(s.archive_bytes), 0)::text as archive_byte_days
  from generate_series(${first.slice(0, 10)}::timestamp, least(${last.slice(0, 10)}::timestamp, now() at time zone 'UTC'), interval '1 day') as p (day)
  left join usage_days u on u.day = p.day::date and u.tenant_id = ${tenant}
  left join lateral (
    select s.bytes_stored, s.archive_bytes from usage_days s
    where s.tenant_id = ${tenant} and s.day <= p.day::date and s.day > p.day::date - 40 and s.rows is not null
    order by s.day desc limit 1) s on true`;

export const Quantities = v.tuple([
  v.object(
    v.entriesFromList(
      PRICED,
      v.pipe(
        v.string(),
        v.transform((text) => BigInt(text)),
      ),
    ),
  ),
]);
