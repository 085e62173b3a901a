import { sql } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { violatedConstraint } from "../db/client.ts";
import { query } from "../db/query.ts";
import { PLANS, tenants } from "../db/control.ts";
import { SITE_KINDS } from "../db/places.ts";
import { whileClosing } from "../edge/access.ts";
import { needs, recently } from "../edge/needs.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { valid } from "../http/valid.ts";
import { closeOwnTenant, restoreOwnTenant } from "../lifecycle/closing.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { TENANT_STATUSES } from "../tenant-states.ts";
import { NewSlug } from "../tenant/slug.ts";
import { Limits, shownLimits } from "../tenant/standings.ts";
import { change } from "../tenant/change.ts";
import { TenantName } from "../tenant/record.ts";

const tag = "Tenant";

const Tenant = v.object({
  id: v.string(),
  slug: v.string(),
  name: v.string(),
  plan: v.picklist(PLANS),
  status: v.picklist(TENANT_STATUSES),
  /** While it is closing: when it is erased. */
  closes_at: v.nullable(v.string()),
  /** How its content is kept, and where. */
  /** Whether its members sign in with a second factor. */
  require_second_factor: v.boolean(),
  placement: v.object({ kind: v.picklist(SITE_KINDS), region: v.nullable(v.string()) }),
  created_at: v.string(),
  updated_at: v.string(),
});
const TenantPatch = v.partial(
  v.strictObject({ name: TenantName, slug: NewSlug, require_second_factor: v.boolean() }),
);
nameSchemas({ Tenant, TenantPatch, Limits });

const shown = {
  id: tenants.id,
  slug: tenants.slug,
  name: tenants.name,
  plan: tenants.plan,
  status: tenants.status,
  closes_at: tenants.closes_at,
  require_second_factor: tenants.require_second_factor,
  placement: sql<{ kind: (typeof SITE_KINDS)[number]; region: string | null }>`(
    select json_build_object('kind', a.kind, 'region', a.region) from sites a where a.name = tenants.site)`,
  created_at: tenants.created_at,
  updated_at: tenants.updated_at,
  version: tenants.version,
};

const ownTenant = query((db) => db.select(shown).from(tenants));

async function shownTenant(account: TenantDb) {
  const { own } = await account.read({ own: ownTenant({}) });
  if (!own[0]) throw new Problem("not_found");
  return own[0];
}

/** Without the version, where the answer has no ETag. */
const plain = async (account: TenantDb) => {
  const { version: _, ...tenant } = await shownTenant(account);
  return tenant;
};

/** The caller's own tenant; the wall shows a request no other. */
export const tenantRoutes = factory
  .createApp()
  .get(
    "/",
    operation("getTenant", { summary: "The tenant", tag, row: Tenant }),
    needs("tenant:read"),
    whileClosing,
    async (c) => answerRow(c, await shownTenant(c.get("account"))),
  )
  .patch(
    "/",
    operation("updateTenant", {
      summary: "Rename the tenant, or require a second factor of its members (merge patch)",
      tag,
      row: Tenant,
      problems: ["slug_taken", "precondition_failed", "step_up_required"],
    }),
    needs("tenant:write"),
    valid("header", IfMatch),
    valid("json", TenantPatch),
    async (c) => {
      const { tenantId } = c.get("caller");
      const patch = c.req.valid("json");
      if (patch.require_second_factor !== undefined) recently(c.get("caller"));
      const { row } = await change(c.get("account"), tenantId, (q) => ({
        row: q
          .update(tenants)
          // `updated_at` is the trigger's; naming it keeps an empty patch a valid UPDATE.
          .set({ ...patch, updated_at: sql`now()` })
          .where(ifMatch(tenants, c.req.valid("header")))
          .returning(shown),
      })).catch((error: unknown) => {
        if (violatedConstraint(error) === "tenants_slug") throw new Problem("slug_taken", { cause: error });
        throw error;
      });
      if (!row[0]) throw new Problem("precondition_failed");
      return answerRow(c, row[0]);
    },
  )
  .delete(
    "/",
    operation("deleteTenant", {
      summary: "Start closing the tenant: it is erased after a grace period",
      tag,
      answers: { 202: Tenant },
      problems: ["step_up_required"],
    }),
    needs("tenant:delete"),
    whileClosing,
    async (c) => {
      await closeOwnTenant(c.get("account"), recently(c.get("caller")).tenantId);
      return c.json(await plain(c.get("account")), 202);
    },
  )
  .post(
    "/restore",
    operation("restoreTenant", {
      summary: "Keep the tenant after all: end its closing",
      tag,
      answers: { 200: Tenant },
    }),
    needs("tenant:delete"),
    whileClosing,
    async (c) => {
      await restoreOwnTenant(c.get("account"), c.get("caller").tenantId);
      return c.json(await plain(c.get("account")), 200);
    },
  )
  .get(
    "/limits",
    operation("getTenantLimits", { summary: "What is left of each limit", tag, answers: { 200: Limits } }),
    whileClosing,
    (c) => c.json(shownLimits(c.get("standings"))),
  );
