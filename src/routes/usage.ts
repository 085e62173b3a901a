import * as v from "valibot";
import { factory } from "../context.ts";
import { whileClosing } from "../edge/access.ts";
import { needs } from "../edge/needs.ts";
import { valid } from "../http/valid.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";
import { periodsOf, PeriodsQuery } from "../usage/periods.ts";
import { ownUsage, UsageReport } from "../usage/report.ts";
import { Uuid } from "../values.ts";

nameSchemas({ UsageReport });

const UsageQuery = v.object({
  ...PeriodsQuery.entries,
  /** Of this API key alone, by days. */
  api_key_id: v.optional(Uuid),
});

/** What the caller's own tenant has used, as far as its object has sent it: a minute ago at most. */
export const usageRoutes = factory.createApp().get(
  "/",
  operation("getTenantUsage", {
    summary: "What was used in each day or hour (UTC), periods without any use included",
    tag: "Tenant",
    answers: { 200: UsageReport },
  }),
  needs("usage:read"),
  whileClosing,
  valid("query", UsageQuery),
  async (c) => {
    const { api_key_id: key, ...asked } = c.req.valid("query");
    const periods = periodsOf(asked, Date.now());
    if (key !== undefined && periods.granularity === "hour")
      throw new Problem("invalid_input", {
        errors: [{ pointer: "/granularity", detail: "API keys are counted by days." }],
      });
    const { used } = await c.get("account").read({ used: ownUsage(periods, key) });
    return c.json({ data: v.parse(UsageReport.entries.data, used.rows) });
  },
);
