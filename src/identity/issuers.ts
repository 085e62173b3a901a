import { and, eq, sql, type SQL } from "drizzle-orm";
import type { IssuedRole } from "../authority.ts";
import type { SignedIn } from "../caller.ts";
import { violatedConstraint } from "../db/client.ts";
import { query, type Given, type Id } from "../db/query.ts";
import { issuers } from "../db/control.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { ifActing, isActing, refuseManaging, stands, vouchedBy } from "./acting.ts";
import { invalidToken } from "./bearer.ts";

/** Entries of an issuer's role map, and email domains. */
export const MAX_ENTRIES = 100;

/** What is shown of an issuer. */
export const shownIssuer = {
  id: issuers.id,
  issuer: issuers.issuer,
  audience: issuers.audience,
  role_claim: issuers.role_claim,
  role_map: issuers.role_map,
  default_role: issuers.default_role,
  email_domains: issuers.email_domains,
  just_in_time: issuers.just_in_time,
  registered_by: issuers.registered_by,
  status: sql<
    "active" | "suspended"
  >`case when ${issuers.suspended_at} is null then 'active' else 'suspended' end`,
  created_at: issuers.created_at,
  updated_at: issuers.updated_at,
};
const versioned = { ...shownIssuer, version: issuers.version };

/** What a tenant trusts an issuer with. */
type Rules = {
  role_claim?: string | null | undefined;
  default_role?: IssuedRole | null | undefined;
  email_domains?: string[] | undefined;
  just_in_time?: boolean | undefined;
};

const isIssuer = (id: Id) => eq(issuers.id, id);

const byId = query((db, { id }: Given<{ id: string }>) =>
  db.select(versioned).from(issuers).where(isIssuer(id)),
);

/** An issuer that the tenant trusts. Throws `not_found`. */
export async function findIssuer(db: TenantDb, id: string) {
  const { found } = await db.read({ found: byId({ id }) });
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

function refuseIssuer(error: unknown): never {
  if (violatedConstraint(error) === "issuers_issuer") throw new Problem("issuer_exists", { cause: error });
  if (violatedConstraint(error) === "role_map_size") throw tooLargeMap();
  // One of its users is an owner.
  return refuseManaging(error);
}

const tooLargeMap = () =>
  new Problem("invalid_input", {
    errors: [
      {
        pointer: "/role_map",
        detail: `The map would have more than ${MAX_ENTRIES} entries, or more than 16 KiB.`,
      },
    ],
  });

/** Has the tenant trust an issuer, on the caller's behalf. Throws `issuer_exists`. */
export async function createIssuer(
  db: TenantDb,
  caller: SignedIn,
  {
    issuer,
    audience,
    role_claim,
    role_map = {},
    ...trusted
  }: Rules & {
    issuer: string;
    audience: string;
    email_domains: string[];
    role_map?: Record<string, IssuedRole> | undefined;
  },
) {
  const { row } = await change(db, caller.tenantId, (q) => ({
    // The database gives the id.
    inserted: q.execute(sql`
      with made as (
        insert into issuers (issuer, audience, role_claim, role_map, default_role, email_domains,
        just_in_time, registered_by, vouched_by)
        select ${issuer}, ${audience}, ${role_claim ?? null},
        ${JSON.stringify(role_map)}::jsonb, ${trusted.default_role ?? null},
        ${sql.param(trusted.email_domains, issuers.email_domains)}::text[], ${trusted.just_in_time ?? false},
        a.user_id, ${vouchedBy(caller)} from memberships a where ${isActing(caller)}
        returning id
      )
      select set_config('app.made', id::text, true) from made`),
    row: q
      .select(versioned)
      .from(issuers)
      .where(eq(issuers.id, sql`nullif(current_setting('app.made', true), '')::uuid`)),
  })).catch(refuseIssuer);
  if (!row[0]) throw invalidToken();
  return row[0];
}

/**
 * Changes what an issuer is trusted with, if `only` holds of it, and ends the sessions that it vouched for: the tenant's
 * object knows before this returns. The caller answers for it from then on. Throws `not_found` and `precondition_failed`.
 */
export async function changeIssuer(
  db: TenantDb,
  caller: SignedIn,
  id: string,
  { role_map, ...patch }: Rules & { role_map?: Record<string, IssuedRole | null> | null | undefined },
  only?: SQL,
) {
  // A merge patch goes into the map as well: null removes one entry, or the whole map.
  const merged =
    role_map && sql`jsonb_strip_nulls(${issuers.role_map} || ${JSON.stringify(role_map)}::jsonb)`;
  const { acting, row, there } = await change(db, caller.tenantId, (q) => ({
    acting: q.execute(ifActing(caller)),
    row: q
      .update(issuers)
      .set({
        ...patch,
        ...(role_map !== undefined && { role_map: merged ?? {} }),
        registered_by: caller.id,
        vouched_by: vouchedBy(caller),
        suspended_at: null,
        updated_at: sql`now()`,
      })
      .where(and(isIssuer(id), stands(caller), only))
      .returning(versioned),
    there: q.select({ id: issuers.id }).from(issuers).where(isIssuer(id)),
  })).catch(refuseIssuer);
  if (acting.rows.length === 0) throw invalidToken();
  if (!row[0]) throw new Problem(there[0] ? "precondition_failed" : "not_found");
  return row[0];
}

/**
 * Ends the trust in an issuer, if `only` holds of it, with its users and the sessions that it vouched for: the tenant's
 * object knows before this returns. Throws `not_found`, `precondition_failed` and `last_owner`.
 */
export async function deleteIssuer(db: TenantDb, caller: SignedIn, id: string, only?: SQL): Promise<void> {
  const { acting, gone, there } = await change(db, caller.tenantId, (q) => ({
    acting: q.execute(ifActing(caller)),
    gone: q
      .delete(issuers)
      .where(and(isIssuer(id), stands(caller), only))
      .returning({ id: issuers.id }),
    there: q.select({ id: issuers.id }).from(issuers).where(isIssuer(id)),
  })).catch(refuseIssuer);
  if (acting.rows.length === 0) throw invalidToken();
  if (!gone[0]) throw new Problem(there[0] ? "precondition_failed" : "not_found");
}
