import { sql, type SQL } from "drizzle-orm";
import { canEnter, hex, member, newChallenge, proof } from "./across-tenants.ts";
import { despiteDeadlock, identityDb, rethrow } from "./client.ts";
import type { Builder } from "../tenant-db.ts";

// What partywall_identity asks about one person's account, which is of all their tenants: see across-tenants.ts.

const run = async (statement: SQL) =>
  (await despiteDeadlock(() => identityDb.execute(statement)).catch(rethrow)).rows;
/** The same after another statement, which takes a lock: so it sees what those before it have done. */
async function runAfter(lock: SQL, statement: SQL) {
  const [, { rows }] = await despiteDeadlock(() =>
    identityDb.batch([identityDb.execute(lock), identityDb.execute(statement)]),
  ).catch(rethrow);
  return rows;
}
/** The same once no other change of this person's account is under way. All of them lock the person before anything else. */
const runInTurn = (userId: string, statement: SQL) =>
  runAfter(sql`select from users where id = ${userId} for no key update`, statement);
/** What a function of drizzle/control/0012_account_functions.sql has answered. */
const call = async (of: SQL) => (await run(sql`select ${of} as done`))[0]?.["done"];

/** A link, as the database keeps it. */
type Link = { id: string; hash: Uint8Array };
/** Whose account it is, and by which session of theirs: it has to be alive when the statement runs. */
export type Self = { userId: string; sessionId: string };
type Hashes = readonly [string, ...string[]];

const bytes = (hash: Uint8Array) => sql`${hex(hash)}::bytea`;
/** An array of texts that have no comma, brace or quote in them. */
const texts = (values: readonly string[]) => sql`${`{${values.join(",")}}`}::text[]`;
const isOwn = ({ userId, sessionId }: Self) => sql`is_own_session(${sessionId}, ${userId})`;

/** An instant as the API writes it. */
const instant = (column: SQL) => sql`to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
const shownFactor = sql`f.id, f.type, f.name, ${instant(sql`f.created_at`)} as created_at, ${instant(sql`f.last_used_at`)} as last_used_at`;

/**
 * Keeps the link that resets the password of this address, and where nobody has confirmed the address the one that does; a row
 * says which, if there is an account. It writes as much without one.
 */
export const keepReset = (
  email: string,
  reset: Link & { seconds: number },
  verification: Link & { seconds: number },
) =>
  run(sql`
    with u as (
      select (select id from users where email = ${email} and issuer_id is null) as id
    ), kept as (
      select keep_link(${reset.id}, 'reset', u.id, ${email}, ${bytes(reset.hash)}, '{}', ${reset.seconds}) from u
    ), unverified as (
      select keep_link(${verification.id}, 'verification', u.id, ${email}, ${bytes(verification.hash)}, '{}', ${verification.seconds})
      from u join users w on w.id = u.id where w.email_verified_at is null
    )
    select (select count(*) from kept)::int as kept, (select count(*) > 0 from unverified) as is_unverified,
      u.id is not null as is_account, (select locale from users w where w.id = u.id) as locale from u`);

export const resetPassword = (link: Link, password: string, newId: string) =>
  call(sql`reset_password(${link.id}, ${bytes(link.hash)}, ${password}, ${newId})`);

export const changePassword = ({ userId, sessionId }: Self, old: Hashes, password: string) =>
  call(sql`change_password(${sessionId}, ${userId}, ${texts(old)}, ${password})`);

export const askEmailChange = (
  { userId, sessionId }: Self,
  old: Hashes,
  link: Link & { email: string; seconds: number },
  password: string,
) =>
  call(sql`ask_email_change(${sessionId}, ${userId}, ${texts(old)}, ${link.id}, ${link.email}, ${bytes(link.hash)},
    ${password}, ${link.seconds})`);

export const changeEmail = (link: Link, undo: Link & { seconds: number }) =>
  call(sql`change_email(${link.id}, ${bytes(link.hash)}, ${undo.id}, ${bytes(undo.hash)}, ${undo.seconds})`);

export const undoEmailChange = (link: Link) => call(sql`undo_email_change(${link.id}, ${bytes(link.hash)})`);

export const endAccount = ({ userId, sessionId }: Self, request: string) =>
  call(sql`end_account(${sessionId}, ${userId}, ${request})`);

/** Keeps a sign-up until its mailbox is shown to be theirs. A row says whether the address has an account. */
export const keepSignUp = (
  link: Link & { email: string; seconds: number },
  data: { slug: string; name: string; password: string },
) =>
  run(sql`
    select (keep_link(${link.id}, 'signup', null, ${link.email}, ${bytes(link.hash)}, ${JSON.stringify(data)}::jsonb, ${link.seconds})) is null as kept,
      exists (select from users where email = ${link.email} and issuer_id is null) as is_account,
      exists (select from tenants where slug = ${data.slug}) as is_taken`);

/** A link of this kind that is good, as conditions on the alias l. */
const isGood = (kind: string, link: Link) =>
  sql`l.id = ${link.id} and l.kind = ${kind} and l.token_hash = ${bytes(link.hash)} and l.expires_at > now()`;

/**
 * Makes the tenant of a sign-up, if one of the hashes is the password that it chose. No row when the link is not good; else it
 * says whether the password is that one, and what was done. Violates `users_email` when the address gets its account meanwhile.
 */
export const makeSignedUp = (
  link: Link,
  old: Hashes,
  of: { userId: string; tenantId: string; plan: string; site: string },
) =>
  run(sql`
    select l.is_theirs, case when l.is_theirs then
      sign_up(l.id, l.token_hash, ${of.userId}, ${of.tenantId}, ${of.plan}, ${of.site}) end as done
    from (select l.*, l.data ->> 'password' in ${old} as is_theirs from mailed_links l where ${isGood("signup", link)}) l`);

/**
 * Notes that the address of the link's account is confirmed, if one of the hashes is its password, or none is given. No row when
 * the link is not good; else it says whether that was done.
 */
export const verifyEmail = (link: Link, old: Hashes | undefined) =>
  runAfter(
    sql`select from users u where u.id = (select l.user_id from mailed_links l where ${isGood("verification", link)})
      for no key update`,
    sql`
    with l as (
      select l.id, u.id as user_id, ${old ? sql`coalesce(u.password_hash in ${old}, false)` : sql`true`} as is_theirs
      from mailed_links l join users u on u.id = l.user_id and u.email = l.email where ${isGood("verification", link)}
    ), used as (
      delete from mailed_links where id in (select id from l where is_theirs) returning user_id
    ), done as (
      update users set email_verified_at = coalesce(email_verified_at, now()) where id in (select user_id from used) returning id
    )
    select exists (select from done) as is_done from l where not is_theirs or exists (select from used)`,
  );

/** Keeps another link that confirms the account's address; no row when that address is confirmed, or another one by now. */
export const keepVerification = (self: Self, link: Link & { email: string; seconds: number }) =>
  run(sql`
    with u as (
      select * from users where id = ${self.userId} and email = ${link.email} and ${isOwn(self)} and email_verified_at is null
    ), kept as (
      select keep_link(${link.id}, 'verification', u.id, u.email, ${bytes(link.hash)}, '{}', ${link.seconds}) from u
    )
    select (select count(*) from kept)::int as kept from u`);

/** Who somebody is, in a session of their own; no row in another one. */
export const findAccount = (self: Self) =>
  run(sql`
    select u.id as user_id, u.email, u.name, u.locale, u.email_verified_at is not null as is_verified,
      ${isLocked} as is_locked, ${held(sql`u.id`)} from users u where u.id = ${self.userId} and ${isOwn(self)}`);

/** Rows of each kind that somebody is shown of what is stored about them, the newest. */
const MOST_SHOWN = 1000;

/** What is stored about a person and of no tenant's content; no row in a session that is not their own. */
export const personalData = (self: Self) =>
  run(sql`
    with me as (
      select * from users where id = ${self.userId} and ${isOwn(self)}
    )
    select json_build_object('id', u.id, 'email', u.email, 'name', u.name, 'locale', u.locale,
        'email_verified_at', ${instant(sql`u.email_verified_at`)}, 'created_at', ${instant(sql`u.created_at`)}) as user,
      (select coalesce(json_agg(m), '[]') from (
        select t.id as tenant_id, t.slug, t.name, m.role, ${instant(sql`m.created_at`)} as created_at
        from memberships m join tenants t on t.id = m.tenant_id where m.user_id = u.id order by m.created_at desc limit ${MOST_SHOWN}) m)
        as memberships,
      (select coalesce(json_agg(s), '[]') from (
        select s.id, s.tenant_id, s.user_agent, s.country, ${instant(sql`s.created_at`)} as created_at,
          ${instant(sql`s.rotated_at`)} as last_used_at, ${instant(sql`s.expires_at`)} as expires_at
        from memberships m join sessions s on s.tenant_id = m.tenant_id and s.user_id = m.user_id
        where m.user_id = u.id order by s.created_at desc limit ${MOST_SHOWN}) s) as sessions,
      (select coalesce(json_agg(f), '[]') from (
        select ${shownFactor} from factors f where f.user_id = u.id and f.confirmed_at is not null order by f.created_at desc) f)
        as factors
    from me u`);

export const changeProfile = (
  self: Self,
  name: string | null | undefined,
  locale: string | null | undefined,
) =>
  run(sql`
    update users u set name = ${name === undefined ? sql`u.name` : name}, locale = ${locale === undefined ? sql`u.locale` : locale}
    where u.id = ${self.userId} and ${isOwn(self)} returning u.id`);

/** After so many second factors that were wrong, one after the other, another is heard every LOCK_MINUTES. */
const MAX_FAILURES = 10;
const LOCK_MINUTES = 15;
/** Proofs that one challenge takes. */
const MAX_ATTEMPTS = 5;
const MAX_FACTORS = 20;
const PENDING_MINUTES = 15;

/** Whether the user u may guess no second factor now. */
const isLocked = sql`coalesce(u.factor_failures >= ${MAX_FAILURES} and u.factor_failed_at > now() - ${LOCK_MINUTES} * interval '1 minute', false)`;

/** What is needed to check a second factor of the user of this id. */
const held = (user: SQL) => sql`
  exists (select from recovery_codes r where r.user_id = ${user}) as has_codes,
  (select coalesce(json_agg(json_build_object('id', f.id, 'type', f.type, 'name', f.name, 'is_confirmed', f.confirmed_at is not null,
    'secret', f.secret, 'credential_id', f.credential_id, 'transports', f.transports,
    'public_key', encode(f.public_key, 'hex'), 'counter', f.counter)), '[]')
    from factors f where f.user_id = ${user}
      and (f.confirmed_at is not null or f.created_at > now() - ${PENDING_MINUTES} * interval '1 minute')) as factors`;

/** One guess more at a second factor. It counts as wrong until it is shown to be right, so that guesses at once all count. */
const guessed = sql`factor_failures = w.factor_failures + 1, factor_failed_at = now()`;

/**
 * Counts an attempt at a challenge of a second factor; no row when it is not good, or was tried too often. `closed` is the
 * tenant's status where the member cannot sign in to it. Else an attempt that is a guess counts against the account too, unless
 * that is locked.
 */
export const takeAttempt = (challenge: string, isGuess: boolean) =>
  run(sql`
    with u as (
      select u.*, ${isLocked} as is_locked from users u join challenges c on c.user_id = u.id
      where c.id = ${challenge} for no key update of u
    ), c as (
      update challenges c set attempts = attempts + 1 from u
      where c.id = ${challenge} and c.expires_at > now() and c.attempts < ${MAX_ATTEMPTS} and c.user_id = u.id
      returning c.user_id, c.tenant_id, c.amr
    ), closed as (
      select t.status from c join memberships m on m.user_id = c.user_id and m.tenant_id = c.tenant_id
        join tenants t on t.id = c.tenant_id where not ${canEnter}
    ), counted as (
      update users w set ${guessed} from c, u
      where ${isGuess} and w.id = c.user_id and not u.is_locked and not exists (select from closed)
    )
    select c.user_id, c.tenant_id, c.amr, (select status from closed) as closed, u.email, u.name, u.locale, u.is_locked, ${held(sql`c.user_id`)} from c, u`);

/** What findAccount() answers, and counts a guess at a second factor unless the account is locked. */
export const takeGuess = (self: Self) =>
  run(sql`
    with u as (
      select u.*, ${isLocked} as is_locked from users u where u.id = ${self.userId} and ${isOwn(self)} for no key update
    ), counted as (
      update users w set ${guessed} from u where w.id = u.id and not u.is_locked
    )
    select u.id as user_id, u.email, u.name, u.locale, u.is_locked, ${held(sql`u.id`)} from u`);

/** Keeps a challenge for a passkey, of whoever it is. */
export const keepPasskeyChallenge = (id: string) =>
  run(newChallenge(id, sql`select null::uuid as user_id, null::uuid as tenant_id, '{}'::text[] as amr`));

/** The passkey of this name, for an open challenge that anybody's may answer; no row without both. */
export const findPasskey = (challenge: string, credentialId: string) =>
  run(sql`
    select f.id, f.user_id, f.credential_id, encode(f.public_key, 'hex') as public_key, f.counter
    from factors f, challenges c where f.credential_id = ${credentialId} and f.confirmed_at is not null
      and c.id = ${challenge} and c.expires_at > now() and c.user_id is null`);

/** Each uses a factor, so that the same proof does not work again. The statements lack their RETURNING. */
export const USES = {
  totp: (id: string, step: number, secret: string) => sql`
    update factors set last_step = ${step}, last_used_at = now(), secret = ${secret}
    where id = ${id} and confirmed_at is not null and (last_step is null or last_step < ${step})`,
  // A passkey that does not count says 0 each time.
  passkey: (id: string, counter: number) => sql`
    update factors set counter = ${counter}, last_used_at = now()
    where id = ${id} and confirmed_at is not null and (counter < ${counter} or counter = 0 and ${counter} = 0)`,
  recoveryCode: (userId: string, hash: Uint8Array) => sql`
    delete from recovery_codes where user_id = ${userId} and hash = ${bytes(hash)}`,
  newTotp: (id: string, step: number) => sql`
    update factors set last_step = ${step}, confirmed_at = now(), last_used_at = now()
    where id = ${id} and confirmed_at is null`,
  newPasskey: (
    id: string,
    made: { id: string; publicKey: Uint8Array; counter: number; transports: string[] },
  ) => sql`
    update factors set credential_id = ${made.id}, public_key = ${bytes(made.publicKey)}, counter = ${made.counter},
      transports = ${texts(made.transports.filter((transport) => /^[\w-]+$/.test(transport)))}, confirmed_at = now(), last_used_at = now()
    where id = ${id} and confirmed_at is null`,
};

/** The INSERT of recovery codes for the user that the CTE `used` has. */
const newCodes = (codes: readonly Uint8Array[]) => sql`
  insert into recovery_codes (user_id, hash)
  select used.user_id, decode(code, 'hex') from used, unnest(${texts(codes.map((code) => Buffer.from(code).toString("hex")))}) code`;

/**
 * That a challenge is answered by the use of a factor, as CTEs for startSession(); new recovery codes are kept with it. Unless
 * `may` holds and the factor can be used, neither the factor nor the challenge is used up. The user is locked first, as by
 * every change of an account.
 */
export const answering = (challenge: string, use: SQL, may: SQL, codes: readonly Uint8Array[] = []) => sql`
  whose as (
    select u.id from users u join challenges c on c.user_id = u.id where c.id = ${challenge} for no key update of u
  ), open_challenge as (
    select c.id from challenges c where c.id = ${challenge} and c.expires_at > now() and ${may}
      and (c.user_id is null or exists (select from whose)) for update
  ), used as (${use} and exists (select from open_challenge) returning user_id), asked as (
    delete from challenges where id in (select id from open_challenge) and exists (select from used) returning id
  ), codes as (${codes.length > 0 ? newCodes(codes) : sql`select`}), settled as (
    update users set factor_failures = 0 where id in (select user_id from used) and factor_failures > 0
  ), done as (
    select from asked, used
  )`;

/** Whether the member that a challenge is of can sign in to its tenant now. */
export const mayEnter = (of: { user_id: string; tenant_id: string }) =>
  sql`exists (select from memberships m join tenants t on t.id = m.tenant_id
    where m.user_id = ${of.user_id} and t.id = ${of.tenant_id} and ${canEnter})`;

/** Renews a session's proof, by a password or by the use of a factor; the row is of its member. */
export const renewProof = (
  self: Self,
  by: { hashes: Hashes } | { use: SQL; challenge: string | undefined },
  { amr, twinHash }: { amr: string[]; twinHash: Uint8Array },
) => {
  const use =
    "use" in by
      ? sql`asked as (
        delete from challenges where id = ${by.challenge ?? null} and expires_at > now() and user_id is null returning id
      ), used as (${by.use} and (${by.challenge === undefined} or exists (select from asked)) returning user_id)`
      : sql`used as (
        select w.id as user_id from users w where w.id = ${self.userId} and w.password_hash in ${by.hashes}
          and not exists (select from factors f where f.user_id = w.id and f.confirmed_at is not null)
      )`;
  return runInTurn(
    self.userId,
    sql`
    with ${use}, settled as (
      update users set factor_failures = 0 where id in (select user_id from used) and factor_failures > 0
    )
    update sessions s set auth_at = now(), amr = ${texts(amr)}, twin_hash = ${bytes(twinHash)}
    from used, users u, memberships m, tenants t
    where s.id = ${self.sessionId} and s.user_id = ${self.userId} and used.user_id = s.user_id and ${isOwn(self)}
      and u.id = s.user_id and m.tenant_id = s.tenant_id and m.user_id = s.user_id and t.id = s.tenant_id
    returning s.generation, ${member}, ${proof({ authAt: sql`s.auth_at`, amr: sql`s.amr` })}`,
  );
};

type NewFactor = { id: string; type: string; name: string; secret: string | null };

/** Keeps a factor that is not confirmed yet, in the place of another such one of its type. `who` is a user's id. */
const newFactor = (who: SQL, { id, type, name, secret }: NewFactor) => sql`
  insert into factors (id, user_id, type, name, secret)
  select ${id}::uuid, w.id, ${type}, ${name}, ${secret} from (select (${who}) as id) w
  where w.id is not null and (select count(*) from factors f where f.user_id = w.id and f.confirmed_at is not null) < ${MAX_FACTORS}
  on conflict (user_id, type) where confirmed_at is null do update set id = excluded.id, name = excluded.name,
    secret = excluded.secret, created_at = excluded.created_at`;

/** Keeps a factor of one's own to be confirmed; no row when there are too many. */
export const keepFactor = (self: Self, factor: NewFactor) =>
  run(
    sql`${newFactor(sql`select u.id from users u where u.id = ${self.userId} and ${isOwn(self)}`, factor)} returning id`,
  );

/** The same for whoever has to have one to sign in. */
export const keepFactorOf = (userId: string, factor: NewFactor) =>
  run(sql`${newFactor(sql`select ${userId}::uuid`, factor)} returning id`);

/**
 * Confirms one's own factor, with these recovery codes if there were none: the row says whether they are kept. The session has
 * proved the factor by that. No row when it was confirmed before.
 */
export const confirmFactor = (self: Self, use: SQL, codes: readonly Uint8Array[], amr: string) =>
  runInTurn(
    self.userId,
    sql`
    with used as (${use} and ${isOwn(self)} returning user_id), codes as (
      ${newCodes(codes)} where not exists (select from recovery_codes r where r.user_id = used.user_id) returning user_id
    )
    update sessions s set amr = array(select distinct unnest(s.amr || ${texts([amr, "mfa"])}))
    from used where s.id = ${self.sessionId} and s.user_id = used.user_id
    returning (select count(*) > 0 from codes) as are_kept`,
  );

/** One's own factors, newest first. */
export const listFactors = (self: Self) =>
  run(sql`
    select ${shownFactor} from factors f where f.user_id = ${self.userId} and f.confirmed_at is not null and ${isOwn(self)}
    order by f.created_at desc, f.id desc`);

export const renameFactor = (self: Self, id: string, name: string | undefined) =>
  run(sql`
    update factors f set name = ${name === undefined ? sql`f.name` : name}
    where f.id = ${id} and f.user_id = ${self.userId} and f.confirmed_at is not null and ${isOwn(self)} returning ${shownFactor}`);

/**
 * Removes a factor, and with the last one the recovery codes. One row: whether there is such a factor, and whether it stays
 * because a tenant requires one.
 */
export const removeFactor = (self: Self, id: string) =>
  runInTurn(
    self.userId,
    sql`
    with f as (
      select * from factors where id = ${id} and user_id = ${self.userId} and confirmed_at is not null and ${isOwn(self)}
    ), others as (
      select count(*) as many from factors where user_id = ${self.userId} and confirmed_at is not null and id <> ${id}
    ), required as (
      select from memberships m join tenants t on t.id = m.tenant_id, others
      where m.user_id = ${self.userId} and t.require_second_factor and others.many = 0
    ), gone as (
      delete from factors where id in (select id from f) and not exists (select from required) returning type
    ), codes as (
      delete from recovery_codes where user_id = ${self.userId} and exists (select from gone) and (select many from others) = 0
    )
    select exists (select from f) as is_there, exists (select from required) as is_required, (select type from gone) as type`,
  );

/** Gives one's own account other recovery codes; no row without a factor. */
export const renewCodes = (self: Self, codes: readonly Uint8Array[]) =>
  runInTurn(
    self.userId,
    sql`
    with used as (
      select u.id as user_id from users u where u.id = ${self.userId} and ${isOwn(self)}
        and exists (select from factors f where f.user_id = u.id and f.confirmed_at is not null)
    ), old as (
      delete from recovery_codes where user_id in (select user_id from used)
    ), codes as (${newCodes(codes)} returning user_id)
    select user_id from codes limit 1`,
  );

/**
 * Removes a member's factors, on behalf of an owner: `before` notes whether they are in other tenants too, whose protection the
 * factors are as well, and the rest is `within` the tenant's context. `may` is whether they still may.
 */
export const resettingFactors = (tenantId: string, userId: string, may: SQL) => {
  const isAlone = sql`current_setting('app.alone', true) = 'yes'`;
  const theirs = sql`exists (select from memberships m where m.user_id = ${userId})`;
  return {
    before: (q: Builder) => ({
      "": q.execute(sql`
        select lock_outbox(${tenantId}), set_config('app.alone', case when exists (select from memberships
          where user_id = ${userId} and tenant_id <> ${tenantId}) then '' else 'yes' end, true)`),
    }),
    within: (q: Builder) => ({
      acting: q.execute(sql`select 1 where ${may}`),
      there: q.execute(sql`
        select u.email, u.locale, ${isAlone} as is_alone from memberships m join users u on u.id = m.user_id where m.user_id = ${userId}`),
      gone: q.execute(sql`select reset_factors(${userId}) where ${may} and ${isAlone} and ${theirs}`),
    }),
  };
};

/** Rows of each kind that are deleted at once. */
const MOST_FORGOTTEN = 10_000;

/** Deletes links and challenges that have expired, and factors that nobody has confirmed. Returns whether there may be more. */
export async function forgetExpired(): Promise<boolean> {
  const past = (table: SQL, is: SQL) => sql`
    delete from ${table} where id in (select id from ${table} where ${is} limit ${MOST_FORGOTTEN} for update skip locked)`;
  const gone = await identityDb
    .batch([
      identityDb.execute(past(sql`mailed_links`, sql`expires_at < now()`)),
      identityDb.execute(past(sql`challenges`, sql`expires_at < now()`)),
      identityDb.execute(
        past(sql`factors`, sql`confirmed_at is null and created_at < now() - interval '1 day'`),
      ),
    ])
    .catch(rethrow);
  return gone.some(({ rowCount }) => rowCount === MOST_FORGOTTEN);
}
