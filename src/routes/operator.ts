import { sql } from "drizzle-orm";
import * as v from "valibot";
import { factory, timed } from "../context.ts";
import { operatorDb, rethrow } from "../db/client.ts";
import { PLANS, TENANT_STATUSES } from "../db/control.ts";
import { edgeRecord } from "../db/edge-record.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { settings } from "../env.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { ById, valid } from "../http/valid.ts";
import { Problem } from "../problem.ts";
import { updateTenant } from "../tenant/stub.ts";
import { EdgeRecord, Policies } from "../tenant/record.ts";

const TenantChange = v.partial(
  v.strictObject({
    plan: v.picklist(PLANS),
    status: v.picklist(TENANT_STATUSES),
    /** Null for the plan's own. */
    limits: v.nullable(Policies),
  }),
);
/** Without its site, whose address is nobody's to know. */
const TenantRecord = v.omit(EdgeRecord, ["site", "epoch"]);
nameSchemas({ TenantChange, TenantRecord });

/** What the operator of this deployment does to tenants. In force, wherever they are called, once it is answered. */
export const operatorRoutes = factory.createApp().patch(
  "/tenants/:id",
  floodGuard,
  operatorOnly,
  operation("updateOperatorTenant", {
    summary: "Suspend or reinstate a tenant, or change its plan or its own limits",
    tag: "Operator",
    answers: { 200: TenantRecord },
    problems: ["unauthenticated", "not_found"],
    token: "operator",
  }),
  valid("param", ById),
  valid("json", TenantChange),
  async (c) => {
    const { id } = c.req.valid("param");
    const change = c.req.valid("json");
    const started = performance.now();
    // An operator sees no API keys, so the tenant's object reads the news by itself.
    const [, changed, heads] = await operatorDb
      .batch([
        operatorDb.execute(sql`select lock_outbox(${id})`),
        operatorDb.execute(sql`
          update tenants t set plan = coalesce(${change.plan ?? null}, plan),
            status = coalesce(${change.status ?? null}, status),
            limits = case when ${change.limits === undefined} then limits else ${JSON.stringify(change.limits ?? null)}::jsonb end
          where t.id = ${id} returning ${edgeRecord} as tenant`),
        operatorDb.execute(sql`select head::float8 from outbox_heads where tenant_id = ${id}`),
      ])
      .catch(rethrow);
    timed(c, "db", started);
    const [row] = v.parse(v.array(v.object({ tenant: TenantRecord })), changed.rows);
    const [told] = v.parse(v.array(v.object({ head: v.number() })), heads.rows);
    if (!row || !told) throw new Problem("not_found");
    await updateTenant(id, told.head);
    if (settings.LOG_REQUESTS)
      console.log(
        JSON.stringify({ message: "operator", request_id: c.get("requestId"), tenant: id, change }),
      );
    return c.json(row.tenant);
  },
);
