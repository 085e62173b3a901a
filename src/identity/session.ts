import { sql, type SQL } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { ACCESS_TOKEN_TTL_S } from "../caller.ts";
import { identityDb, rethrow, violatedConstraint } from "../db/client.ts";
import { Problem } from "../problem.ts";
import { SIGNUP_PLAN } from "../product/plans.ts";
import { EdgeRecord, edgeRecord } from "../tenant/record.ts";
import { mintAccessToken } from "./access-token.ts";
import { firstRefreshToken, readRefreshToken, type RefreshToken } from "./refresh-token.ts";

const REFRESH_TTL_S = 30 * 24 * 3600;

/** A session as the API answers it (API.md). */
export const Session = v.object({
  access_token: v.string(),
  token_type: v.literal("Bearer"),
  expires_in: v.number(),
  refresh_token: v.string(),
  session: v.object({ id: v.pipe(v.string(), v.uuid()) }),
  user: v.object({ id: v.pipe(v.string(), v.uuid()), email: v.string() }),
  tenant: v.object({
    id: v.pipe(v.string(), v.uuid()),
    slug: v.string(),
    name: v.string(),
    role: v.picklist(ROLES),
  }),
});
export type Session = v.InferOutput<typeof Session>;

/** A session just granted, with the tenant's record, which its Durable Object is to learn before the answer. */
export type Grant = { session: Session; record: EdgeRecord };

export const Member = v.object({
  user_id: v.string(),
  email: v.string(),
  version: v.number(),
  role: v.picklist(ROLES),
  tenant: EdgeRecord,
});
const Found = v.object({ members: v.array(Member), is_host: v.boolean() });
const NOBODY: v.InferOutput<typeof Found> = { members: [], is_host: true };

/** What a statement that starts a session answers of its member (a Member), from the aliases u, m and t. */
export const member = sql`u.id as user_id, u.email, u.version, m.role, ${edgeRecord} as tenant`;

/** The INSERT of the session that a refresh token is the first of, up to its FROM. */
export const newSession = (
  { sessionId, hash }: RefreshToken,
  userAgent: string,
  of: { tenant: SQL; user: SQL },
) => sql`
  insert into sessions (id, tenant_id, user_id, refresh_hash, user_agent, expires_at)
  select ${sessionId}::uuid, ${of.tenant}, ${of.user}, ${hex(hash)}::bytea, ${userAgent},
    now() + ${REFRESH_TTL_S} * interval '1 second'`;

type SignUp = { email: string; hash: string; slug: string; name: string; userAgent: string };

/**
 * Makes a tenant on the plan `solo` with its owner and a session, in one statement: all or nothing. An email that
 * exists gets the tenant added if the hash is its password's, else undefined. The same sign-up again within a day, as
 * after a lost answer, starts a session in the tenant that the first one made. Throws `slug_taken`.
 */
export async function signUp(of: SignUp): Promise<Grant | undefined> {
  const [userId, tenantId, refresh] = [uuidv7(), uuidv7(), firstRefreshToken(uuidv7())];
  // Rows that a WITH query has just made are not seen by the others, so the record is built from RETURNING.
  const { rows } = await identityDb
    .execute(sql`
      with u as (
        insert into users (id, email, password_hash) values (${userId}, ${of.email}, ${of.hash})
        on conflict (email) where issuer_id is null do update set email = excluded.email where users.password_hash = excluded.password_hash
        returning id, email, version
      ), t as (
        insert into tenants (id, slug, name, plan)
        select ${tenantId}::uuid, ${of.slug}, ${of.name}, ${SIGNUP_PLAN} from u returning *
      ), m as (
        insert into memberships (tenant_id, user_id, role) select t.id, u.id, 'owner' from t, u returning role
      ), s as (
        ${newSession(refresh, of.userAgent, { tenant: sql`t.id`, user: sql`u.id` })} from t, u, m returning id
      )
      select ${member} from u, t, m, s`)
    .catch((error: unknown) => {
      if (violatedConstraint(error) === "tenants_slug") return { rows: "taken" as const };
      return rethrow(error);
    });
  if (rows === "taken") return signUpAgain(of);
  return rows[0] && grant(v.parse(Member, rows[0]), refresh);
}

/** Starts a session in the tenant that the same sign-up has made. Throws `slug_taken` when another one made it. */
async function signUpAgain({ email, hash, slug, name, userAgent }: SignUp): Promise<Grant> {
  const { members, refresh } = await startSession(
    sql`u.email = ${email} and u.issuer_id is null and u.password_hash = ${hash} and t.slug = ${slug} and t.name = ${name}
      and m.role = 'owner' and m.created_at = t.created_at and t.created_at > now() - interval '1 day'`,
    userAgent,
  );
  if (!members[0]) throw new Problem("slug_taken");
  return grant(members[0], refresh);
}

/**
 * Starts a session for the password's hash, in one statement. Undefined when email and password do not belong
 * together, or the user is not in `slug`. Throws `invalid_input` when a slug is needed to tell which tenant, and
 * `not_found` when there is none of that slug and the request's host said it.
 */
export async function signIn(of: {
  email: string;
  hash: string;
  slug: string | undefined;
  isHost: boolean;
  userAgent: string;
}): Promise<Grant | undefined> {
  const slug = of.slug ?? null;
  const { members, refresh } = await startSession(
    sql`u.email = ${of.email} and u.password_hash = ${of.hash} and (${slug}::text is null or t.slug = ${slug})`,
    of.userAgent,
    of.isHost ? slug : null,
  );
  if (members.length > 1) {
    const slugs = members.map(({ tenant }) => tenant.slug).join(", ");
    throw new Problem("invalid_input", {
      errors: [{ pointer: "/tenant", detail: `Say which tenant: ${slugs}.` }],
    });
  }
  return members[0] && grant(members[0], refresh);
}

/**
 * Starts a session of the same user in another tenant that it belongs to, in one statement; undefined when it does not.
 * Not from a session that one tenant's issuer vouched for: that is worth nothing elsewhere.
 */
export async function switchTenant(of: {
  userId: string;
  sessionId: string;
  slug: string;
  userAgent: string;
}): Promise<Grant | undefined> {
  const { members, refresh } = await startSession(
    sql`u.id = ${of.userId} and t.slug = ${of.slug} and exists (select from sessions
      where id = ${of.sessionId} and user_id = u.id and issuer_id is null and revoked_at is null)`,
    of.userAgent,
  );
  return members[0] && grant(members[0], refresh);
}

/**
 * Starts a session for the one member that the condition finds, of the aliases u, m and t, in an active tenant.
 * Returns all those in active tenants, by slug. Throws `tenant_suspended` or `tenant_closing` when only others are found,
 * and `not_found` when no tenant has the slug of the request's host.
 */
async function startSession(condition: SQL, userAgent: string, host: string | null = null) {
  const refresh = firstRefreshToken(uuidv7());
  const { rows } = await identityDb
    .execute(sql`
      with who as (
        select ${member} from users u join memberships m on m.user_id = u.id join tenants t on t.id = m.tenant_id
        where ${condition}
      ), s as (
        ${newSession(refresh, userAgent, { tenant: sql`(tenant->>'id')::uuid`, user: sql`user_id` })}
        from who where tenant->>'status' = 'active' and (select count(*) from who where tenant->>'status' = 'active') = 1
      )
      select coalesce((select json_agg(who order by tenant->>'slug') from who), '[]') as members,
        ${host}::text is null or exists (select from tenants where slug = ${host}) as is_host`)
    .catch((error: unknown) => {
      // Whoever was removed meanwhile is no member.
      if (violatedConstraint(error) === "sessions_membership") return { rows: [NOBODY] };
      return rethrow(error);
    });
  const [{ members, is_host }] = v.parse(v.tuple([Found]), rows);
  if (!is_host) throw new Problem("not_found");
  const enterable = members.filter(({ tenant }) => tenant.status === "active");
  const [who] = members;
  if (who && who.tenant.status !== "active" && enterable.length === 0)
    throw new Problem(`tenant_${who.tenant.status}`);
  return { members: enterable, refresh };
}

/** That a session is revoked, now or since an earlier request: its tenant's object is to confirm it before the answer. */
export type Revoked = { tenantId: string; head: number };
const RevokedRow = v.object({ tenant_id: v.string(), head: v.number() });

/**
 * Replaces a refresh token by its successor, in one transaction. The token before the last gets the same successor until
 * that one is first used, for a second tab and for an answer that was lost, however late; any older one is a stolen
 * token at work, and revokes the session. Undefined when refused, as at the host of another tenant.
 */
export async function refreshSession(
  text: string,
  host: string | undefined,
): Promise<Grant | Revoked | undefined> {
  const tokens = readRefreshToken(text);
  if (!tokens) return undefined;
  const { presented, successor } = tokens;
  const isNewest = sql`(s.generation = ${presented.generation} and s.refresh_hash = ${hex(presented.hash)}::bytea)`;
  const isRepeat = sql`(s.generation = ${successor.generation} and s.refresh_hash = ${hex(successor.hash)}::bytea)`;
  const isThis = sql`s.id = ${presented.sessionId}`;
  const [, refreshed, revoked] = await identityDb
    .batch([
      identityDb.execute(sql`
        select lock_outbox(s.tenant_id) from sessions s where ${isThis} and not (${isNewest} or ${isRepeat})`),
      // One UPDATE, so that of two at once the second one judges the row that the first one left.
      identityDb.execute(sql`
        update sessions s set
          revoked_at = case when ${isNewest} or ${isRepeat} then null else now() end,
          rotated_at = now(),
          expires_at = case when ${isNewest} then now() + ${REFRESH_TTL_S} * interval '1 second' else s.expires_at end,
          generation = case when ${isNewest} then ${successor.generation} else s.generation end,
          refresh_hash = case when ${isNewest} then ${hex(successor.hash)}::bytea else s.refresh_hash end
        from users u, memberships m, tenants t
        where ${isThis} and s.revoked_at is null and s.expires_at > now() and t.status = 'active'
          and (${host ?? null}::text is null or t.slug = ${host ?? null})
          and u.id = s.user_id and m.user_id = s.user_id and m.tenant_id = s.tenant_id and t.id = s.tenant_id
        returning ${member}`),
      identityDb.execute(sql`
        select h.tenant_id, h.head::float8 from sessions s join outbox_heads h on h.tenant_id = s.tenant_id
        where ${isThis} and s.revoked_at is not null`),
    ])
    .catch(rethrow);
  const [ended] = v.parse(v.array(RevokedRow), revoked.rows);
  if (ended) return { tenantId: ended.tenant_id, head: ended.head };
  const [who] = v.parse(v.array(Member), refreshed.rows);
  return who && grant(who, successor);
}

/** What a member is told of the session that this refresh token is of. */
export async function grant(
  { user_id: userId, email, version, role, tenant }: v.InferOutput<typeof Member>,
  { text, sessionId }: { text: string; sessionId: string },
): Promise<Grant> {
  return {
    record: tenant,
    session: {
      access_token: await mintAccessToken({ tenantId: tenant.id, userId, sessionId, role, version }),
      token_type: "Bearer",
      expires_in: ACCESS_TOKEN_TTL_S,
      refresh_token: text,
      session: { id: sessionId },
      user: { id: userId, email },
      tenant: { id: tenant.id, slug: tenant.slug, name: tenant.name, role },
    },
  };
}

const hex = (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString("hex")}`;
