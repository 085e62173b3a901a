import * as v from "valibot";
import { DAY_MS } from "../usage-figures.ts";

// What Neon bills for a project, as its consumption API counts it:
// https://neon.com/docs/guides/consumption-metrics, https://neon.com/docs/introduction/usage-calculations

/**
 * CU-seconds; byte-hours of storage, whatever their names say; bytes. What a plan includes is not taken off. Extra branches are
 * missing: Neon counts all branches, and bills those beyond the plan's, hour by hour.
 */
export const NEON_METRICS = [
  "compute_unit_seconds",
  "root_branch_bytes_month",
  "child_branch_bytes_month",
  "instant_restore_bytes_month",
  "snapshot_storage_bytes_month",
  "public_network_transfer_bytes",
  "private_network_transfer_bytes",
] as const;
export type NeonMetric = (typeof NEON_METRICS)[number];

/** Sums over some days. */
export type NeonFigures = Readonly<Record<NeonMetric, bigint>>;

/** Why Neon's figures are not in a cost, although the tenant's project is known. docs/usage.md says what to do. */
const WHY_NOT = [
  "not_set_up",
  "no_prices",
  "several_tenants",
  "no_days",
  "unknown_project",
  "no_answer",
] as const;
export type WhyNot = (typeof WHY_NOT)[number];

/** What a cost says of the tenant's Neon project. */
export const NeonShare = v.object({
  project: v.string(),
  why_not: v.pipe(v.nullable(v.picklist(WHY_NOT)), v.examples([null])),
  /** The first and the last day that Neon's figures are of. */
  from: v.nullable(v.string()),
  to: v.nullable(v.string()),
  figures: v.nullable(v.object(v.entriesFromList(NEON_METRICS, v.string()))),
});
type NeonShare = v.InferOutput<typeof NeonShare>;

export const withoutShare = (project: string, why_not: WhyNot): NeonShare => ({
  project,
  why_not,
  from: null,
  to: null,
  figures: null,
});

export function shareOf(project: string, { first, last }: NeonDays, figures: NeonFigures): NeonShare {
  const texts = Object.entries(figures).map(([name, value]) => [name, String(value)]);
  return {
    project,
    why_not: null,
    from: first,
    to: last,
    figures: Object.fromEntries(texts) as NeonShare["figures"],
  };
}

/** Days (UTC) of which Neon is asked, the first and the last included, and in what steps it counts them. */
export type NeonDays = {
  readonly first: string;
  readonly last: string;
  readonly granularity: "daily" | "monthly";
};

/** Neon tells days for 60 days and months for a year, counted back from now to the minute: a day less is always there. */
const DAYS = 59;
const DAYS_OF_MONTHS = 364;

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** The day so many days later. */
export const daysAfter = (day: string, days: number): string => dayOf(Date.parse(day) + days * DAY_MS);

/**
 * The days from `first` to `last` that Neon can tell of a tenant which is in its project since `since`, at `now` in ms; those
 * that are to come are left out. Whole months may be older than other days; of others the end is left. Undefined if there are
 * none.
 */
export function neonDays(
  of: { first: string; last: string },
  since: string,
  now: number,
): NeonDays | undefined {
  const today = dayOf(now);
  const first = of.first > since ? of.first : since;
  const last = of.last < today ? of.last : today;
  const oldest = daysAfter(today, -DAYS);
  if (first > last) return undefined;
  if (first >= oldest) return { first, last, granularity: "daily" };
  const isWhole = first.endsWith("-01") && (last === today || daysAfter(last, 1).endsWith("-01"));
  if (isWhole && first >= daysAfter(today, -DAYS_OF_MONTHS)) return { first, last, granularity: "monthly" };
  return last < oldest ? undefined : { first: oldest, last, granularity: "daily" };
}
