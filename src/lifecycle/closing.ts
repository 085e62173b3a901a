import { and, eq, inArray, ne, sql } from "drizzle-orm";
import * as v from "valibot";
import { beginErasure } from "../db/across-tenants.ts";
import { tenants } from "../db/control.ts";
import { sqlState } from "../db/client.ts";
import { eraseForOperator, type Act } from "../db/operators.ts";
import { settings } from "../env.ts";
import { closedFor } from "../identity/refused.ts";
import { SCRIPT } from "../operator.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { updateTenant } from "../tenant/stub.ts";

/** What change_status() refuses. */
const CANNOT_FOLLOW = "PW008";

const closesAt = sql`now() + ${settings.CLOSING_GRACE_DAYS} * interval '1 day'`;

/** Throws `tenant_state` where the tenant's status is not one that this can follow. */
export function refuseState(error: unknown): never {
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

const Begun = v.tuple([v.object({ begun: v.nullable(v.boolean()) })]);
const Heads = v.array(v.object({ head: v.number() }));

/**
 * Begins the erasure of a tenant for good, at the end of its grace period, and has nobody get in from now on. Whatever is under
 * way for it ends. Throws `not_found`, and `tenant_state` when the period is not over, as for a tenant just restored.
 */
export const eraseTenantInTime = (id: string): Promise<void> => erase(id, "time");

/** The same at once, for an operator. Does nothing when it is being erased already. */
export const eraseTenantNow = (id: string, act: Act): Promise<void> => erase(id, act);

/** Has a tenant erased again that a restored backup brought back. */
export const eraseTenantAgain = (id: string): Promise<void> => erase(id, CAME_BACK);

const CAME_BACK: Act = {
  operator: { ...SCRIPT, email: "sweep" },
  reason: "It was erased before, and a backup brought it back.",
  requestId: null,
};

async function erase(id: string, by: "time" | Act): Promise<void> {
  const [erased, heads] = await (by === "time" ? beginErasure(id) : eraseForOperator(id, by)).catch(
    refuseState,
  );
  const [{ begun }] = v.parse(Begun, erased.rows);
  const [told] = v.parse(Heads, heads.rows);
  if (!begun || !told) throw new Problem("not_found");
  await updateTenant(id, told.head);
}
