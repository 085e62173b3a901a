import * as v from "valibot";
import { factory } from "../context.ts";
import { needs } from "../edge/needs.ts";
import { valid } from "../http/valid.ts";
import { operation } from "../openapi/operation.ts";
import { monthly } from "./billing.ts";
import { Currency } from "./input.ts";

const tag = { name: "Reports", description: "Sums of invoices." };
const Month = v.object({ month: v.string(), invoices: v.pipe(v.number(), v.integer()), total: v.string() });
const Report = v.object({ data: v.array(Month) });

export const reportRoutes = factory
  .createApp()
  .get(
    "/monthly",
    operation("getMonthlyReport", { summary: "Sent and paid, by month", tag, answers: { 200: Report } }),
    needs("reports:read"),
    valid("query", v.object({ currency: Currency })),
    async (c) => c.json(await c.get("db").read({ data: monthly(c.req.valid("query")) })),
  );
