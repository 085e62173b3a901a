import { sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { operatorDb, rethrow } from "../db/client.ts";
import { Problem } from "../problem.ts";
import { DAY_MS, FIGURES, HOUR_MS } from "../usage-figures.ts";
import { costSql } from "./cost.ts";
import { monthOf, type Periods } from "./periods.ts";
import { SHOWN_FIGURES, SHOWN_STORAGE, UsageReport, usageOf } from "./report.ts";

// What an operator sees of all tenants, as partywall_operator. It has no tenant, so these name theirs.

export const HEAVY_PERIODS = ["hour", "day", "week", "month", "last_month"] as const;
/** What tenants are sorted by. */
export const HEAVY_BY = [
  "requests",
  "refused",
  "units",
  "errors",
  "bytes_out",
  "db_ms",
  "rows",
  "bytes_stored",
  "cost",
] as const;

/** What tenants used in a period, and what they store; `cost` is as costOf() has it, but for its rounding. */
export const HeavyTenant = v.object({
  tenant: v.object({
    id: v.string(),
    slug: v.string(),
    name: v.string(),
    plan: v.string(),
    status: v.string(),
  }),
  ...SHOWN_FIGURES,
  db_ms: v.number(),
  ...SHOWN_STORAGE,
  cost: v.string(),
});
const Heavy = v.array(HeavyTenant);

export const UsageTotal = v.object({
  start: v.string(),
  /** How many tenants there were, and how many of them were used. */
  tenants: v.number(),
  active: v.number(),
  ...SHOWN_FIGURES,
  ...SHOWN_STORAGE,
});
const Totals = v.array(UsageTotal);

const ask = async (query: SQL): Promise<unknown[]> => {
  const { rows } = await operatorDb.execute(query).catch(rethrow);
  return rows;
};

/** The query, and whether the tenant is there, in one round trip. Throws `not_found`. */
async function ofTenant(tenant: string, query: SQL): Promise<unknown[]> {
  const [found, { rows }] = await operatorDb
    .batch([operatorDb.execute(sql`select from tenants where id = ${tenant}`), operatorDb.execute(query)])
    .catch(rethrow);
  if (found.rows.length === 0) throw new Problem("not_found");
  return rows;
}

/** A tenant's usage in each period. Throws `not_found`. */
export const usageOfTenant = async (tenant: string, periods: Periods) =>
  v.parse(UsageReport.entries.data, await ofTenant(tenant, usageOf(periods, { tenant })));

const sums = (alias: SQL) =>
  sql.join(
    FIGURES.map((name) => sql`sum(${alias}.${sql.identifier(name)})::float8 as ${sql.identifier(name)}`),
    sql`, `,
  );
const STORED = sql`m.rows, m.bytes_stored, m.byte_days, m.archive_byte_days`;

/**
 * What each tenant used in the period, by the columns tenant_id, those of FIGURES, rows, bytes_stored, byte_days and
 * archive_byte_days. Of less than a month nothing is stored long enough to cost much, so the byte days of the month are
 * taken for it in parts.
 */
function usedIn(period: (typeof HEAVY_PERIODS)[number], now: number): SQL {
  const month = monthOf(now);
  if (period === "month" || period === "last_month") {
    const of = period === "month" ? month : monthOf(Date.parse(month) - DAY_MS);
    return sql`select m.tenant_id, ${sql.join(
      FIGURES.map((name) => sql`m.${sql.identifier(name)}::float8`),
      sql`, `,
    )}, ${STORED} from usage_months m where m.month = ${of}`;
  }
  const days = { hour: 1 / 24, day: 1, week: 7 }[period];
  const since = new Date(now - (period === "hour" ? HOUR_MS : (days - 1) * DAY_MS)).toISOString();
  const used =
    period === "hour"
      ? sql`select u.tenant_id, ${sums(sql`u`)} from usage_hours u
          where u.hour >= date_trunc('hour', ${since}::timestamptz) group by u.tenant_id`
      : sql`select u.tenant_id, ${sums(sql`u`)} from usage_days u
          where u.day >= ${since.slice(0, 10)} group by u.tenant_id`;
  return sql`select u.*, m.rows, m.bytes_stored, ${days}::float8 * m.bytes_stored as byte_days,
      ${days}::float8 * m.archive_bytes as archive_byte_days
    from (${used}) u left join usage_months m on m.tenant_id = u.tenant_id and m.month = ${month}`;
}

/** The tenants that used most in the period, at `now` in ms: so many, the heaviest first. */
export async function heavyTenants(
  by: (typeof HEAVY_BY)[number],
  period: (typeof HEAVY_PERIODS)[number],
  limit: number,
  now: number,
) {
  const column = (name: string) => sql`coalesce(u.${sql.identifier(name)}, 0)`;
  const cost = costSql(column);
  const most = by === "cost" ? cost : column(by);
  // The cost is computed for the few that are shown, unless it is what they are sorted by.
  const found = await ask(sql`
    select json_build_object('id', t.id, 'slug', t.slug, 'name', t.name, 'plan', t.plan, 'status', t.status) as tenant,
      u.requests, u.refused, u.units, u.errors, u.bytes_out, u.db_ms, u.rows::float8, u.bytes_stored::float8,
      round((${cost})::numeric, 6)::text as cost
    from (select u.* from (${usedIn(period, now)}) u order by ${most} desc, u.tenant_id limit ${limit}) u
    join tenants t on t.id = u.tenant_id
    order by ${most} desc, u.tenant_id`);
  return v.parse(Heavy, found);
}

/** All tenants' usage together in each period of which anything is known, oldest first. */
export async function totalUsage({ granularity, first, last }: Periods) {
  const found = await ask(sql`
    select to_char(t.start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as start, t.tenants, t.active,
      t.requests::float8, t.refused::float8, t.units::float8, t.errors::float8, t.bytes_out::float8,
      t.rows::float8, t.bytes_stored::float8
    from usage_totals t where t.period = ${granularity} and t.start between ${first}::timestamptz and ${last}::timestamptz
    order by t.start`);
  return v.parse(Totals, found);
}
