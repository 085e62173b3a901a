import { and, eq, sql, type SQL } from "drizzle-orm";
import type { Builder } from "../tenant-db.ts";
import { statesWhere } from "../tenant-states.ts";
import { despiteDeadlock, identityDb, rethrow, type ForRequest } from "./client.ts";
import { invitations, issuers, sessions, tenants } from "./control.ts";
import { edgeRecord } from "./edge-record.ts";

// All that partywall_identity ever asks, but for what accounts.ts asks about one person's account: what has to look across
// tenants, because it is not known yet who calls, or because it is about a person in all their tenants. These statements name
// their tenants themselves; no others do.

/** Of a refresh token, what the database keeps. */
type Refresh = { sessionId: string; generation: number; hash: Uint8Array };

const REFRESH_TTL_S = 30 * 24 * 3600;

/** What a statement that starts a session answers of its member, from the aliases u, m and t. */
export const member = sql`u.id as user_id, u.email, u.version, m.role, ${edgeRecord} as tenant`;

/** When a session's user proved who they are, and how, as SQL: `authAt` is an instant, `amr` what RFC 8176 lists. */
export type Proven = { authAt: SQL; amr: SQL };

/** Somebody who proves it in this request. */
export const provenNow = (...amr: string[]): Proven => ({
  authAt: sql`now()`,
  amr: sql`${`{${amr.join(",")}}`}::text[]`,
});
/** Whoever has this session: as they proved it there. */
export const provenIn = (sessionId: string): Proven => ({
  authAt: sql`(select p.auth_at from sessions p where p.id = ${sessionId})`,
  amr: sql`(select p.amr from sessions p where p.id = ${sessionId})`,
});
/** What a session's access token says of the proof. */
export const proof = ({ authAt, amr }: Proven) =>
  sql`extract(epoch from ${authAt})::float8 as auth_time, ${amr} as amr`;

/** Whether the user u has a second factor. */
const hasFactor = sql`exists (select from factors f where f.user_id = u.id and f.confirmed_at is not null)`;
/** What a sign-in needs to ask for them, of the user of this id. */
const factorsOf = (user: SQL) => sql`(
  select coalesce(json_agg(json_build_object('type', f.type, 'credential_id', f.credential_id, 'transports', f.transports)), '[]')
  from factors f where f.user_id = ${user} and f.confirmed_at is not null)`;

/** Where a session is started: by what program, from which country. */
export type From = { userAgent: string; country: string | null };

/** Whether the user u has no session of such a program, whatever its version, from that country. */
const isNewDevice = ({ userAgent, country }: From) => sql`not exists (
  select from memberships pm join sessions p on p.tenant_id = pm.tenant_id and p.user_id = pm.user_id
  where pm.user_id = u.id and p.country is not distinct from ${country}
    and regexp_replace(p.user_agent, '[0-9.]+', '', 'g') = regexp_replace(${userAgent}, '[0-9.]+', '', 'g'))`;

const CHALLENGE_TTL_S = 600;

/** The INSERT of a challenge. `of` selects its user, tenant and amr. */
export const newChallenge = (id: string, of: SQL) => sql`
  insert into challenges (id, user_id, tenant_id, amr, expires_at)
  select ${id}::uuid, of.user_id, of.tenant_id, of.amr, now() + ${CHALLENGE_TTL_S} * interval '1 second' from (${of}) of`;
/** The statuses of tenants that members sign in to, and of those that owners do if there is no other. */
export const OPEN = statesWhere(({ signsIn }) => signsIn === "members");
const LEAVING = statesWhere(({ signsIn }) => signsIn === "owners");

/** Whether the member m can sign in to the tenant t, if to no other. */
export const canEnter = sql`(t.status in ${OPEN} or t.status in ${LEAVING} and m.role = 'owner')`;

const head = sql`(select h.head::float8 from outbox_heads h where h.tenant_id = t.id) as head`;

export const hex = (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString("hex")}`;

/** The INSERT of the session that a refresh token is the first of, up to its FROM. */
const newSession = (
  { sessionId, hash }: Refresh,
  { userAgent, country }: From,
  of: { tenant: SQL; user: SQL } & Proven,
) => sql`
  insert into sessions (id, tenant_id, user_id, refresh_hash, user_agent, country, auth_at, amr, expires_at)
  select ${sessionId}::uuid, ${of.tenant}, ${of.user}, ${hex(hash)}::bytea, ${userAgent}, ${country}, ${of.authAt}, ${of.amr},
    now() + ${REFRESH_TTL_S} * interval '1 second'`;

type SignUp = {
  userId: string;
  email: string;
  /** The password's, the one to keep first. */
  hashes: readonly [string, ...string[]];
  tenantId: string;
  slug: string;
  name: string;
  plan: string;
  site: string;
  refresh: Refresh;
  from: From;
  /** The link that confirms the address of a new account. */
  link: { id: string; hash: Uint8Array; seconds: number };
  challengeId: string;
};

const passwordOnly = provenNow("pwd");

/**
 * Makes a tenant with its owner and a session, in one statement: all or nothing. An email that exists gets the tenant added
 * if a hash is its password's, and is asked for its second factor if it has one; else there is no row. Violates
 * `tenants_slug` when the slug is taken.
 */
export const signingUp = (of: SignUp) => (q: Builder) => ({
  // Rows that a WITH query has just made are not seen by the others, so the record is built from RETURNING.
  signedUp: q.execute(sql`
    with u as (
      insert into users (id, email, password_hash) values (${of.userId}, ${of.email}, ${of.hashes[0]})
      on conflict (email) where issuer_id is null do update set password_hash = excluded.password_hash
        where users.password_hash in ${of.hashes}
      returning id, email, version, id = ${of.userId} as is_new
    ), t as (
      insert into tenants (id, slug, name, plan, site)
      select ${of.tenantId}::uuid, ${of.slug}, ${of.name}, ${of.plan}, ${of.site} from u returning *
    ), m as (
      insert into memberships (tenant_id, user_id, role) select t.id, u.id, 'owner' from t, u returning role
    ), link as (
      select keep_link(${of.link.id}, 'verification', u.id, u.email, ${hex(of.link.hash)}::bytea, '{}', ${of.link.seconds})
      from u where u.is_new
    ), s as (
      ${newSession(of.refresh, of.from, { tenant: sql`t.id`, user: sql`u.id`, ...passwordOnly })} from t, u, m where not ${hasFactor}
    ), c as (
      ${newChallenge(of.challengeId, sql`select u.id as user_id, t.id as tenant_id, ${passwordOnly.amr} as amr from u, t where ${hasFactor}`)}
    )
    select ${member}, ${proof(passwordOnly)}, (select count(*) from link)::int as links,
      case when ${hasFactor} then ${factorsOf(sql`u.id`)} end as factors from u, t, m`),
});

/** Who may be in no tenant at all, as conditions on the alias u. */
export const ACCOUNT = {
  /** Whoever has this password. */
  hasPassword: (of: { email: string; hashes: readonly string[] }) =>
    sql`u.email = ${of.email} and u.password_hash in ${of.hashes}`,
  /** Whoever holds a passkey. */
  holdsPasskey: (of: { user_id: string }) => sql`u.id = ${of.user_id}`,
};

/** Whose session is to be started, as conditions on the aliases u, m and t. */
export const WHO = {
  /** The owner of the tenant that the same sign-up has made within a day. */
  signsUpAgain: (of: { email: string; hashes: readonly string[]; slug: string; name: string }) =>
    sql`u.email = ${of.email} and u.issuer_id is null and u.password_hash in ${of.hashes} and t.slug = ${of.slug} and t.name = ${of.name}
      and m.role = 'owner' and m.created_at = t.created_at and t.created_at > now() - interval '1 day'`,
  /** Whoever has this password, in the tenant of this slug or in any. */
  signsIn: (of: { email: string; hashes: readonly string[]; slug: string | null }) =>
    sql`${ACCOUNT.hasPassword(of)} and (${of.slug}::text is null or t.slug = ${of.slug})`,
  /** The user of this session, in another tenant, unless one tenant's issuer vouched for it. */
  switches: (of: { userId: string; sessionId: string; slug: string }) =>
    sql`u.id = ${of.userId} and t.slug = ${of.slug} and exists (select from sessions
      where id = ${of.sessionId} and user_id = u.id and issuer_id is null and revoked_at is null)`,
  /** Whoever a challenge asks for a second factor, in the tenant that they sign in to. */
  isAsked: (of: { user_id: string; tenant_id: string }) =>
    sql`u.id = ${of.user_id} and t.id = ${of.tenant_id}`,
  /** Whoever holds a passkey, in the tenant of this slug or in any. */
  holdsPasskey: (of: { user_id: string; slug: string | null }) =>
    sql`${ACCOUNT.holdsPasskey(of)} and (${of.slug}::text is null or t.slug = ${of.slug})`,
};

type Start = {
  refresh: Refresh;
  from: From;
  proven: Proven;
  /** The id of the challenge that is made where a second factor is needed. */
  challengeId: string;
  /** The slug of the request's host. */
  host: string | null;
  /** The password's hashes; one that is not the first is replaced by that. */
  hashes?: readonly [string, ...string[]] | undefined;
  /** What has to happen for it too, as CTEs: it did if `done` has a row. */
  only?: SQL | undefined;
  /** Whose account is told apart from none when it is in no tenant, as conditions on the alias u. */
  account?: SQL | undefined;
};

/**
 * Starts a session for the one member that the condition finds in a tenant that can be entered; where there is none, in one
 * that closes, for its owner. If a second factor is needed that was not proved, it makes a challenge instead. Returns one row:
 * all members that it finds, by slug, those among them that can be entered, the factors of whoever is asked for one, whether
 * `account` is in no tenant, and whether there is a tenant of the slug `host`. Violates `sessions_membership` when that member is
 * being removed.
 */
export async function startSession(
  who: SQL,
  { refresh, from, proven, challengeId, host, hashes, only, account = sql`false` }: Start,
) {
  const [current, ...others] = hashes ?? [];
  const statement = sql`
      with ${only && sql`${only}, `}who as (
        select ${member}, ${head}, ${proof(proven)}, ${proven.authAt} as auth_at, t.require_second_factor as requires, ${hasFactor} as has_factor,
          ${isNewDevice(from)} as is_new_device
        from users u join memberships m on m.user_id = u.id join tenants t on t.id = m.tenant_id
        where ${who}${only && sql` and exists (select from done)`}
      ), open as (
        select * from who where tenant->>'status' in ${OPEN}
      ), enterable as (
        select * from open union all
        select * from who where tenant->>'status' in ${LEAVING} and role = 'owner' and not exists (select from open)
      ), one as (
        select *, (requires or has_factor) and not coalesce('mfa' = any (amr), false) as is_asked
        from enterable where (select count(*) from enterable) = 1
      ), s as (
        ${newSession(refresh, from, { tenant: sql`(tenant->>'id')::uuid`, user: sql`user_id`, authAt: sql`auth_at`, amr: sql`amr` })}
        from one where not is_asked
      ), c as (
        ${newChallenge(challengeId, sql`select user_id, (tenant->>'id')::uuid as tenant_id, amr from one where is_asked`)}
      )${
        others.length > 0
          ? sql`, rehashed as (
        update users set password_hash = ${current} where id in (select user_id from who) and password_hash in ${others}
      )`
          : undefined
      }
      select coalesce((select json_agg(who order by tenant->>'slug') from who), '[]') as members,
        coalesce((select json_agg(enterable order by tenant->>'slug') from enterable), '[]') as enterable,
        (select ${factorsOf(sql`one.user_id`)} from one where is_asked) as factors,
        exists (select from users u where ${account} and not exists (select from memberships m where m.user_id = u.id)) as is_alone,
        ${host}::text is null or exists (select from tenants where slug = ${host}) as is_host`;
  const { rows } = await despiteDeadlock(() => identityDb.execute(statement)).catch(rethrow);
  return rows;
}

/**
 * Replaces a refresh token by its successor, in one transaction, or revokes the session if it is an older one. Returns the
 * member, and the tenant and head of a session that is revoked, now or since an earlier request; at most one of each.
 */
export async function replaceRefreshToken(presented: Refresh, successor: Refresh, host: string | undefined) {
  const isNewest = sql`(s.generation = ${presented.generation} and ${hex(presented.hash)}::bytea in (s.refresh_hash, s.twin_hash))`;
  const isRepeat = sql`(s.generation = ${successor.generation} and s.refresh_hash = ${hex(successor.hash)}::bytea)`;
  const isThis = sql`s.id = ${presented.sessionId}`;
  const replacing = () =>
    identityDb.batch([
      identityDb.execute(sql`
        select lock_outbox(s.tenant_id) from sessions s where ${isThis} and not (${isNewest} or ${isRepeat})`),
      // One UPDATE, so that of two at once the second one judges the row that the first one left.
      identityDb.execute(sql`
        update sessions s set
          revoked_at = case when ${isNewest} or ${isRepeat} then null else now() end,
          rotated_at = now(),
          expires_at = case when ${isNewest} then now() + ${REFRESH_TTL_S} * interval '1 second' else s.expires_at end,
          generation = case when ${isNewest} then ${successor.generation} else s.generation end,
          twin_hash = case when ${isNewest} then null else s.twin_hash end,
          refresh_hash = case when ${isNewest} then ${hex(successor.hash)}::bytea else s.refresh_hash end
        from users u, memberships m, tenants t
        where ${isThis} and s.revoked_at is null and s.expires_at > now()
          and (t.status in ${OPEN} or t.status in ${LEAVING} and m.role = 'owner' and t.restores_to <> 'suspended')
          and (${host ?? null}::text is null or t.slug = ${host ?? null})
          and u.id = s.user_id and m.user_id = s.user_id and m.tenant_id = s.tenant_id and t.id = s.tenant_id
        returning ${member}, ${head}, ${proof({ authAt: sql`s.auth_at`, amr: sql`s.amr` })}`),
      identityDb.execute(sql`
        select h.tenant_id, h.head::float8 from sessions s join outbox_heads h on h.tenant_id = s.tenant_id
        where ${isThis} and s.revoked_at is not null`),
    ]);
  const [, refreshed, revoked] = await despiteDeadlock(replacing).catch(rethrow);
  return { refreshed: refreshed.rows, revoked: revoked.rows };
}

type Acceptance = {
  id: string;
  tenantId: string;
  hash: Uint8Array;
  email: string;
  newUserId: string;
  /** The hashes of the password, the one to keep first; null without a password. */
  hashes: readonly [string, ...string[]] | null;
  host: string | undefined;
  refresh: Refresh;
  from: From;
  challengeId: string;
};

/**
 * Accepts an invitation: its email becomes a member, and a session is started, all or nothing. What is of all the account's
 * tenants comes `before`: a password becomes the account's, and ends its sessions everywhere, and what was begun with the
 * earlier one. The rest runs `within` the tenant's context, in the name of the invitation. Accepted again, it answers the
 * session that it started, unless a second factor is needed by now. An account that nobody has shown to be the mailbox's gives
 * way, unless the password is its own. Whoever has a second factor, or needs one in the tenant, becomes a member and is asked
 * for it.
 */
export function acceptance(of: Acceptance) {
  const { id, email, tenantId, refresh } = of;
  const passwordHash = of.hashes?.[0] ?? null;
  const proven = provenNow("user");
  const isHere = sql`(${of.host ?? null}::text is null or t.slug = ${of.host ?? null})`;
  // The row's email too: the tenant may change its row, and the password becomes that email's account's.
  const isGood = sql`i.id = ${id} and i.token_hash = ${sql.param(of.hash, invitations.token_hash)}
    and i.tenant_id = ${tenantId} and i.email = ${email} and i.expires_at > now() and t.id = i.tenant_id and ${isHere}`;
  const isOpen = sql`${isGood} and t.status = 'active'`;
  const setsPassword = sql`${isOpen} and ${passwordHash}::text is not null`;
  const isAccount = sql`u.email = ${email} and u.issuer_id is null`;
  // In the tenant's context only members are seen, which the account is about to become.
  const account = sql`nullif(current_setting('app.account', true), '')::uuid`;
  const isAsked = sql`(t.require_second_factor or ${hasFactor})`;
  // A password ends the account's sessions in all its tenants; without one, nothing changes elsewhere.
  const tenantsOfAccount = sql`select m.tenant_id from users u join memberships m on m.user_id = u.id
    where ${isAccount} and ${passwordHash}::text is not null`;
  return {
    before: (q: Builder) => ({
      // In one order. Of those who accept at once, the second one waits here, and then finds it used.
      "": q.execute(sql`
        select lock_outbox(tenant_id), set_config('app.told', concat(nullif(current_setting('app.told', true), '') || ',', tenant_id), true)
        from (select ${tenantId}::uuid as tenant_id union ${tenantsOfAccount} order by 1) as locked`),
      open: q.execute(sql`select t.status from invitations i, tenants t where ${isGood}`),
      squatter: q.execute(sql`
        select give_way(u.email, null) from users u, invitations i, tenants t
        where ${setsPassword} and ${isAccount} and u.email_verified_at is null and u.password_hash is not null
          and u.password_hash not in ${of.hashes ?? [""]}`),
      account: q.execute(sql`
        insert into users (id, email, password_hash, email_verified_at)
        select ${of.newUserId}::uuid, i.email, ${passwordHash}, now() from invitations i, tenants t where ${setsPassword}
        on conflict (email) where issuer_id is null
          do update set password_hash = excluded.password_hash, email_verified_at = excluded.email_verified_at`),
      pending: q.execute(sql`
        select end_pending(u.id) from users u, invitations i, tenants t where ${setsPassword} and ${isAccount}`),
      others: q.execute(sql`
        update sessions s set revoked_at = now() from users u, invitations i, tenants t
        where ${setsPassword} and ${isAccount} and s.user_id = u.id and s.revoked_at is null`),
      member: q.execute(sql`
        select set_config('app.account', u.id::text, true) from users u, invitations i, tenants t
        where ${isOpen} and ${isAccount} and u.email_verified_at is not null`),
      heads: q.execute(sql`
        select h.tenant_id, h.head::float8 from outbox_heads h
        where h.tenant_id = any (string_to_array(current_setting('app.told', true), ',')::uuid[]) and h.tenant_id <> ${tenantId}`),
    }),
    within: (q: Builder) => ({
      // Somebody who is a member by now stays what they are.
      membership: q.execute(sql`
        insert into memberships (tenant_id, user_id, role) select i.tenant_id, ${account}, i.role
        from invitations i, tenants t where ${isOpen} and ${account} is not null
        on conflict (tenant_id, user_id) do nothing`),
      session: q.execute(sql`
        ${newSession(refresh, of.from, { tenant: sql`t.id`, user: sql`u.id`, ...proven })}
        from invitations i, tenants t, users u where ${isOpen} and u.id = ${account} and not ${isAsked}`),
      challenge: q.execute(sql`
        ${newChallenge(
          of.challengeId,
          sql`select u.id as user_id, t.id as tenant_id, ${proven.amr} as amr
          from invitations i, tenants t, users u where ${isOpen} and u.id = ${account} and ${isAsked}`,
        )}`),
      invitation: q.execute(sql`
        delete from invitations where id = ${id} and (exists (select from sessions where id = ${refresh.sessionId})
          or exists (select from challenges where id = ${of.challengeId}))`),
      asked: q.execute(sql`
        select ${factorsOf(sql`c.user_id`)} as factors from challenges c where c.id = ${of.challengeId}`),
      // This session, or the one of the first acceptance, whose answer may have been lost.
      started: q.execute(sql`
        update sessions s set rotated_at = now()
        from users u join memberships m on m.user_id = u.id join tenants t on t.id = m.tenant_id
        where ${isAccount} and ${isHere} and s.tenant_id = m.tenant_id and s.user_id = m.user_id
          and s.refresh_hash = ${sql.param(refresh.hash, sessions.refresh_hash)} and s.generation = 0
          and s.revoked_at is null and s.expires_at > now()
          and (${passwordHash}::text is null or u.password_hash = ${passwordHash})
          and (not ${isAsked} or 'mfa' = any (s.amr))
        returning ${member}, s.id as session_id, ${proof({ authAt: sql`s.auth_at`, amr: sql`s.amr` })}`),
    }),
  };
}

/**
 * What a user is told of themselves, and the tenants that they are in: this one, and the others that they can enter. A session
 * that an issuer of this tenant vouched for does not see those.
 */
export async function tenantsOfUser(
  of: { id: string; tenantId: string; sessionId: string },
  { onAnswer }: Pick<ForRequest, "onAnswer">,
) {
  const started = performance.now();
  const { rows } = await identityDb
    .execute(sql`
      select json_build_object('id', u.id, 'email', u.email, 'name', u.name, 'locale', u.locale,
          'email_verified', u.email_verified_at is not null or u.issuer_id is not null) as user, json_agg(json_build_object('id', t.id, 'slug', t.slug, 'name', t.name,
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

/** Adds up what all tenants used in the last hours and days (drizzle/control/0014_usage_functions.sql). */
export async function totalUsage(): Promise<void> {
  await identityDb.execute(sql`select total_usage()`).catch(rethrow);
}

/** What has become of sessions of support since owners were mailed of them, of this tenant or of all, with those owners: taken once. */
export async function takeSupportMails(tenant: string | null, most: number) {
  const { rows } = await identityDb
    .execute(sql`select take_support_mails(${tenant}, ${most}) as taken`)
    .catch(rethrow);
  return rows[0]?.["taken"];
}

/** The warnings of months' limits that no owner was mailed, with the owners: taken once. */
export async function takeUsageMails(most: number) {
  const { rows } = await identityDb.execute(sql`select take_usage_mails(${most}) as taken`).catch(rethrow);
  return rows[0]?.["taken"];
}

/** Begins a tenant's erasure because its grace period is over. Returns its outbox's head too. */
export const beginErasure = (id: string) =>
  identityDb
    .batch([
      identityDb.execute(sql`select begin_erasure(${id}) as begun`),
      identityDb.execute(sql`select head::float8 from outbox_heads where tenant_id = ${id}`),
    ])
    .catch(rethrow);

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
