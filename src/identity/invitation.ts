import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { parse as parseUuid, stringify as toUuid, v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { TenantDb } from "../db/client.ts";
import { invitations, TENANT_STATUSES } from "../db/schema.ts";
import { Problem } from "../problem.ts";
import { NewPassword } from "./account.ts";
import { openToken, sealToken, secretHash } from "./opaque-token.ts";
import { hashPassword } from "./password.ts";
import { firstRefreshToken } from "./refresh-token.ts";
import { grant, Member, member, newSession, type Grant } from "./session.ts";

/**
 * What an invitation's token says: of which tenant, which invitation, and for which email. That one is in the token,
 * which goes to that address and nowhere else, so that a password can be hashed before the database is asked.
 */
type Invitation = { tenantId: string; id: string; email: string; hash: Uint8Array };

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
  const body = openToken("invitation", text)?.body;
  return (
    body && {
      tenantId: toUuid(body.subarray(0, UUID_BYTES)),
      id: toUuid(body.subarray(UUID_BYTES, 2 * UUID_BYTES)),
      hash: secretHash(body.subarray(2 * UUID_BYTES, EMAIL_AT)),
      email: body.toString("utf8", EMAIL_AT),
    }
  );
}

const Held = v.object({ status: v.picklist(TENANT_STATUSES) });

/**
 * Uses the invitation up: makes its email a member, and a user with this password if there is none, and starts a
 * session, all or nothing. `db` is its tenant's, in the name of the invitation. Undefined when the email's user has
 * another password. Throws `invitation_gone`, `tenant_suspended`, `tenant_closing`, or `invalid_input` for a password
 * that cannot be a new user's; the invitation then stays as it was.
 */
export async function acceptInvitation(
  db: TenantDb,
  invitation: Invitation,
  of: { password: string | undefined; host: string | undefined; userAgent: string },
): Promise<Grant | undefined> {
  const { id, email } = invitation;
  const hash = of.password === undefined ? null : await hashPassword(email, of.password);
  const newHash = v.is(NewPassword, of.password) ? hash : null;
  const refresh = firstRefreshToken(uuidv7());

  const isGood = sql`i.id = ${id} and i.token_hash = ${sql.param(invitation.hash, invitations.token_hash)}
    and i.expires_at > now() and t.id = i.tenant_id and (${of.host ?? null}::text is null or t.slug = ${of.host ?? null})`;
  const isOpen = sql`${isGood} and t.status = 'active'`;
  const isTheirs = sql`u.email = i.email and u.issuer_id is null and u.password_hash = ${hash}`;
  const [held, , , , , granted, known] = await db.write((tx) => [
    // Of those who accept at once, the second one waits here, and then finds it used.
    tx.execute(sql`select t.status from invitations i, tenants t where ${isGood} for update of i`),
    tx.execute(sql`
      insert into users (id, email, password_hash) select ${uuidv7()}::uuid, i.email, ${newHash}
      from invitations i, tenants t where ${isOpen} and ${newHash}::text is not null
      on conflict (email) where issuer_id is null do nothing`),
    // Somebody who is a member by now stays what they are; the UPDATE keeps them from being removed meanwhile.
    tx.execute(sql`
      insert into memberships (tenant_id, user_id, role) select i.tenant_id, u.id, i.role
      from invitations i, tenants t, users u where ${isOpen} and ${isTheirs}
      on conflict (tenant_id, user_id) do update set updated_at = now()`),
    tx.execute(sql`
      ${newSession(refresh, of.userAgent, { tenant: sql`t.id`, user: sql`u.id` })}
      from invitations i, tenants t, users u where ${isOpen} and ${isTheirs}`),
    tx.execute(sql`
      delete from invitations where id = ${id} and exists (select from sessions where id = ${refresh.sessionId})`),
    tx.execute(sql`
      select ${member} from sessions s join users u on u.id = s.user_id join tenants t on t.id = s.tenant_id
      join memberships m on m.tenant_id = s.tenant_id and m.user_id = s.user_id where s.id = ${refresh.sessionId}`),
    tx.execute(sql`select 1 from users where email = ${email} and issuer_id is null`),
  ]);

  const [tenant] = v.parse(v.array(Held), held.rows);
  if (!tenant) throw new Problem("invitation_gone");
  if (tenant.status !== "active") throw new Problem(`tenant_${tenant.status}`);
  const [who] = v.parse(v.array(Member), granted.rows);
  if (!who && known.rows.length === 0) {
    const detail = "This email has no user yet. Choose a password of at least 8 characters.";
    throw new Problem("invalid_input", { errors: [{ pointer: "/password", detail }] });
  }
  return who && grant(who, refresh);
}
