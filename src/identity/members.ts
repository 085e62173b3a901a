import { and, eq, inArray, sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { MANAGES, ROLES, type Role } from "../authority.ts";
import { isRecent, type SignedIn } from "../caller.ts";
import { resettingFactors } from "../db/accounts.ts";
import { query, type Given, type Id } from "../db/query.ts";
import { memberships, users } from "../db/control.ts";
import { Problem } from "../problem.ts";
import { announce } from "../mail/mail.ts";
import type { IdentityDb, TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { newsOf, readNews } from "../tenant/news.ts";
import { tellTenant } from "../tenant/stub.ts";
import { insufficientScope } from "./bearer.ts";
import { ifActing, ownersOnly, refuseTo, stands } from "./acting.ts";

/** What is shown of a member. */
export const shownMember = {
  user_id: memberships.user_id,
  email: users.email,
  role: memberships.role,
  created_at: memberships.created_at,
  updated_at: memberships.updated_at,
};
const versioned = { ...shownMember, version: memberships.version };

const isMember = (userId: Id) => eq(memberships.user_id, userId);

const byUser = query((db, { userId }: Given<{ userId: string }>) =>
  db
    .select(versioned)
    .from(memberships)
    .innerJoin(users, eq(users.id, memberships.user_id))
    .where(isMember(userId)),
);

/** Whether a member of this role is changed and removed without a recent proof of who calls: owners are not. */
const isFree = (caller: SignedIn, role: Role) => role !== "owner" || isRecent(caller);
const stepUp = () => new Problem("step_up_required");

/** A member of the tenant. Throws `not_found`. */
export async function findMember(db: TenantDb, userId: string) {
  const { found } = await db.read({ found: byUser({ userId }) });
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

/**
 * Changes a member's role, on the caller's behalf, if `only` holds of the membership. Their API keys lose what the new
 * role does not allow, and their tokens are void: the tenant's object knows before this returns. Throws `not_found`,
 * `precondition_failed`, `last_owner`, `step_up_required` where it is about an owner, and `insufficient_scope` when the caller may
 * not.
 */
export async function changeMember(
  db: TenantDb,
  caller: SignedIn,
  userId: string,
  patch: { role?: Role | undefined },
  only?: SQL,
) {
  const manages = [...MANAGES[caller.role]];
  if (patch.role === "owner" && manages.includes("owner") && !isRecent(caller)) throw stepUp();
  const mayChange = manages.filter((role) => isFree(caller, role));
  const { acting, written, now } = await change(db, caller.tenantId, (q) => ({
    acting: q.execute(ifActing(caller)),
    written: q
      .update(memberships)
      .set({ ...patch, updated_at: sql`now()` })
      // The trigger lets everybody set their own role again, to void their tokens; to change a member takes more.
      .where(and(isMember(userId), stands(caller), inArray(memberships.role, mayChange), only))
      .returning({ user_id: memberships.user_id }),
    now: byUser({ userId }),
  })).catch(refuseTo(caller));
  if (acting.rows.length === 0) throw ownersOnly();
  if (!now[0]) throw new Problem("not_found");
  if (!manages.includes(now[0].role)) throw ownersOnly();
  if (!mayChange.includes(now[0].role)) throw stepUp();
  if (written.length === 0) throw new Problem("precondition_failed");
  return now[0];
}

/**
 * Removes a member, or has the caller leave, if `only` holds of the membership: the tenant's object knows before this
 * returns. Throws as changeMember() does.
 */
export async function removeMember(
  db: TenantDb,
  caller: SignedIn,
  userId: string,
  only?: SQL,
): Promise<void> {
  const mayRemove = ROLES.filter((role) => isFree(caller, role));
  const { acting, removed, there } = await change(db, caller.tenantId, (q) => ({
    acting: q.execute(ifActing(caller)),
    removed: q
      .delete(memberships)
      .where(and(isMember(userId), stands(caller), inArray(memberships.role, mayRemove), only))
      .returning({ user_id: memberships.user_id }),
    there: q.select({ role: memberships.role }).from(memberships).where(isMember(userId)),
  })).catch(refuseTo(caller));
  if (acting.rows.length === 0) throw ownersOnly();
  if (there[0] && !mayRemove.includes(there[0].role) && MANAGES[caller.role].includes(there[0].role))
    throw stepUp();
  if (there.length > 0) throw new Problem("precondition_failed");
  if (removed.length === 0) throw new Problem("not_found");
}

const There = v.object({
  email: v.string(),
  locale: v.nullable(v.string()),
  is_alone: v.nullable(v.boolean()),
});

/**
 * Removes a member's second factors, on an owner's behalf, so that they sign in without and add others: it is in the audit trail,
 * and they hear of it by mail. `db` is the tenant's, in the owner's name. Throws `not_found`, `member_elsewhere`, and
 * `insufficient_scope` when the caller is no owner.
 */
export async function resetMemberFactors(db: IdentityDb, caller: SignedIn, userId: string): Promise<void> {
  if (caller.role !== "owner") throw insufficientScope("Only an owner may remove a member's second factors.");
  const { before, within } = resettingFactors(caller.tenantId, userId, stands(caller));
  const done = await db.writeAfter(before, (q) => ({ ...within(q), news: newsOf({ after: 0 }) }));
  await tellTenant(caller.tenantId, readNews(done.news));
  if (done.acting.rows.length === 0) throw ownersOnly();
  const [member] = v.parse(v.array(There), done.there.rows);
  if (!member) throw new Problem("not_found");
  if (!member.is_alone) throw new Problem("member_elsewhere");
  announce("factorChanged", { email: member.email, what: "all_removed" }, member.locale);
}
