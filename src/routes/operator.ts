import type { Context } from "hono";
import { desc, sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { factory, timed, type Edge } from "../context.ts";
import { operatorDb, rethrow } from "../db/client.ts";
import { erasures, PLANS } from "../db/control.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { settings } from "../env.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { ById, valid } from "../http/valid.ts";
import { CLOSING, operateTenant, RESTORED } from "../lifecycle/closing.ts";
import { eraseAtOnce } from "../lifecycle/sweep.ts";
import { TAKES } from "../operator.ts";
import { TENANT_STATUSES } from "../tenant-states.ts";
import { EdgeRecord, Policies } from "../tenant/record.ts";

const tag = "Operator";

const Reason = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(500));
const TenantChange = v.partial(
  v.strictObject({
    plan: v.picklist(PLANS),
    status: v.picklist(["active", "read_only", "suspended", "closing"]),
    /** Null for the plan's own. */
    limits: v.nullable(Policies),
    reason: Reason,
  }),
);
const WithReason = v.strictObject({ reason: Reason });
const TenantRecord = v.object({
  ...v.omit(EdgeRecord, ["site", "epoch"]).entries,
  status: v.picklist(TENANT_STATUSES),
});
const Erasing = v.object({ id: v.string(), receipt: v.null() });
const Listed = v.object({
  id: v.string(),
  receipt: v.nullable(v.string()),
  requested_at: v.string(),
  finished_at: v.nullable(v.string()),
});
const Erasures = v.object({ data: v.array(Listed), next_cursor: v.null() });
nameSchemas({ TenantChange, TenantRecord, WithReason, Erasing, Erasures });

/** Changes the tenant, and writes down what was done and why. */
async function operate(c: Context<Edge>, id: string, set: SQL, done: object) {
  const started = performance.now();
  const tenant = await operateTenant(id, set).finally(() => timed(c, "db", started));
  log(c, id, done);
  return tenant;
}

function log(c: Context<Edge>, tenant: string, change: object): void {
  if (!settings.LOG_REQUESTS) return;
  console.log(JSON.stringify({ message: "operator", request_id: c.get("requestId"), tenant, change }));
}

/** What the operator of this deployment does to tenants. In force, wherever they are called, once it is answered. */
export const operatorRoutes = factory
  .createApp()
  .patch(
    "/tenants/:id",
    floodGuard,
    operatorOnly(TAKES.changeTenant),
    operation("updateOperatorTenant", {
      summary: "Suspend or reinstate a tenant, or change its plan or its own limits",
      tag,
      answers: { 200: TenantRecord },
      problems: ["not_found", "tenant_state"],
      token: "operator",
    }),
    valid("param", ById),
    valid("json", TenantChange),
    async (c) => {
      const change = c.req.valid("json");
      const { plan, status, limits } = change;
      const set = [
        // Named though it stays, so that an empty change is an UPDATE too.
        sql`plan = coalesce(${plan ?? null}, plan)`,
        ...(limits === undefined
          ? []
          : [sql`limits = ${limits === null ? null : JSON.stringify(limits)}::jsonb`]),
        ...(status === undefined ? [] : [status === "closing" ? CLOSING : sql`status = ${status}`]),
      ];
      return c.json(await operate(c, c.req.valid("param").id, sql.join(set, sql`, `), change));
    },
  )
  .delete(
    "/tenants/:id",
    floodGuard,
    operatorOnly(TAKES.closeTenant),
    operation("deleteOperatorTenant", {
      summary: "Start closing a tenant: it is erased after a grace period",
      tag,
      answers: { 202: TenantRecord },
      problems: ["not_found", "tenant_state"],
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      const done = { status: "closing", ...c.req.valid("json") };
      return c.json(await operate(c, c.req.valid("param").id, CLOSING, done), 202);
    },
  )
  .post(
    "/tenants/:id/restore",
    floodGuard,
    operatorOnly(TAKES.restoreTenant),
    operation("restoreOperatorTenant", {
      summary: "Keep a tenant after all: end its closing",
      tag,
      answers: { 200: TenantRecord },
      problems: ["not_found", "tenant_state"],
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      const done = { status: "restored", ...c.req.valid("json") };
      return c.json(await operate(c, c.req.valid("param").id, RESTORED, done));
    },
  )
  .post(
    "/tenants/:id/erase",
    floodGuard,
    operatorOnly(TAKES.eraseTenant),
    operation("eraseOperatorTenant", {
      summary: "Erase a tenant at once, for good",
      tag,
      answers: { 202: Erasing },
      problems: ["not_found"],
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      const { id } = c.req.valid("param");
      await eraseAtOnce(id);
      log(c, id, { status: "erasing", ...c.req.valid("json") });
      return c.json({ id, receipt: null }, 202);
    },
  )
  .get(
    "/erasures",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorErasures", {
      summary: "List the latest 100 erasures",
      tag,
      answers: { 200: Erasures },
      token: "operator",
    }),
    async (c) => {
      const started = performance.now();
      const data = await operatorDb
        .select({
          id: erasures.id,
          receipt: erasures.receipt,
          requested_at: erasures.requested_at,
          finished_at: erasures.finished_at,
        })
        .from(erasures)
        .orderBy(desc(erasures.requested_at), desc(erasures.id))
        .limit(100)
        .catch(rethrow);
      timed(c, "db", started);
      return c.json({ data, next_cursor: null });
    },
  );
