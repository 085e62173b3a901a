import { and, eq, inArray, ne, sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { beginErasure } from "../db/across-tenants.ts";
import { tenants } from "../db/control.ts";
import { operatorDb, rethrow, sqlState } from "../db/client.ts";
import { edgeRecord } from "../db/edge-record.ts";
import { settings } from "../env.ts";
import { closedFor } from "../identity/refused.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { EdgeRecord } from "../tenant/record.ts";
import { updateTenant } from "../tenant/stub.ts";

/** What change_status() refuses. */
const CANNOT_FOLLOW = "PW008";

const closesAt = sql`now() + ${settings.CLOSING_GRACE_DAYS} * interval '1 day'`;

/** Throws `tenant_state` where the tenant's status is not one that this can follow. */
function refuseState(error: unknown): never {
  throw sqlState(error) === CANNOT_FOLLOW ? new Problem("tenant_state", { cause: error }) : error;
}

/**
 * Starts closing the caller's tenant, for its owner: nobody else gets in from now on, and after the grace period it is
 * erased. Again while it is closing it changes nothing. Throws `tenant_suspended`.
 */
export async function closeOwnTenant(account: TenantDb, tenantId: string): Promise<void> {
  const { now } = await change(account, tenantId, (q) => ({
    closed: q
      .update(tenants)
      .set({ status: "closing", closes_at: closesAt })
      .where(inArray(tenants.status, ["active", "read_only"])),
    now: q.select({ status: tenants.status, restores_to: tenants.restores_to }).from(tenants),
  }));
  const status = now[0]?.restores_to === "suspended" ? "suspended" : now[0]?.status;
  if (status && status !== "closing") throw closedFor(status);
}

/** Ends the closing of the caller's tenant, for its owner: it is as it was before. One that is not closing stays as it is. */
export async function restoreOwnTenant(account: TenantDb, tenantId: string): Promise<void> {
  await change(account, tenantId, (q) => ({
    "": q
      .update(tenants)
      .set({ status: sql`${tenants.restores_to}` })
      .where(and(eq(tenants.status, "closing"), ne(tenants.restores_to, "suspended"))),
  }));
}

const Changed = v.array(v.object({ tenant: v.omit(EdgeRecord, ["site", "epoch"]) }));
const Told = v.array(v.object({ head: v.number() }));

/** The tenant's record for its operator: without its site, whose address is nobody's to know. */
export type Operated = v.InferOutput<typeof Changed>[number]["tenant"];

/**
 * Changes a tenant's row for whoever operates the deployment: in force, wherever the tenant is called, when this returns.
 * Throws `not_found`, and `tenant_state` where a status does not follow the one before.
 */
export async function operateTenant(id: string, set: SQL): Promise<Operated> {
  // An operator sees no API keys, so the tenant's object reads the news by itself.
  const [, changed, heads] = await operatorDb
    .batch([
      operatorDb.execute(sql`select lock_outbox(${id})`),
      operatorDb.execute(sql`
        update tenants t set ${set} where t.id = ${id}
        returning ${edgeRecord}::jsonb || jsonb_build_object('status', t.status) as tenant`),
      operatorDb.execute(sql`select head::float8 from outbox_heads where tenant_id = ${id}`),
    ])
    .catch(rethrow)
    .catch(refuseState);
  const [row] = v.parse(Changed, changed.rows);
  const [told] = v.parse(Told, heads.rows);
  if (!row || !told) throw new Problem("not_found");
  await updateTenant(id, told.head);
  return row.tenant;
}

const Begun = v.array(v.object({ begun: v.boolean() }));

/**
 * Begins the erasure of a tenant for good, and has nobody get in from now on. Whatever is under way for it ends. Throws
 * `not_found`, and nothing when it is being erased already.
 */
export const eraseTenantNow = (id: string): Promise<void> => erase(id, "operator");

/** The same at the end of the grace period. Throws `tenant_state` when it is not over, as for a tenant just restored. */
export const eraseTenantInTime = (id: string): Promise<void> => erase(id, "time");

async function erase(id: string, by: "operator" | "time"): Promise<void> {
  const [erased, heads] = await beginErasure(id, by).catch(refuseState);
  const [row] = v.parse(Begun, erased.rows);
  const [told] = v.parse(Told, heads.rows);
  if (!row?.begun || !told) throw new Problem("not_found");
  await updateTenant(id, told.head);
}

/** What an UPDATE says to close a tenant; again, it closes when it was to. */
export const CLOSING = sql`status = 'closing', closes_at = ${closesAt}`;
/** To bring back what was before it was closing; of a tenant that is not, nothing. */
export const RESTORED = sql`status = coalesce(restores_to, status)`;
