import { sql } from "drizzle-orm";
import * as v from "valibot";
import { query, type Given } from "../db/query.ts";
import type { Standing } from "../policy.ts";
import { openForObject } from "./news.ts";
import type { StoredPeriod, StoredUsage } from "./usage.ts";

/** A write that takes longer is tried again with the next one. */
const TIMEOUT_MS = 15_000;

/** The percentages of a month's limit at which a tenant is warned, the greatest first. */
const WARNING_PERCENTS = [100, 80] as const;

/** So much of the limit of a month, such as 2026-11-01, is used. */
export type Warning = { month: string; percent: number; used: number; quota: number };

const record = query((db, { periods, warning }: Given<{ periods: string; warning: string }>) =>
  db.execute(sql`select record_usage(${periods}::jsonb, ${warning}::jsonb)::float8 as head`),
);
const Recorded = v.tuple([v.object({ head: v.nullable(v.number()) })]);

/**
 * Has Postgres know these figures: absolute ones, each unless it has later ones of that period. Returns the head of the
 * outbox when it made an audit event of the warning, the first of its month and percentage; else 0.
 */
export async function sendUsage(
  tenantId: string,
  { periods }: StoredUsage,
  warning: Warning | undefined,
): Promise<number> {
  const { recorded } = await openForObject("account", tenantId, TIMEOUT_MS).write({
    recorded: record({
      periods: JSON.stringify(periods.map(written)),
      warning: JSON.stringify(warning ?? null),
    }),
  });
  return v.parse(Recorded, recorded.rows)[0].head ?? 0;
}

/** [kind, the period's start, the key's id or null, seq, the figures as whole numbers]. */
const written = ([kind, start, key, seq, counts]: StoredPeriod) => {
  const at = new Date(start).toISOString();
  return [kind, kind === "hour" ? at : at.slice(0, 10), key || null, seq, counts.map(Math.floor)];
};

/** The warning that is due by these standings at `now`, in ms. */
export function warningOf(standings: readonly Standing[], now: number): Warning | undefined {
  const month = new Date(now).toISOString().slice(0, 8) + "01";
  const used = ({ limit, remaining }: Standing) => (limit - remaining) / limit;
  const monthly = standings.filter(({ window, limit }) => window === "month" && limit > 0);
  const [tightest] = monthly.toSorted((a, b) => used(b) - used(a));
  const percent = tightest && WARNING_PERCENTS.find((each) => 100 * used(tightest) >= each);
  if (!tightest || percent === undefined) return undefined;
  return { month, percent, used: tightest.limit - tightest.remaining, quota: tightest.limit };
}
