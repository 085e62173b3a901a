import { factory, timed } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { ById, valid } from "../http/valid.ts";
import { operation } from "../openapi/operation.ts";
import { TAKES } from "../operator.ts";
import { Problem } from "../problem.ts";
import { Limits, shownLimits } from "../tenant/standings.ts";
import { standingsOf } from "../tenant/stub.ts";

/** What is left of tenants' limits at this moment, for operators: their objects are asked, and Postgres is not. */
export const operatorLimitRoutes = factory.createApp().get(
  "/:id/limits",
  floodGuard,
  operatorOnly(TAKES.read),
  operation("getOperatorTenantLimits", {
    summary: "What is left of each of a tenant's limits now; asking uses none of it",
    tag: "Operator",
    answers: { 200: Limits },
    problems: ["not_found"],
    token: "operator",
  }),
  valid("param", ById),
  async (c) => {
    const started = performance.now();
    const standings = await standingsOf(c.req.valid("param").id).finally(() => timed(c, "admit", started));
    if (!standings) throw new Problem("not_found");
    return c.json(shownLimits(standings));
  },
);
