import * as v from "valibot";
import { factory, timed } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { ById, valid } from "../http/valid.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { TAKES } from "../operator.ts";
import { Problem } from "../problem.ts";
import { standingsOf } from "../tenant/stub.ts";

const LiveLimits = v.object({
  data: v.array(
    v.object({
      name: v.string(),
      limit: v.number(),
      window: v.union([v.number(), v.literal("month")]),
      remaining: v.number(),
      /** Seconds until more comes back. */
      reset: v.number(),
    }),
  ),
});
nameSchemas({ LiveLimits });

/** What is left of tenants' limits at this moment, for operators: their objects are asked, and Postgres is not. */
export const operatorLimitRoutes = factory.createApp().get(
  "/:id/limits",
  floodGuard,
  operatorOnly(TAKES.read),
  operation("getOperatorTenantLimits", {
    summary: "What is left of each of a tenant's limits now; asking uses none of it",
    tag: "Operator",
    answers: { 200: LiveLimits },
    problems: ["not_found"],
    token: "operator",
  }),
  valid("param", ById),
  async (c) => {
    const started = performance.now();
    const standings = await standingsOf(c.req.valid("param").id).finally(() => timed(c, "admit", started));
    if (!standings) throw new Problem("not_found");
    return c.json({
      data: standings.map(({ resetMs, ...standing }) => ({ ...standing, reset: Math.ceil(resetMs / 1000) })),
    });
  },
);
