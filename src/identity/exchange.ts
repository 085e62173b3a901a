import { sql } from "drizzle-orm";
import * as v from "valibot";
import type { IssuedRole } from "../authority.ts";
import { ACCESS_TOKEN_TTL_S } from "../caller.ts";
import { member, OPEN, proof, provenNow } from "../db/across-tenants.ts";
import { edgeRecord } from "../db/edge-record.ts";
import type { TenantDb } from "../tenant-db.ts";
import { STATES } from "../tenant-states.ts";
import { change } from "../tenant/change.ts";
import { EdgeRecord } from "../tenant/record.ts";
import { closedFor } from "./refused.ts";
import { mintAccessToken } from "./access-token.ts";
import { Member } from "./session.ts";
import { NO_MEMBER, refusedToken, type Subject } from "./subject-token.ts";
import type { Trust } from "./trust.ts";

/** The access token and the role that an exchange gives. */
export type Exchange = { accessToken: string; role: IssuedRole };

const Held = v.object({ version: v.number(), tenant: EdgeRecord });
const Vouched = v.object({ ...Member.entries, session_id: v.string() });

/**
 * Starts a session of whoever the issuer says has come, all or nothing: its own user of that subject; else the
 * tenant's member with that email; else, where the tenant wants it, a new user. No user of another tenant, ever: that
 * email may be anyone's. `db` is the trusting tenant's, in the issuer's name. Undefined when the trust is not, or no
 * longer, what it was taken for. Throws `subject_token_refused`, and the problem of a tenant that cannot be entered.
 */
export async function exchange(
  db: TenantDb,
  { id: issuerId, tenant_id: tenantId, version }: Trust,
  { subject, email }: Subject,
  role: IssuedRole,
  of: { slug: string | undefined; userAgent: string },
): Promise<Exchange | undefined> {
  // The issuer as it was taken for, in a tenant that can be entered.
  const trusted = sql`issuers i join tenants t on t.id = i.tenant_id and t.status in ${OPEN}
    and (${of.slug ?? null}::text is null or t.slug = ${of.slug ?? null})
    and i.id = ${issuerId} and i.version = ${version} and i.suspended_at is null`;
  const own = sql`(select f.id from users f where f.issuer_id = ${issuerId} and f.subject = ${subject})`;
  const local = sql`(select l.id from users l join memberships lm on lm.user_id = l.id
    where l.issuer_id is null and l.email = ${email})`;
  const { held, vouched } = await change(db, tenantId, (q) => ({
    held: q.execute(sql`select i.version, ${edgeRecord} as tenant from issuers i join tenants t on t.id = i.tenant_id
      where i.id = ${issuerId} and (${of.slug ?? null}::text is null or t.slug = ${of.slug ?? null})`),
    user: q.execute(sql`insert into users (email, issuer_id, subject)
      select ${email}, i.id, ${subject} from ${trusted}
      where i.just_in_time and not exists ${own} and not exists ${local}`),
    // The role follows what the issuer says; but who was made an owner here stays one.
    membership: q.execute(sql`insert into memberships (user_id, role)
      select u.id, ${role} from ${trusted} join users u on u.id = ${own}
      where exists (select from memberships where user_id = u.id)
        or (i.just_in_time and not exists ${local})
      on conflict (tenant_id, user_id) do update set role = excluded.role
        where memberships.role not in (excluded.role, 'owner')`),
    email: q.execute(
      sql`update users u set email = ${email} from ${trusted} where u.id = ${own} and u.email <> ${email}`,
    ),
    // Each exchange makes one, so each clears away those that are over.
    expired: q.execute(sql`delete from sessions where issuer_id = ${issuerId}
      and user_id in (${own}, ${local}) and expires_at < now() - interval '1 minute'`),
    vouched: q.execute(sql`with who as (
        select ${member}, ${proof(provenNow())}, u.issuer_id is not null as own
        from ${trusted} join memberships m on m.tenant_id = i.tenant_id join users u on u.id = m.user_id
        where u.id in (${own}, ${local}) order by own desc limit 1
      ), s as (
        insert into sessions (user_id, issuer_id, user_agent, expires_at)
        select user_id, ${issuerId}::uuid, ${of.userAgent},
          now() + ${ACCESS_TOKEN_TTL_S} * interval '1 second' from who returning id
      )
      select who.*, s.id as session_id from who, s`),
  }));

  const [trust] = v.parse(v.array(Held), held.rows);
  if (trust?.version !== version) return undefined;
  if (STATES[trust.tenant.status].signsIn !== "members")
    throw closedFor(trust.tenant.status, { error: "invalid_target" });
  const [who] = v.parse(v.array(Vouched), vouched.rows);
  if (!who) throw refusedToken(NO_MEMBER);
  // Otherwise an admin could register an issuer and become owner by it.
  const granted = who.role === "owner" ? "admin" : who.role;
  const { user_id: userId, session_id: sessionId, version: userVersion, auth_time: authTime, amr } = who;
  return {
    accessToken: await mintAccessToken({
      tenantId,
      userId,
      sessionId,
      role: granted,
      version: userVersion,
      authTime,
      amr,
    }),
    role: granted,
  };
}
