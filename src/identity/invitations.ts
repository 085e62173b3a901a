import { and, eq, sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { MANAGES, type Role } from "../authority.ts";
import type { SignedIn } from "../caller.ts";
import { query, type Given, type Id } from "../db/query.ts";
import { invitations } from "../db/control.ts";
import { settings } from "../env.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { isActing, ownersOnly, vouchedBy } from "./acting.ts";
import { invalidToken } from "./bearer.ts";
import { makeInvitation } from "./invitation.ts";
import { requireMail, sendMail } from "../mail/mail.ts";
import { INVITATION_TTL_DAYS } from "./sealing.ts";

/** What the mail says of who invites, while they may. */
const Standing = v.object({ tenant: v.string(), inviter: v.string(), may_invite: v.boolean() });

/** What is shown of an invitation. */
export const shownInvitation = {
  id: invitations.id,
  email: invitations.email,
  role: invitations.role,
  invited_by: invitations.invited_by,
  expires_at: invitations.expires_at,
  created_at: invitations.created_at,
  updated_at: invitations.updated_at,
};
const versioned = { ...shownInvitation, version: invitations.version };

const isInvitation = (id: Id) => eq(invitations.id, id);

const byId = query((db, { id }: Given<{ id: string }>) =>
  db.select(versioned).from(invitations).where(isInvitation(id)),
);

/** An invitation that nobody has accepted. Throws `not_found`. */
export async function findInvitation(db: TenantDb, id: string) {
  const { found } = await db.read({ found: byId({ id }) });
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

/**
 * Invites somebody on the caller's behalf, and sends them the link; an earlier invitation of theirs is void from then on.
 * Throws `already_member`, `mail_not_sent`, `mail_not_set_up` and `email_not_verified`, and `insufficient_scope` for a role that the caller
 * may not give.
 */
export async function invite(db: TenantDb, caller: SignedIn, email: string, role: Role) {
  const { tenantId } = caller;
  if (!MANAGES[caller.role].includes(role)) throw ownersOnly();
  await requireMail(email);
  const { id, text, hash } = makeInvitation(tenantId, email);
  // Whoever an issuer vouches for has an address that the tenant's own issuer answers for.
  const mayInvite =
    settings.UNVERIFIED_MAY === "invite"
      ? sql`true`
      : sql`(${vouchedBy(caller)} is not null
        or exists (select from users v where v.id = ${caller.id} and (v.email_verified_at is not null or v.issuer_id is not null)))`;
  const isThere = sql`exists (select from memberships m join users u on u.id = m.user_id
    where u.email = ${email})`;
  const { made, standing } = await change(db, tenantId, (q) => ({
    inserted: q.execute(sql`
      insert into invitations (id, email, role, token_hash, invited_by, vouched_by, expires_at)
      select ${id}::uuid, ${email}, ${role}, ${sql.param(hash, invitations.token_hash)}::bytea,
        a.user_id, ${vouchedBy(caller)}, now() + ${INVITATION_TTL_DAYS} * interval '1 day'
      from memberships a where ${isActing(caller)} and not ${isThere} and ${mayInvite}
      on conflict (tenant_id, email) do update set id = excluded.id, role = excluded.role,
        token_hash = excluded.token_hash, invited_by = excluded.invited_by, vouched_by = excluded.vouched_by,
        expires_at = excluded.expires_at, created_at = excluded.created_at`),
    made: byId({ id }),
    standing: q.execute(sql`
      select t.name as tenant, u.email as inviter, ${mayInvite} as may_invite from tenants t join memberships a on a.tenant_id = t.id
        join users u on u.id = a.user_id where ${isActing(caller)}`),
  }));
  const [inviting] = v.parse(v.array(Standing), standing.rows);
  if (!inviting) throw invalidToken();
  const { may_invite: isAllowed, ...from } = inviting;
  if (!isAllowed) throw new Problem("email_not_verified");
  if (!made[0]) throw new Problem("already_member");
  await sendMail("invitation", { token: text, email, role, ...from });
  return made[0];
}

/** Revokes an invitation, if `only` holds of it. Throws `not_found` and `precondition_failed`. */
export async function deleteInvitation(
  db: TenantDb,
  tenantId: string,
  id: string,
  only?: SQL,
): Promise<void> {
  const { gone, there } = await change(db, tenantId, (q) => ({
    gone: q
      .delete(invitations)
      .where(and(isInvitation(id), only))
      .returning({ id: invitations.id }),
    there: q.select({ id: invitations.id }).from(invitations).where(isInvitation(id)),
  }));
  if (!gone[0]) throw new Problem(there[0] ? "precondition_failed" : "not_found");
}
