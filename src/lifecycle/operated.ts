import { and, eq, isNull, sql, type SQL } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import { jobs, sites, tenants, usageMonths } from "../db/control.ts";
import { SITE_KINDS } from "../db/places.ts";
import { builder, query } from "../db/query.ts";
import type { PageStart } from "../http/page.ts";
import type { TenantStatus } from "../tenant-states.ts";
import { costSql } from "../usage/cost.ts";
import { monthOf } from "../usage/periods.ts";

// What operators read of tenants: metadata, and no content.

const placement = sql<{ kind: (typeof SITE_KINDS)[number]; region: string | null }>`
  json_build_object('kind', ${sites.kind}, 'region', ${sites.region})`;

const listed = {
  id: tenants.id,
  slug: tenants.slug,
  name: tenants.name,
  plan: tenants.plan,
  status: tenants.status,
  placement,
  created_at: tenants.created_at,
  closes_at: tenants.closes_at,
};

/** What is under way for the tenant as a whole. */
const job = sql<{ id: string; kind: string; started_at: string } | null>`(
  select json_build_object('id', ${jobs.id}, 'kind', ${jobs.kind},
    'started_at', to_char(${jobs.started_at} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
  from ${jobs} where ${and(eq(jobs.tenant_id, tenants.id), isNull(jobs.finished_at))})`;

/** One tenant as operators see it, with its version. */
export const operatedTenant = (id: string) =>
  builder
    .select({
      ...listed,
      limits: tenants.limits,
      members: sql<number>`(select count(*) from memberships m where m.tenant_id = ${tenants.id})`.mapWith(
        Number,
      ),
      job,
      version: tenants.version,
    })
    .from(tenants)
    .innerJoin(sites, eq(sites.name, tenants.site))
    .where(eq(tenants.id, id));

/** A figure of this month; of a tenant that nobody has used, none. */
const figure = (column: PgColumn) => sql<number>`coalesce(${column}, 0)`;
const cost = costSql((of) => figure(usageMonths[of]));
/** What the tenant used this month, and what it stores. */
const used = {
  requests: figure(usageMonths.requests).mapWith(Number),
  refused: figure(usageMonths.refused).mapWith(Number),
  rows: figure(usageMonths.rows).mapWith(Number),
  bytes_stored: figure(usageMonths.bytes_stored).mapWith(Number),
  cost: sql<string>`round((${cost})::numeric, 6)::text`,
};

/** What the list is sorted by: a column, or what is made of some. With the id it is the key that a page goes on from. */
type Order = { by: SQL | PgColumn };

/** The orders of the list. Those of the tenants' own columns have an index; figures of the month are read for all of them. */
const ORDERS = {
  name: { by: sql`lower(${tenants.name})` },
  created_at: { by: tenants.created_at },
  requests: { by: figure(usageMonths.requests) },
  refused: { by: figure(usageMonths.refused) },
  rows: { by: figure(usageMonths.rows) },
  bytes_stored: { by: figure(usageMonths.bytes_stored) },
  cost: { by: cost },
} as const satisfies Record<string, Order>;

type Sort = keyof typeof ORDERS | `-${keyof typeof ORDERS}`;

/** What `?sort=` takes: each order, and with `-` its reverse. */
export const SORTS = Object.keys(ORDERS).flatMap((name) => [name, `-${name}`]) as [Sort, ...Sort[]];

export type TenantFilters = {
  sort: Sort;
  search?: string | undefined;
  status?: TenantStatus | undefined;
  plan?: string | undefined;
  placement?: (typeof SITE_KINDS)[number] | undefined;
};

/**
 * Has the list read by the index of its order. By its own reckoning Postgres reads and sorts all tenants: it expects the wall's
 * policies to leave a few.
 */
export const byIndex = query((db) => db.execute(sql`select set_config('enable_sort', 'off', true)`));

/** One page of the tenants, each with what it used in the month of now and its `place` in this order. */
export function listTenants({ sort, search, after, after_id, rows, ...filters }: TenantFilters & PageStart) {
  const isRising = !sort.startsWith("-");
  const { by }: Order = ORDERS[sort.replace("-", "") as keyof typeof ORDERS];
  const [isLater, direction] = isRising ? [sql`>`, sql`asc`] : [sql`<`, sql`desc`];
  const holds = (column: SQL) => sql`position(lower(${search}) in ${column}) > 0`;
  return builder
    .select({ ...listed, ...used, place: sql<string>`(${by})::text` })
    .from(tenants)
    .innerJoin(sites, eq(sites.name, tenants.site))
    .leftJoin(
      usageMonths,
      and(eq(usageMonths.tenant_id, tenants.id), eq(usageMonths.month, monthOf(Date.now()))),
    )
    .where(
      and(
        search === undefined
          ? undefined
          : sql`(${holds(sql`lower(${tenants.name})`)} or ${holds(sql`${tenants.slug}`)} or ${tenants.id}::text = lower(${search}))`,
        filters.status && eq(tenants.status, filters.status),
        filters.plan === undefined ? undefined : sql`${tenants.plan} = ${filters.plan}`,
        filters.placement && eq(sites.kind, filters.placement),
        after_id === undefined ? undefined : sql`(${by}, ${tenants.id}) ${isLater} (${after}, ${after_id})`,
      ),
    )
    .orderBy(sql`${by} ${direction}`, sql`${tenants.id} ${direction}`)
    .limit(rows);
}
