import type { SQL } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { ACCESS_TOKEN_TTL_S } from "../caller.ts";
import { replaceRefreshToken, signingUp, startSession, WHO } from "../db/across-tenants.ts";
import { settings } from "../env.ts";
import { openTenantDb, violatedConstraint, type ForRequest } from "../db/client.ts";
import { Uuid } from "../values.ts";
import { Problem } from "../problem.ts";
import { SIGNUP_PLAN } from "../product/plans.ts";
import { newsOf, readNews } from "../tenant/news.ts";
import { EdgeRecord } from "../tenant/record.ts";
import { introduceTenant, tellTenant, updateTenant } from "../tenant/stub.ts";
import { closedFor } from "./refused.ts";
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
};

export const Member = v.object({
  user_id: v.string(),
  email: v.string(),
  version: v.number(),
  role: v.picklist(ROLES),
  tenant: EdgeRecord,
});
/** A member, and how far the tenant's outbox goes. */
const Entering = v.object({ ...Member.entries, head: v.number() });
const Found = v.object({ members: v.array(Entering), enterable: v.array(Entering), is_host: v.boolean() });
const NOBODY: v.InferOutput<typeof Found> = { members: [], enterable: [], is_host: true };

type SignUp = { email: string; hash: string; slug: string; name: string; userAgent: string };

/**
 * Makes a tenant on the plan `solo` with its owner and a session: all or nothing. An email that exists gets the tenant added
 * if the hash is its password's, else undefined. The same sign-up again within a
 * day, as after a lost answer, starts a session in the tenant that the first one made. Throws `slug_taken`.
 */
export async function signUp(of: SignUp, request: ForRequest): Promise<Grant | undefined> {
  const [userId, tenantId, refresh] = [uuidv7(), uuidv7(), firstRefreshToken(uuidv7())];
  const db = openTenantDb("identity", tenantId, { id: tenantId, as: "object" }, request);
  const before = signingUp({
    ...of,
    userId,
    tenantId,
    plan: SIGNUP_PLAN,
    site: settings.SIGNUP_SITE,
    refresh,
  });
  const done = await db.writeAfter(before, { news: newsOf({ after: 0 }) }).catch((error: unknown) => {
    if (violatedConstraint(error) === "tenants_slug") return undefined;
    throw error;
  });
  if (!done) return signUpAgain(of);
  const [who] = v.parse(v.array(Member), done.signedUp.rows);
  return who && { who, refresh, learned: () => tellTenant(tenantId, readNews(done.news)) };
}

/** Starts a session in the tenant that the same sign-up has made. Throws `slug_taken` when another one made it. */
async function signUpAgain(of: SignUp): Promise<Grant> {
  const { members, refresh } = await start(WHO.signsUpAgain(of), of.userAgent);
  if (!members[0]) throw new Problem("slug_taken");
  return entering(members[0], refresh);
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
  const { members, refresh } = await start(
    WHO.signsIn({ ...of, slug }),
    of.userAgent,
    of.isHost ? slug : null,
  );
  if (members.length > 1) {
    const slugs = members.map(({ tenant }) => tenant.slug).join(", ");
    throw new Problem("invalid_input", {
      errors: [{ pointer: "/tenant", detail: `Say which tenant: ${slugs}.` }],
    });
  }
  return members[0] && entering(members[0], refresh);
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
  const { members, refresh } = await start(WHO.switches(of), of.userAgent);
  return members[0] && entering(members[0], refresh);
}

/**
 * Starts a session for the one member that the condition finds, of the aliases u, m and t, in a tenant that can be entered.
 * Returns all those in such tenants, by slug. Throws `tenant_suspended`, `tenant_closing` or `tenant_erasing` when only others
 * are found, and `not_found` when no tenant has the slug of the request's host.
 */
async function start(who: SQL, userAgent: string, host: string | null = null) {
  const refresh = firstRefreshToken(uuidv7());
  const rows = await startSession(who, refresh, userAgent, host).catch((error: unknown) => {
    // Whoever was removed meanwhile is no member.
    if (violatedConstraint(error) === "sessions_membership") return [NOBODY];
    throw error;
  });
  const [{ members, enterable, is_host }] = v.parse(v.tuple([Found]), rows);
  if (!is_host) throw new Problem("not_found");
  const [first] = members;
  if (first && enterable.length === 0) throw closedFor(first.tenant.status);
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
});

/** The session, once the tenant's object knows what it was granted on. Throws `unavailable`. */
export async function granted({ who, refresh, learned }: Grant): Promise<Session> {
  await learned();
  return sessionOf(who, refresh);
}

/** What a member is told of the session that this refresh token is of. */
export async function sessionOf(
  { user_id: userId, email, version, role, tenant }: v.InferOutput<typeof Member>,
  { text, sessionId }: Pick<RefreshToken, "text" | "sessionId">,
): Promise<Session> {
  return {
    access_token: await mintAccessToken({ tenantId: tenant.id, userId, sessionId, role, version }),
    token_type: "Bearer",
    expires_in: ACCESS_TOKEN_TTL_S,
    refresh_token: text,
    session: { id: sessionId },
    user: { id: userId, email },
    tenant: { id: tenant.id, slug: tenant.slug, name: tenant.name, role },
  };
}
