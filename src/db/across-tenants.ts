import { and, eq, sql, type SQL } from "drizzle-orm";
import type { Builder } from "../tenant-db.ts";
import { statesWhere } from "../tenant-states.ts";
import { identityDb, operatorDb, rethrow, type ForRequest } from "./client.ts";
import { invitations, issuers, sessions, tenants } from "./control.ts";
import { edgeRecord } from "./edge-record.ts";

// All that partywall_identity ever asks: what has to look across tenants, because it is not known yet who calls, or because
// it is about a person in all their tenants. These statements name their tenants themselves; no others do.

/** Of a refresh token, what the database keeps. */
type Refresh = { sessionId: string; generation: number; hash: Uint8Array };

const REFRESH_TTL_S = 30 * 24 * 3600;

/** What a statement that starts a session answers of its member, from the aliases u, m and t. */
export const member = sql`u.id as user_id, u.email, u.version, m.role, ${edgeRecord} as tenant`;
/** The statuses of tenants that members sign in to, and of those that owners do if there is no other. */
export const OPEN = statesWhere(({ signsIn }) => signsIn === "members");
const LEAVING = statesWhere(({ signsIn }) => signsIn === "owners");

const head = sql`(select h.head::float8 from outbox_heads h where h.tenant_id = t.id) as head`;

const hex = (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString("hex")}`;

/** The INSERT of the session that a refresh token is the first of, up to its FROM. */
const newSession = ({ sessionId, hash }: Refresh, userAgent: string, of: { tenant: SQL; user: SQL }) => sql`
  insert into sessions (id, tenant_id, user_id, refresh_hash, user_agent, expires_at)
  select ${sessionId}::uuid, ${of.tenant}, ${of.user}, ${hex(hash)}::bytea, ${userAgent},
    now() + ${REFRESH_TTL_S} * interval '1 second'`;

type SignUp = {
  userId: string;
  email: string;
  hash: string;
  tenantId: string;
  slug: string;
  name: string;
  plan: string;
  site: string;
  refresh: Refresh;
  userAgent: string;
};

/**
 * Makes a tenant with its owner and a session, in one statement: all or nothing. An email that exists gets the tenant added
 * if the hash is its password's; else there is no row. Violates `tenants_slug` when the slug is taken.
 */
export const signingUp = (of: SignUp) => (q: Builder) => ({
  // Rows that a WITH query has just made are not seen by the others, so the record is built from RETURNING.
  signedUp: q.execute(sql`
    with u as (
      insert into users (id, email, password_hash) values (${of.userId}, ${of.email}, ${of.hash})
      on conflict (email) where issuer_id is null do update set email = excluded.email where users.password_hash = excluded.password_hash
      returning id, email, version
    ), t as (
      insert into tenants (id, slug, name, plan, site)
      select ${of.tenantId}::uuid, ${of.slug}, ${of.name}, ${of.plan}, ${of.site} from u returning *
    ), m as (
      insert into memberships (tenant_id, user_id, role) select t.id, u.id, 'owner' from t, u returning role
    ), s as (
      ${newSession(of.refresh, of.userAgent, { tenant: sql`t.id`, user: sql`u.id` })} from t, u, m returning id
    )
    select ${member} from u, t, m, s`),
});

/** Whose session is to be started, as conditions on the aliases u, m and t. */
export const WHO = {
  /** The owner of the tenant that the same sign-up has made within a day. */
  signsUpAgain: (of: { email: string; hash: string; slug: string; name: string }) =>
    sql`u.email = ${of.email} and u.issuer_id is null and u.password_hash = ${of.hash} and t.slug = ${of.slug} and t.name = ${of.name}
      and m.role = 'owner' and m.created_at = t.created_at and t.created_at > now() - interval '1 day'`,
  /** Whoever has this password, in the tenant of this slug or in any. */
  signsIn: (of: { email: string; hash: string; slug: string | null }) =>
    sql`u.email = ${of.email} and u.password_hash = ${of.hash} and (${of.slug}::text is null or t.slug = ${of.slug})`,
  /** The user of this session, in another tenant, unless one tenant's issuer vouched for it. */
  switches: (of: { userId: string; sessionId: string; slug: string }) =>
    sql`u.id = ${of.userId} and t.slug = ${of.slug} and exists (select from sessions
      where id = ${of.sessionId} and user_id = u.id and issuer_id is null and revoked_at is null)`,
};

/**
 * Starts a session for the one member that the condition finds in a tenant that can be entered; where there is none, in one
 * that closes, for its owner. Returns one row: all members that it finds, by slug, those among them that can be entered, and
 * whether there is a tenant of the slug `host`. Violates `sessions_membership` when that member is being removed.
 */
export async function startSession(who: SQL, refresh: Refresh, userAgent: string, host: string | null) {
  const { rows } = await identityDb
    .execute(sql`
      with who as (
        select ${member}, ${head} from users u join memberships m on m.user_id = u.id join tenants t on t.id = m.tenant_id
        where ${who}
      ), open as (
        select * from who where tenant->>'status' in ${OPEN}
      ), enterable as (
        select * from open union all
        select * from who where tenant->>'status' in ${LEAVING} and role = 'owner' and not exists (select from open)
      ), s as (
        ${newSession(refresh, userAgent, { tenant: sql`(tenant->>'id')::uuid`, user: sql`user_id` })}
        from enterable where (select count(*) from enterable) = 1
      )
      select coalesce((select json_agg(who order by tenant->>'slug') from who), '[]') as members,
        coalesce((select json_agg(enterable order by tenant->>'slug') from enterable), '[]') as enterable,
        ${host}::text is null or exists (select from tenants where slug = ${host}) as is_host`)
    .catch(rethrow);
  return rows;
}

/**
 * Replaces a refresh token by its successor, in one transaction, or revokes the session if it is an older one. Returns the
 * member, and the tenant and head of a session that is revoked, now or since an earlier request; at most one of each.
 */
export async function replaceRefreshToken(presented: Refresh, successor: Refresh, host: string | undefined) {
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
        where ${isThis} and s.revoked_at is null and s.expires_at > now()
          and (t.status in ${OPEN} or t.status in ${LEAVING} and m.role = 'owner' and t.restores_to <> 'suspended')
          and (${host ?? null}::text is null or t.slug = ${host ?? null})
          and u.id = s.user_id and m.user_id = s.user_id and m.tenant_id = s.tenant_id and t.id = s.tenant_id
        returning ${member}, ${head}`),
      identityDb.execute(sql`
        select h.tenant_id, h.head::float8 from sessions s join outbox_heads h on h.tenant_id = s.tenant_id
        where ${isThis} and s.revoked_at is not null`),
    ])
    .catch(rethrow);
  return { refreshed: refreshed.rows, revoked: revoked.rows };
}

type Acceptance = {
  id: string;
  tenantId: string;
  hash: Uint8Array;
  email: string;
  newUserId: string;
  passwordHash: string | null;
  host: string | undefined;
  refresh: Refresh;
  userAgent: string;
};

/**
 * Accepts an invitation: its email becomes a member, and a session is started, all or nothing. What is of all the account's
 * tenants comes `before`: a password becomes the account's, and ends its sessions everywhere. The rest runs `within` the
 * tenant's context, in the name of the invitation. Accepted again, it answers the session that it started.
 */
export function acceptance(of: Acceptance) {
  const { id, email, tenantId, passwordHash, refresh } = of;
  const isHere = sql`(${of.host ?? null}::text is null or t.slug = ${of.host ?? null})`;
  // The row's email too: the tenant may change its row, and the password becomes that email's account's.
  const isGood = sql`i.id = ${id} and i.token_hash = ${sql.param(of.hash, invitations.token_hash)}
    and i.tenant_id = ${tenantId} and i.email = ${email} and i.expires_at > now() and t.id = i.tenant_id and ${isHere}`;
  const isOpen = sql`${isGood} and t.status = 'active'`;
  const setsPassword = sql`${isOpen} and ${passwordHash}::text is not null`;
  const isAccount = sql`u.email = ${email} and u.issuer_id is null`;
  // In the tenant's context only members are seen, which the account is about to become.
  const account = sql`nullif(current_setting('app.account', true), '')::uuid`;
  // A password ends the account's sessions in all its tenants; without one, nothing changes elsewhere.
  const tenantsOfAccount = sql`select m.tenant_id from users u join memberships m on m.user_id = u.id
    where ${isAccount} and ${passwordHash}::text is not null`;
  return {
    before: (q: Builder) => ({
      // In one order. Of those who accept at once, the second one waits here, and then finds it used.
      "": q.execute(sql`
        select lock_outbox(tenant_id) from (select ${tenantId}::uuid as tenant_id union ${tenantsOfAccount} order by 1) as locked`),
      open: q.execute(sql`select t.status from invitations i, tenants t where ${isGood}`),
      account: q.execute(sql`
        insert into users (id, email, password_hash, email_verified_at)
        select ${of.newUserId}::uuid, i.email, ${passwordHash}, now() from invitations i, tenants t where ${setsPassword}
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
    within: (q: Builder) => ({
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
          and s.revoked_at is null and s.expires_at > now()
          and (${passwordHash}::text is null or u.password_hash = ${passwordHash})
        returning ${member}, s.id as session_id`),
    }),
  };
}

/**
 * The email of a user, and the tenants that they are in: this one, and the others that they can enter. A session that an
 * issuer of this tenant vouched for does not see those.
 */
export async function tenantsOfUser(
  of: { id: string; tenantId: string; sessionId: string },
  { onAnswer }: Pick<ForRequest, "onAnswer">,
) {
  const started = performance.now();
  const { rows } = await identityDb
    .execute(sql`
      select u.email as name, json_agg(json_build_object('id', t.id, 'slug', t.slug, 'name', t.name,
        'role', m.role) order by t.slug) as tenants
      from users u join memberships m on m.user_id = u.id join tenants t on t.id = m.tenant_id
      where u.id = ${of.id} and (t.id = ${of.tenantId} or t.status in ${OPEN} and exists (select from sessions
        where id = ${of.sessionId} and issuer_id is null)) group by u.id`)
    .catch(rethrow)
    .finally(() => onAnswer(started));
  return rows;
}

/** Whether a tenant has the slug. */
export async function isSlug(slug: string): Promise<boolean> {
  const found = await identityDb.select({}).from(tenants).where(eq(tenants.slug, slug)).catch(rethrow);
  return found.length > 0;
}

/** What a token says for whom it was made. */
type Origin = { issuer: string; audience: string };

const isOf = ({ issuer, audience }: Origin) =>
  and(eq(issuers.issuer, issuer), eq(issuers.audience, audience));

/** Whether any tenant has registered the issuer for this audience. */
export async function isRegistered(origin: Origin): Promise<boolean> {
  const found = await identityDb
    .select({ id: issuers.id })
    .from(issuers)
    .where(isOf(origin))
    .limit(1)
    .catch(rethrow);
  return found.length > 0;
}

const registration = {
  id: issuers.id,
  tenant_id: issuers.tenant_id,
  role_claim: issuers.role_claim,
  role_map: issuers.role_map,
  default_role: issuers.default_role,
  email_domains: issuers.email_domains,
  just_in_time: issuers.just_in_time,
  suspended_at: issuers.suspended_at,
  version: issuers.version,
  status: tenants.status,
};

/**
 * The registrations of the issuer for this audience, `limit` at most, with the instant at which each claimed the domain:
 * those for the domain first, and then the oldest, so that later ones push none of them out.
 */
export const registrations = (
  origin: Origin,
  { slug, domain }: { slug: string | undefined; domain: string },
  limit: number,
) =>
  identityDb
    .select({
      ...registration,
      claimed_at:
        sql<number>`coalesce(extract(epoch from (${issuers.domains_since} ->> ${domain})::timestamptz)::float8,
        'infinity')`.mapWith(Number),
    })
    .from(issuers)
    .innerJoin(tenants, eq(tenants.id, issuers.tenant_id))
    .where(and(isOf(origin), slug === undefined ? undefined : eq(tenants.slug, slug)))
    .orderBy(sql`${domain} = any(${issuers.email_domains}) desc`, issuers.created_at, issuers.id)
    .limit(limit)
    .catch(rethrow);

/** Of these registrations, those in whose tenant the subject is a member. */
export async function homesOf(of: { subject: string; email: string }, ids: string[]) {
  const { rows } = await identityDb
    .execute(
      sql`select i.id from issuers i join memberships m on m.tenant_id = i.tenant_id join users u on u.id = m.user_id
        where i.id in ${ids} and ((u.issuer_id = i.id and u.subject = ${of.subject})
          or (u.issuer_id is null and u.email = ${of.email})) group by i.id`,
    )
    .catch(rethrow);
  return rows;
}

/** The places and counts of an erasure that is under way; no row when there is none. */
export async function erasedPlaces(tenant: string) {
  const { rows } = await identityDb
    .execute(sql`select places, erased from erasures where id = ${tenant} and finished_at is null`)
    .catch(rethrow);
  return rows;
}

/** Notes how many rows there were of a tenant that is being erased, at this place. */
export async function noteErasure(tenant: string, place: string, counts: object): Promise<void> {
  const noted = sql`select note_erasure(${tenant}, ${place}, ${JSON.stringify(counts)}::jsonb)`;
  await identityDb.execute(noted).catch(rethrow);
}

/** Deletes the control plane of a tenant that is being erased, and the people who are in no other one. */
export async function eraseTenant(tenant: string): Promise<void> {
  await identityDb.execute(sql`select erase_tenant(${tenant})`).catch(rethrow);
}

/** Enters the receipt of an erasure that is done. */
export async function finishErasure(tenant: string, receipt: string): Promise<void> {
  await identityDb.execute(sql`select finish_erasure(${tenant}, ${receipt})`).catch(rethrow);
}

/** What is due for tenants without a request of theirs, some of each kind: see src/lifecycle/sweep.ts. */
export async function dueWork(idleMinutes: number) {
  const idle = sql`now() - ${idleMinutes} * interval '1 minute'`;
  const { rows } = await identityDb
    .execute(sql`
      select
        (select coalesce(json_agg(t.id), '[]') from (select id from tenants where status = 'closing' and closes_at <= now() order by closes_at limit 100) t)
          as closed,
        (select coalesce(json_agg(json_build_object('kind', j.kind, 'tenant', j.tenant_id, 'job', j.id)), '[]') from (
          select * from jobs where finished_at is null and kind in ('export', 'import') and worked_at < ${idle} order by worked_at limit 100) j)
          as stopped,
        (select coalesce(json_agg(e.id), '[]') from (
          select id from erasures where finished_at is null and worked_at < ${idle} order by worked_at limit 100) e) as erasing,
        (select coalesce(json_agg(json_build_object('tenant', j.tenant_id, 'job', j.id)), '[]') from (
          select * from jobs where kind = 'export' and kept_until < now() order by kept_until limit 100) j) as expired`)
    .catch(rethrow);
  return rows;
}

/** The records of tenants of which what is old was last deleted so many hours ago, or never; those first that wait longest. */
export async function tenantsToSweep(hours: number, limit: number) {
  const { rows } = await identityDb
    .execute(sql`
      select ${edgeRecord} as tenant from outbox_heads h join tenants t on t.id = h.tenant_id
      where h.swept_at < now() - ${hours} * interval '1 hour' and t.status <> 'erasing' order by h.swept_at limit ${limit}`)
    .catch(rethrow);
  return rows;
}

/** Begins a tenant's erasure, for an operator or because its grace period is over. Returns its outbox's head too. */
export const beginErasure = (id: string, by: "operator" | "time") => {
  const db = by === "time" ? identityDb : operatorDb;
  return db
    .batch([
      db.execute(sql`select begin_erasure(${id}) as begun`),
      db.execute(sql`select head::float8 from outbox_heads where tenant_id = ${id}`),
    ])
    .catch(rethrow);
};

/** Those of these tenants that there are. */
export async function tenantsAmong(ids: readonly string[]) {
  const { rows } = await identityDb
    .execute(sql`select id from tenants where id in ${ids} and status <> 'erasing'`)
    .catch(rethrow);
  return rows;
}

/** The receipt of a tenant's erasure; null while it is under way. No row when there is none. */
export async function erasureOf(tenant: string) {
  const { rows } = await identityDb
    .execute(sql`select id, receipt from erasures where id = ${tenant}`)
    .catch(rethrow);
  return rows;
}
