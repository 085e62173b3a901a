import type pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { PLAN_POLICIES } from "../src/product/plans.ts";
import { inControl } from "./fleet.ts";
import { type Life, LIVES, livedBy, summed } from "./lives.ts";
import type { SiteVariables } from "./sites.ts";

const DAY_MS = 86_400_000;
const COMMAND_LINE = { actor_id: "00000000-0000-0000-0000-000000000000", actor: "command line" };

/**
 * Makes tenants that nobody calls or can sign in to, with months of usage, so that the operators' console has something to show:
 * once, and in one transaction. `now` is in ms.
 */
export async function seedLife(
  variables: Pick<SiteVariables, "MIGRATION_DATABASE_URL">,
  now = Date.now(),
): Promise<void> {
  await inControl(variables, async (control) => {
    const { rowCount } = await control.query("select from tenants where slug = $1", [LIVES[0]?.slug]);
    if (rowCount !== 0) return;
    await control.query("begin");
    for (const [table, rows] of Object.entries(rowsOf(now))) await insert(control, table, rows);
    await control.query(
      `select sum_usage(u.tenant_id, u.month) from (
         select distinct tenant_id, date_trunc('month', day::timestamp)::date as month from usage_days) u`,
    );
    await control.query("commit");
  });
}

/** Inserts these rows. Columns that the first one lacks have their defaults. */
async function insert(control: pg.Client, table: string, rows: readonly object[]): Promise<void> {
  const columns = Object.keys(rows[0] ?? {}).map((name) => control.escapeIdentifier(name));
  await control.query(
    `insert into ${control.escapeIdentifier(table)} (${columns.join(", ")})
     select ${columns.join(", ")} from jsonb_populate_recordset(null::${control.escapeIdentifier(table)}, $1)
     on conflict do nothing`,
    [JSON.stringify(rows)],
  );
}

const isoOf = (at: number) => new Date(at).toISOString();
const dayOf = (at: number) => isoOf(at).slice(0, 10);

/** The rows of all tables, in an order in which they refer to none that is not there yet. */
function rowsOf(now: number) {
  const all = LIVES.map((of, index) => {
    const created = now - of.weeks * 7 * DAY_MS;
    return { of, id: uuidv7({ msecs: created }), created, ...livedBy(of, index + 1, now) };
  });
  const people = all.flatMap(({ of, id, created }) =>
    Array.from({ length: of.members }, (_, member) => {
      const at = isoOf(created + member * 3 * DAY_MS < now ? created + member * 3 * DAY_MS : now);
      const role = member === 0 ? ("owner" as const) : ("member" as const);
      return {
        id: uuidv7(),
        tenant_id: id,
        role,
        email: `person-${member + 1}@${of.slug}.test`,
        created_at: at,
      };
    }),
  );
  /** @param all Periods of all tenants. */
  const totals = (period: "hour" | "day", periods: { at: number; requests: number }[][]) =>
    [...Map.groupBy(periods.flat() as ReturnType<typeof summed>[], ({ at }) => at)].map(([start, used]) => {
      const { at: _, ...figures } = summed(used, start);
      const tenants = all.filter(({ created }) => created <= start).length;
      return { period, start: isoOf(start), tenants, active: used.length, ...figures };
    });
  return {
    tenants: all.map(({ of, id, created }) => tenantOf(of, id, created, now)),
    users: people.map(({ id, email, created_at }) => ({ id, email, created_at, updated_at: created_at })),
    memberships: people.map(({ id, tenant_id, role, created_at }) => ({
      tenant_id,
      user_id: id,
      role,
      created_at,
      updated_at: created_at,
    })),
    operator_events: all.flatMap(({ of, id }, index) => eventsOf(of, id, now - (index + 2) * 1.7 * DAY_MS)),
    usage_days: all.flatMap(({ id, days }) =>
      days.map(({ at, ...figures }) => ({ tenant_id: id, day: dayOf(at), ...figures })),
    ),
    usage_hours: all.flatMap(({ id, hours }) =>
      hours.map(({ at, ...figures }) => ({ tenant_id: id, hour: isoOf(at), ...figures })),
    ),
    usage_totals: [
      ...totals(
        "day",
        all.map(({ days }) => days),
      ),
      ...totals(
        "hour",
        all.map(({ hours }) => hours),
      ),
    ],
  };
}

const PLANS = Object.keys(PLAN_POLICIES);
const planOf = ({ plan }: Life) => PLANS[Math.min(plan, PLANS.length - 1)];

function tenantOf(of: Life, id: string, created: number, now: number) {
  const status = of.ends?.[0] ?? "active";
  const isClosing = status === "closing";
  return {
    id,
    slug: of.slug,
    name: of.name,
    plan: planOf(of),
    status,
    site: "shared",
    closes_at: isClosing ? isoOf(now + (30 - of.silent) * DAY_MS) : null,
    restores_to: isClosing ? "active" : null,
    created_at: isoOf(created),
    updated_at: isoOf(created),
  };
}

/** What operators did to it: they changed its status. */
function eventsOf({ ends }: Life, tenant_id: string, at: number) {
  if (!ends) return [];
  const [status, reason] = ends;
  const action = status === "closing" ? "tenant.close" : "tenant.update";
  const change = { status: { from: "active", to: status } };
  return [
    { id: uuidv7({ msecs: at }), created_at: isoOf(at), ...COMMAND_LINE, action, tenant_id, reason, change },
  ];
}
