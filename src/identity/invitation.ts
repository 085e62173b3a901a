import { createHmac, randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { parse as parseUuid, stringify as toUuid, v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { Deadline } from "../deadline.ts";
import { invitations, sessions, TENANT_STATUSES } from "../db/control.ts";
import { Problem } from "../problem.ts";
import type { AccountDb } from "../tenant-db.ts";
import { newsOf, readNews } from "../tenant/news.ts";
import { tellTenant, updateTenant } from "../tenant/stub.ts";
import { openToken, sealToken, secretHash } from "./opaque-token.ts";
import { hashPassword } from "./password.ts";
import { firstRefreshToken } from "./refresh-token.ts";
import { grant, Member, member, newSession, type Grant } from "./session.ts";

/**
 * What an invitation's token says: of which tenant, which invitation, and for which email. That one is in the token,
 * which goes to that address and nowhere else, so that a password can be hashed before the database is asked.
 */
type Invitation = {
  tenantId: string;
  id: string;
  email: string;
  hash: Uint8Array;
  /** The secret of the session that it starts: the same each time, and known to this server alone. */
  sessionSecret: Buffer;
};

const UUID_BYTES = 16;
const SECRET_BYTES = 32;
const EMAIL_AT = 2 * UUID_BYTES + SECRET_BYTES;

/** A new token, and what the database keeps of it. */
export function makeInvitation(
  tenantId: string,
  email: string,
): { text: string; id: string; hash: Uint8Array } {
  const [id, secret] = [uuidv7(), randomBytes(SECRET_BYTES)];
  const body = Buffer.concat([parseUuid(tenantId), parseUuid(id), secret, Buffer.from(email)]);
  return { text: sealToken("invitation", body), id, hash: secretHash(secret) };
}

/** What a token says that this server made, else undefined. Only the database knows whether it is still good. */
export function readInvitation(text: string): Invitation | undefined {
  const opened = openToken("invitation", text);
  if (!opened) return undefined;
  const { body, key } = opened;
  return {
    tenantId: toUuid(body.subarray(0, UUID_BYTES)),
    id: toUuid(body.subarray(UUID_BYTES, 2 * UUID_BYTES)),
    hash: secretHash(body.subarray(2 * UUID_BYTES, EMAIL_AT)),
    email: body.toString("utf8", EMAIL_AT),
    sessionSecret: createHmac("sha256", key).update("invitation's session").update(body).digest(),
  };
}

const Held = v.object({ status: v.picklist(TENANT_STATUSES) });
const Started = v.object({ ...Member.entries, session_id: v.string() });
const Head = v.object({ tenant_id: v.string(), head: v.number() });

/**
 * Uses the invitation up: makes its email a member and starts a session, all or nothing. Its token was mailed to that
 * email, so whoever holds it owns the account: a password becomes the account's, and ends its earlier sessions in all
 * tenants; without one, the account has to be known as its email's already. `db` is the tenant's, in the name of the
 * invitation. Accepted again, it gives the same session until that is first refreshed. Returns when the objects of all
 * these tenants have confirmed it. Throws `invitation_gone`, `tenant_suspended`, `tenant_closing`, or `invalid_input` when it takes a password; the invitation then stays as it was.
 */
export async function acceptInvitation(
  db: AccountDb,
  invitation: Invitation,
  of: { password: string | undefined; host: string | undefined; userAgent: string; deadline: Deadline },
): Promise<Grant> {
  const { id, email, tenantId } = invitation;
  of.deadline.check();
  const hash = of.password === undefined ? null : await hashPassword(email, of.password);
  const refresh = firstRefreshToken(uuidv7(), invitation.sessionSecret);

  const isHere = sql`(${of.host ?? null}::text is null or t.slug = ${of.host ?? null})`;
  const isGood = sql`i.id = ${id} and i.token_hash = ${sql.param(invitation.hash, invitations.token_hash)}
    and i.expires_at > now() and t.id = i.tenant_id and ${isHere}`;
  const isOpen = sql`${isGood} and t.status = 'active'`;
  const setsPassword = sql`${isOpen} and ${hash}::text is not null`;
  const isAccount = sql`u.email = ${email} and u.issuer_id is null`;
  // In the tenant's context only members are seen, which the account is about to become.
  const account = sql`nullif(current_setting('app.account', true), '')::uuid`;
  // A password ends the account's sessions in all its tenants; without one, nothing changes elsewhere.
  const tenantsOfAccount = sql`select m.tenant_id from users u join memberships m on m.user_id = u.id
    where ${isAccount} and ${hash}::text is not null`;
  const {
    open,
    started: starts,
    heads,
    news,
  } = await db.writeAfter(
    (q) => ({
      // In one order. Of those who accept at once, the second one waits here, and then finds it used.
      "": q.execute(sql`
        select lock_outbox(tenant_id) from (select ${tenantId}::uuid as tenant_id union ${tenantsOfAccount} order by 1) as locked`),
      open: q.execute(sql`select t.status from invitations i, tenants t where ${isGood}`),
      account: q.execute(sql`
        insert into users (id, email, password_hash, email_verified_at)
        select ${uuidv7()}::uuid, i.email, ${hash}, now() from invitations i, tenants t where ${setsPassword}
        on conflict (email) where issuer_id is null
          do update set password_hash = excluded.password_hash, email_verified_at = excluded.email_verified_at`),
      others: q.execute(sql`
        update sessions s set revoked_at = now() from users u, invitations i, tenants t
        where ${setsPassword} and ${isAccount} and s.user_id = u.id and s.revoked_at is null`),
      member: q.execute(sql`
        select set_config('app.account', u.id::text, true) from users u, invitations i, tenants t
        where ${isOpen} and ${isAccount} and u.email_verified_at is not null`),
      heads: q.execute(sql`
        select h.tenant_id, h.head::float8 from outbox_heads h where h.tenant_id in (${tenantsOfAccount}) and h.tenant_id <> ${tenantId}`),
    }),
    (q) => ({
      // Somebody who is a member by now stays what they are.
      membership: q.execute(sql`
        insert into memberships (tenant_id, user_id, role) select i.tenant_id, ${account}, i.role
        from invitations i, tenants t where ${isOpen} and ${account} is not null
        on conflict (tenant_id, user_id) do nothing`),
      session: q.execute(sql`
        ${newSession(refresh, of.userAgent, { tenant: sql`t.id`, user: account })}
        from invitations i, tenants t where ${isOpen} and ${account} is not null`),
      invitation: q.execute(sql`
        delete from invitations where id = ${id} and exists (select from sessions where id = ${refresh.sessionId})`),
      // This session, or the one of the first acceptance, whose answer may have been lost.
      started: q.execute(sql`
        update sessions s set rotated_at = now()
        from users u join memberships m on m.user_id = u.id join tenants t on t.id = m.tenant_id
        where ${isAccount} and ${isHere} and s.tenant_id = m.tenant_id and s.user_id = m.user_id
          and s.refresh_hash = ${sql.param(refresh.hash, sessions.refresh_hash)} and s.generation = 0
          and s.revoked_at is null and s.expires_at > now() and (${hash}::text is null or u.password_hash = ${hash})
        returning ${member}, s.id as session_id`),
      news: newsOf({ tenantId, after: 0 }),
    }),
  );
  await Promise.all([
    tellTenant(tenantId, readNews(news)),
    ...v.parse(v.array(Head), heads.rows).map(({ tenant_id, head }) => updateTenant(tenant_id, head)),
  ]);

  const [started] = v.parse(v.array(Started), starts.rows);
  const [held] = v.parse(v.array(Held), open.rows);
  const status = started?.tenant.status ?? held?.status;
  if (!status) throw new Problem("invitation_gone");
  if (status !== "active") throw new Problem(`tenant_${status}`);
  if (!started) {
    const detail =
      "Choose a password of at least 8 characters: nobody has shown yet that this email is theirs.";
    throw new Problem("invalid_input", { errors: [{ pointer: "/password", detail }] });
  }
  return grant(started, firstRefreshToken(started.session_id, invitation.sessionSecret));
}
