import type { Context } from "hono";
import * as v from "valibot";
import { factory, forRequest, timed, type Edge } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { ById, valid } from "../http/valid.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { TAKES } from "../operator.ts";
import { Cost } from "../usage/cost.ts";
import { DaysQuery, monthOf, periodsOf, PeriodsQuery } from "../usage/periods.ts";
import { UsageReport } from "../usage/report.ts";
import { costOfTenant } from "../usage/tenant-cost.ts";
import {
  HEAVY_BY,
  HEAVY_PERIODS,
  heavyTenants,
  HeavyTenant,
  totalUsage,
  usageOfTenant,
  UsageTotal,
} from "../usage/tenants.ts";

const tag = "Operator";

const Heavy = v.object({ data: v.array(HeavyTenant) });
const Totals = v.object({ data: v.array(UsageTotal) });
nameSchemas({ Cost, HeavyTenant, UsageTotal });

const HeavyQuery = v.object({
  by: v.optional(v.picklist(HEAVY_BY), "requests"),
  period: v.optional(v.picklist(HEAVY_PERIODS), "day"),
  limit: v.optional(
    v.pipe(v.string(), v.regex(/^[1-9]\d{0,2}$/), v.transform(Number), v.maxValue(100)),
    "50",
  ),
});

/** The answer to one question to the database. */
async function timedAnswer<Answer>(c: Context<Edge>, answer: Promise<Answer>): Promise<Answer> {
  const started = performance.now();
  return answer.finally(() => timed(c, "db", started));
}

/** What tenants use and cost, for whoever operates the deployment. It reads figures, and no content. */
export const operatorUsageRoutes = factory
  .createApp()
  .get(
    "/tenants/:id/usage",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("getOperatorTenantUsage", {
      summary: "What a tenant used in each day or hour (UTC), as the tenant sees it",
      tag,
      answers: { 200: UsageReport },
      token: "operator",
    }),
    valid("param", ById),
    valid("query", PeriodsQuery),
    async (c) => {
      const periods = periodsOf(c.req.valid("query"), Date.now());
      return c.json({ data: await timedAnswer(c, usageOfTenant(c.req.valid("param").id, periods)) });
    },
  )
  .get(
    "/tenants/:id/cost",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("getOperatorTenantCost", {
      summary: "What a tenant costs by published prices, part by part; of this month unless days are named",
      description:
        "Where the tenant is alone in a Neon project that is known, what Neon bills is by Neon's own figures of that project: `neon` says of which days, or why not, and each part whose figures it is by.",
      tag,
      answers: { 200: Cost },
      token: "operator",
    }),
    valid("param", ById),
    valid("query", DaysQuery),
    async (c) => {
      const { from, to } = c.req.valid("query");
      const now = Date.now();
      const periods = periodsOf({ to, from: from ?? (to === undefined ? monthOf(now) : undefined) }, now);
      return c.json(await costOfTenant(c.req.valid("param").id, periods, { now, ...forRequest(c) }));
    },
  )
  .get(
    "/usage",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("getOperatorUsage", {
      summary: "What all tenants used together in each day or hour (UTC)",
      tag,
      answers: { 200: Totals },
      token: "operator",
    }),
    valid("query", PeriodsQuery),
    async (c) =>
      c.json({ data: await timedAnswer(c, totalUsage(periodsOf(c.req.valid("query"), Date.now()))) }),
  )
  .get(
    "/heavy",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorHeavyTenants", {
      summary: "The tenants that use most, now or over a period",
      tag,
      answers: { 200: Heavy },
      token: "operator",
    }),
    valid("query", HeavyQuery),
    async (c) => {
      const { by, period, limit } = c.req.valid("query");
      return c.json({ data: await timedAnswer(c, heavyTenants(by, period, limit, Date.now())) });
    },
  );
