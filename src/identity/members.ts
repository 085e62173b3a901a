import { and, eq, inArray, sql, type SQL } from "drizzle-orm";
import { MANAGES, type Role } from "../authority.ts";
import type { SignedIn } from "../caller.ts";
import { query, type Given, type Id } from "../db/query.ts";
import { memberships, users } from "../db/control.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
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

/** A member of the tenant. Throws `not_found`. */
export async function findMember(db: TenantDb, userId: string) {
  const { found } = await db.read({ found: byUser({ userId }) });
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

/**
 * Changes a member's role, on the caller's behalf, if `only` holds of the membership. Their API keys lose what the new
 * role does not allow, and their tokens are void: the tenant's object knows before this returns. Throws `not_found`,
 * `precondition_failed`, `last_owner`, and `insufficient_scope` when the caller may not.
 */
export async function changeMember(
  db: TenantDb,
  caller: SignedIn,
  userId: string,
  patch: { role?: Role | undefined },
  only?: SQL,
) {
  const manages = [...MANAGES[caller.role]];
  const { acting, written, now } = await change(db, caller.tenantId, (q) => ({
    acting: q.execute(ifActing(caller)),
    written: q
      .update(memberships)
      .set({ ...patch, updated_at: sql`now()` })
      // The trigger lets everybody set their own role again, to void their tokens; to change a member takes more.
      .where(and(isMember(userId), stands(caller), inArray(memberships.role, manages), only))
      .returning({ user_id: memberships.user_id }),
    now: byUser({ userId }),
  })).catch(refuseTo(caller));
  if (acting.rows.length === 0) throw ownersOnly();
  if (!now[0]) throw new Problem("not_found");
  if (!manages.includes(now[0].role)) throw ownersOnly();
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
  const { acting, removed, there } = await change(db, caller.tenantId, (q) => ({
    acting: q.execute(ifActing(caller)),
    removed: q
      .delete(memberships)
      .where(and(isMember(userId), stands(caller), only))
      .returning({ user_id: memberships.user_id }),
    there: q.select({ user_id: memberships.user_id }).from(memberships).where(isMember(userId)),
  })).catch(refuseTo(caller));
  if (acting.rows.length === 0) throw ownersOnly();
  if (there.length > 0) throw new Problem("precondition_failed");
  if (removed.length === 0) throw new Problem("not_found");
}
