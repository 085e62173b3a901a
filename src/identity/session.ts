import type { SQL } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { ACCESS_TOKEN_TTL_S } from "../caller.ts";
import {
  ACCOUNT,
  provenIn,
  provenNow,
  replaceRefreshToken,
  signingUp,
  startSession,
  WHO,
  type From,
  type Proven,
} from "../db/across-tenants.ts";
import { settings } from "../env.ts";
import { openTenantDb, violatedConstraint, type ForRequest } from "../db/client.ts";
import { Uuid } from "../values.ts";
import { Problem } from "../problem.ts";
import { SIGNUP_PLAN } from "../product/plans.ts";
import { newsOf, readNews } from "../tenant/news.ts";
import { EdgeRecord } from "../tenant/record.ts";
import { introduceTenant, tellTenant, updateTenant } from "../tenant/stub.ts";
import { closedFor } from "./refused.ts";
import { factorNeeded, KnownFactor } from "./challenge.ts";
import { LINK_TTL_S, makeLink } from "./mailed-link.ts";
import { mintAccessToken } from "./access-token.ts";
import { firstRefreshToken, readRefreshToken, type RefreshToken } from "./refresh-token.ts";

/** A session as the API answers it (API.md). */
export const Session = v.object({
  access_token: v.string(),
  token_type: v.literal("Bearer"),
  expires_in: v.number(),
  refresh_token: v.string(),
  session: v.object({ id: Uuid }),
  user: v.object({ id: Uuid, email: v.string() }),
  tenant: v.object({
    id: Uuid,
    slug: v.string(),
    name: v.string(),
    role: v.picklist(ROLES),
  }),
});
export type Session = v.InferOutput<typeof Session>;

/** A session just granted. It is told to nobody before the tenant's object has learned what it was granted on. */
export type Grant = {
  who: v.InferOutput<typeof Member>;
  refresh: RefreshToken;
  learned: () => Promise<void>;
  /** The token of the link that confirms the address of a new account. */
  verification?: string;
  /** Whether the user has had no session of such a program from that country. */
  isNewDevice?: boolean;
};

export const Member = v.object({
  user_id: v.string(),
  email: v.string(),
  version: v.number(),
  role: v.picklist(ROLES),
  tenant: EdgeRecord,
  /** When they proved who they are, in seconds, and how (RFC 8176). */
  auth_time: v.number(),
  amr: v.array(v.string()),
});
/** A member, and how far the tenant's outbox goes. */
const Entering = v.object({ ...Member.entries, head: v.number(), is_new_device: v.optional(v.boolean()) });
const Found = v.object({
  members: v.array(Entering),
  enterable: v.array(Entering),
  factors: v.nullable(v.array(KnownFactor)),
  is_alone: v.boolean(),
  is_host: v.boolean(),
});
const NOBODY: v.InferOutput<typeof Found> = {
  members: [],
  enterable: [],
  factors: null,
  is_alone: false,
  is_host: true,
};

type Hashes = readonly [string, ...string[]];
type SignUp = { email: string; hashes: Hashes; slug: string; name: string; from: From };
const SignedUp = v.object({
  ...Member.entries,
  links: v.number(),
  factors: v.nullable(v.array(KnownFactor)),
});

/**
 * Makes a tenant on the plan `solo` with its owner and a session: all or nothing. An email that exists gets the tenant added
 * if one of the hashes is its password's, else undefined. The same sign-up again within a
 * day, as after a lost answer, starts a session in the tenant that the first one made. Throws `slug_taken`, and
 * `second_factor_required` when the tenant was added to an account that has one.
 */
export async function signUp(of: SignUp, request: ForRequest): Promise<Grant | undefined> {
  const [userId, tenantId, refresh] = [uuidv7(), uuidv7(), firstRefreshToken(uuidv7())];
  const challengeId = crypto.randomUUID();
  const link = makeLink("verification", of.email);
  const db = openTenantDb("identity", tenantId, { id: tenantId, as: "object" }, request);
  const before = signingUp({
    ...of,
    userId,
    tenantId,
    plan: SIGNUP_PLAN,
    site: settings.SIGNUP_SITE,
    refresh,
    challengeId,
    link: { ...link, seconds: LINK_TTL_S.verification },
  });
  const done = await db.writeAfter(before, { news: newsOf({ after: 0 }) }).catch((error: unknown) => {
    if (violatedConstraint(error) === "tenants_slug") return undefined;
    throw error;
  });
  if (!done) return signUpAgain(of);
  const [who] = v.parse(v.array(SignedUp), done.signedUp.rows);
  if (!who) return undefined;
  const learned = () => tellTenant(tenantId, readNews(done.news));
  if (who.factors) {
    await learned();
    throw await factorNeeded(challengeId, who.factors);
  }
  return { who, refresh, learned, ...(who.links > 0 && { verification: link.token }) };
}

/** Starts a session in the tenant that the same sign-up has made. Throws `slug_taken` when another one made it. */
async function signUpAgain(of: SignUp): Promise<Grant> {
  const { members, refresh } = await start(WHO.signsUpAgain(of), { ...of, proven: provenNow("pwd") });
  if (!members[0]) throw new Problem("slug_taken");
  return entering(members[0], refresh);
}

/**
 * Starts a session for the password's hashes, in one statement. Undefined when email and password do not belong
 * together, or the user is not in `slug`. Throws `invalid_input` when a slug is needed to tell which tenant, `no_tenant` when
 * the account is in none, `not_found` when there is none of that slug and the request's host said it, and
 * `second_factor_required` with a challenge.
 */
export async function signIn(of: {
  email: string;
  hashes: Hashes;
  slug: string | undefined;
  isHost: boolean;
  from: From;
}): Promise<Grant | undefined> {
  const slug = of.slug ?? null;
  const how = {
    ...of,
    proven: provenNow("pwd"),
    host: of.isHost ? slug : null,
    account: ACCOUNT.hasPassword(of),
  };
  return theOne(await start(WHO.signsIn({ ...of, slug }), how));
}

/** Starts a session for the member that the condition finds, as they have proved who they are. Throws as signIn() does. */
export const enter = async (who: SQL, how: How): Promise<Grant | undefined> => theOne(await start(who, how));

/**
 * Starts a session of the same user in another tenant that it belongs to, in one statement; undefined when it does not.
 * Not from a session that one tenant's issuer vouched for: that is worth nothing elsewhere. Throws as signIn() does, when that
 * tenant requires a second factor and the session was started without.
 */
export async function switchTenant(of: {
  userId: string;
  sessionId: string;
  slug: string;
  from: From;
}): Promise<Grant | undefined> {
  const { members, refresh } = await start(WHO.switches(of), { ...of, proven: provenIn(of.sessionId) });
  return members[0] && entering(members[0], refresh);
}

/** Throws when a slug is needed to tell which tenant it is. */
function theOne({ members, refresh }: { members: v.InferOutput<typeof Entering>[]; refresh: RefreshToken }) {
  if (members.length > 1) {
    const tenants = members.map(({ tenant: { id, slug, name } }) => ({ id, slug, name }));
    const slugs = tenants.map(({ slug }) => slug).join(", ");
    throw new Problem("invalid_input", {
      errors: [{ pointer: "/tenant", detail: `Say which tenant: ${slugs}.` }],
      tenants,
    });
  }
  return members[0] && entering(members[0], refresh);
}

type How = {
  from: From;
  proven: Proven;
  host?: string | null;
  hashes?: Hashes;
  only?: SQL;
  account?: SQL;
};

/**
 * Starts a session for the one member that the condition finds, of the aliases u, m and t, in a tenant that can be entered.
 * Returns all those in such tenants, by slug. Throws `tenant_suspended`, `tenant_closing` or `tenant_erasing` when only others
 * are found, `no_tenant` when `account` is in none, `not_found` when no tenant has the slug of the request's host, and
 * `second_factor_required` or `second_factor_enrolment_required`, with a challenge, when the proof is not enough.
 */
async function start(who: SQL, { from, proven, host = null, hashes, only, account }: How) {
  const refresh = firstRefreshToken(uuidv7());
  const challengeId = crypto.randomUUID();
  const rows = await startSession(who, {
    refresh,
    from,
    proven,
    challengeId,
    host,
    hashes,
    only,
    account,
  }).catch((error: unknown) => {
    // Whoever was removed meanwhile is no member.
    if (violatedConstraint(error) === "sessions_membership") return [NOBODY];
    throw error;
  });
  const [{ members, enterable, factors, is_alone, is_host }] = v.parse(v.tuple([Found]), rows);
  if (!is_host) throw new Problem("not_found");
  if (is_alone) throw new Problem("no_tenant");
  const [first] = members;
  if (first && enterable.length === 0) throw closedFor(first.tenant.status);
  if (factors) throw await factorNeeded(challengeId, factors);
  return { members: enterable, refresh };
}

const Revoked = v.object({ tenant_id: v.string(), head: v.number() });

/**
 * Replaces a refresh token by its successor, in one transaction. The token before the last gets the same successor until
 * that one is first used, for a second tab and for an answer that was lost, however late; any older one is a stolen
 * token at work, and revokes the session, as the tenant's object knows before this returns. Undefined when refused, as at
 * the host of another tenant.
 */
export async function refreshSession(text: string, host: string | undefined): Promise<Grant | undefined> {
  const tokens = readRefreshToken(text);
  if (!tokens) return undefined;
  const { presented, successor } = tokens;
  const { refreshed, revoked } = await replaceRefreshToken(presented, successor, host);
  const [ended] = v.parse(v.array(Revoked), revoked);
  if (ended) {
    await updateTenant(ended.tenant_id, ended.head);
    return undefined;
  }
  const [who] = v.parse(v.array(Entering), refreshed);
  return who && entering(who, successor);
}

const entering = (who: v.InferOutput<typeof Entering>, refresh: RefreshToken): Grant => ({
  who,
  refresh,
  learned: () => introduceTenant(who.tenant, who.head),
  isNewDevice: who.is_new_device ?? false,
});

/** The session, once the tenant's object knows what it was granted on. Throws `unavailable`. */
export async function granted({ who, refresh, learned }: Grant): Promise<Session> {
  await learned();
  return sessionOf(who, refresh);
}

/** What a member is told of the session that this refresh token is of. */
export async function sessionOf(
  { user_id: userId, email, version, role, tenant, auth_time: authTime, amr }: v.InferOutput<typeof Member>,
  { text, sessionId }: Pick<RefreshToken, "text" | "sessionId">,
): Promise<Session> {
  return {
    access_token: await mintAccessToken({
      tenantId: tenant.id,
      userId,
      sessionId,
      role,
      version,
      authTime,
      amr,
    }),
    token_type: "Bearer",
    expires_in: ACCESS_TOKEN_TTL_S,
    refresh_token: text,
    session: { id: sessionId },
    user: { id: userId, email },
    tenant: { id: tenant.id, slug: tenant.slug, name: tenant.name, role },
  };
}
