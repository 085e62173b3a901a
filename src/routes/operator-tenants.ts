import type { Context } from "hono";
import * as v from "valibot";
import { factory, forRequest, type Edge } from "../context.ts";
import { openOperatorDb } from "../db/client.ts";
import { JOB_KINDS, PLANS } from "../db/control.ts";
import type { Act } from "../db/operators.ts";
import { SITE_KINDS } from "../db/places.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { answerNew, answerRow, IfMatch, versionsOf } from "../http/etag.ts";
import { answerPage, pageOf, PageQuery } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { byIndex, listTenants, operatedTenant, SORTS } from "../lifecycle/operated.ts";
import { changeTenant, createTenant, endSessionsOf, exportForOperator } from "../lifecycle/operating.ts";
import { eraseAtOnce } from "../lifecycle/sweep.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { TAKES } from "../operator.ts";
import { Problem } from "../problem.ts";
import { TENANT_STATUSES } from "../tenant-states.ts";
import { Policies, TenantName } from "../tenant/record.ts";
import { NewSlug } from "../tenant/slug.ts";
import { Email } from "../values.ts";

const tag = "Operator";

/** What an operator says of why: it is in the operators' trail and in the tenant's. */
const Reason = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(500));
const WithReason = v.strictObject({ reason: Reason });
const TenantChange = v.strictObject({
  plan: v.optional(v.picklist(PLANS)),
  status: v.optional(v.picklist(["active", "read_only", "suspended", "closing"])),
  /** Null for the plan's own. */
  limits: v.optional(v.nullable(Policies)),
  reason: Reason,
});
const NewOperatedTenant = v.strictObject({
  name: TenantName,
  slug: NewSlug,
  plan: v.picklist(PLANS),
  owner_email: Email,
  reason: v.optional(Reason),
});
const Tenant = {
  id: v.string(),
  slug: v.string(),
  name: v.string(),
  plan: v.picklist(PLANS),
  status: v.picklist(TENANT_STATUSES),
  placement: v.object({ kind: v.picklist(SITE_KINDS), region: v.nullable(v.string()) }),
  created_at: v.string(),
  closes_at: v.nullable(v.string()),
};
/** The figures are of this month (UTC), what is stored and the cost too. */
const ListedTenant = v.object({
  ...Tenant,
  requests: v.number(),
  refused: v.number(),
  rows: v.number(),
  bytes_stored: v.number(),
  cost: v.string(),
});
const OperatedTenant = v.object({
  ...Tenant,
  limits: v.nullable(Policies),
  members: v.number(),
  /** What is under way for the tenant as a whole. */
  job: v.nullable(v.object({ id: v.string(), kind: v.picklist(JOB_KINDS), started_at: v.string() })),
});
const Erasing = v.object({ id: v.string(), receipt: v.null() });
const Begun = v.object({ id: v.string() });
nameSchemas({ TenantChange, NewOperatedTenant, ListedTenant, OperatedTenant, WithReason, Erasing, Begun });

const ListQuery = v.object({
  ...PageQuery.entries,
  /** Of the name or the slug, in upper or lower case, or the id. */
  search: v.optional(v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(100))),
  status: v.optional(v.picklist(TENANT_STATUSES)),
  plan: v.optional(v.picklist(PLANS)),
  placement: v.optional(v.picklist(SITE_KINDS)),
  sort: v.optional(v.picklist(SORTS), "-created_at"),
});

const dbOf = (c: Context<Edge>) => openOperatorDb(forRequest(c));
const actOf = (c: Context<Edge>, reason: string | undefined): Act => ({
  operator: c.get("operator"),
  reason: reason ?? null,
  requestId: c.get("requestId"),
});

/** What operators see of tenants, and do to them. In force, wherever a tenant is called, once it is answered. */
export const operatorTenantRoutes = factory
  .createApp()
  .get(
    "/",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorTenants", {
      summary: "List the tenants",
      tag,
      answers: { 200: pageOf(ListedTenant) },
      token: "operator",
    }),
    valid("query", ListQuery),
    (c) =>
      answerPage(
        c,
        async (page) => {
          const { found } = await dbOf(c).read({ "": byIndex({}), found: listTenants(page) });
          return found;
        },
        {
          reader: "operator",
          place: ({ place }) => place,
          show: (row) => {
            const { place: _, ...tenant } = row;
            return tenant;
          },
        },
      ),
  )
  .post(
    "/",
    floodGuard,
    operatorOnly(TAKES.createTenant),
    operation("createOperatorTenant", {
      summary: "Make a tenant, and mail an invitation to its first owner; sent again, it invites them again",
      tag,
      made: OperatedTenant,
      problems: ["slug_taken", "mail_not_sent", "mail_not_set_up"],
      token: "operator",
    }),
    valid("json", NewOperatedTenant),
    async (c) => {
      const { reason, ...tenant } = c.req.valid("json");
      return answerNew(c, await createTenant(dbOf(c), actOf(c, reason), tenant));
    },
  )
  .get(
    "/:id",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("getOperatorTenant", {
      summary: "Read a tenant: what is stored of it, and nothing that it stores",
      tag,
      row: OperatedTenant,
      token: "operator",
    }),
    valid("param", ById),
    async (c) => {
      const { found } = await dbOf(c).read({ found: operatedTenant(c.req.valid("param").id) });
      if (!found[0]) throw new Problem("not_found");
      return answerRow(c, found[0]);
    },
  )
  .patch(
    "/:id",
    floodGuard,
    operatorOnly(TAKES.changeTenant),
    operation("updateOperatorTenant", {
      summary: "Suspend or reinstate a tenant, or change its plan or its own limits",
      tag,
      row: OperatedTenant,
      problems: ["tenant_state", "precondition_failed"],
      token: "operator",
    }),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", TenantChange),
    async (c) => {
      const { reason, ...change } = c.req.valid("json");
      const { id } = c.req.valid("param");
      const versions = versionsOf(c.req.valid("header"));
      const action = change.status === "closing" ? "tenant.close" : "tenant.update";
      return answerRow(c, await changeTenant(dbOf(c), id, actOf(c, reason), action, change, versions));
    },
  )
  .delete(
    "/:id",
    floodGuard,
    operatorOnly(TAKES.closeTenant),
    operation("deleteOperatorTenant", {
      summary: "Start closing a tenant: it is erased after a grace period",
      tag,
      answers: { 202: OperatedTenant },
      problems: ["tenant_state"],
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      const act = actOf(c, c.req.valid("json").reason);
      const { version: _, ...tenant } = await changeTenant(
        dbOf(c),
        c.req.valid("param").id,
        act,
        "tenant.close",
        { status: "closing" },
      );
      return c.json(tenant, 202);
    },
  )
  .post(
    "/:id/restore",
    floodGuard,
    operatorOnly(TAKES.restoreTenant),
    operation("restoreOperatorTenant", {
      summary: "Keep a tenant after all: end its closing",
      tag,
      answers: { 200: OperatedTenant },
      problems: ["tenant_state"],
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      const act = actOf(c, c.req.valid("json").reason);
      const { version: _, ...tenant } = await changeTenant(
        dbOf(c),
        c.req.valid("param").id,
        act,
        "tenant.restore",
        {},
      );
      return c.json(tenant);
    },
  )
  .post(
    "/:id/erase",
    floodGuard,
    operatorOnly(TAKES.eraseTenant),
    operation("eraseOperatorTenant", {
      summary: "Erase a tenant at once, for good",
      tag,
      answers: { 202: Erasing },
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      const { id } = c.req.valid("param");
      await eraseAtOnce(id, actOf(c, c.req.valid("json").reason));
      return c.json({ id, receipt: null }, 202);
    },
  )
  .post(
    "/:id/exports",
    floodGuard,
    operatorOnly(TAKES.startExport),
    operation("createOperatorExport", {
      summary: "Begin an export of a tenant, which its own people see and download",
      tag,
      answers: { 202: Begun },
      problems: ["tenant_state", "job_under_way"],
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      const act = actOf(c, c.req.valid("json").reason);
      return c.json(await exportForOperator(dbOf(c), c.req.valid("param").id, act), 202);
    },
  )
  .delete(
    "/:id/sessions",
    floodGuard,
    operatorOnly(TAKES.endSessions),
    operation("deleteOperatorTenantSessions", {
      summary: "End all sessions of a tenant's people in it",
      tag,
      answers: { 204: null },
      token: "operator",
    }),
    valid("param", ById),
    valid("json", WithReason),
    async (c) => {
      await endSessionsOf(dbOf(c), c.req.valid("param").id, actOf(c, c.req.valid("json").reason));
      return c.body(null, 204);
    },
  );
