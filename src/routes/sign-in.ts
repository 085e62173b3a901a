import * as v from "valibot";
import { factory } from "../context.ts";
import { operation } from "../http/openapi.ts";
import { floodGuard, userAgent } from "../http/request.ts";
import { valid } from "../http/valid.ts";
import { slugOfHost } from "../identity/host.ts";
import { hashPassword } from "../identity/password.ts";
import { refreshSession, Session, signIn, signUp, type Grant } from "../identity/session.ts";
import { Problem } from "../problem.ts";
import { teachTenant } from "../tenant/ask.ts";
import { GONE } from "../tenant/credentials.ts";
import { Slug, TenantName } from "../tenant/record.ts";

const tag = "Sessions";

const Email = v.pipe(v.string(), v.trim(), v.toLowerCase(), v.email(), v.maxLength(254));
// No shorter than NIST SP 800-63B asks for, no longer than is worth hashing.
const NewPassword = v.pipe(v.string(), v.minLength(8), v.maxLength(256));
const NewTenant = v.strictObject({ name: TenantName, slug: Slug });
const SignUp = v.strictObject({ email: Email, password: NewPassword, tenant: NewTenant });
const SignIn = v.strictObject({
  email: Email,
  password: v.pipe(v.string(), v.maxLength(256)),
  tenant: v.optional(Slug),
});
const Refresh = v.strictObject({ refresh_token: v.pipe(v.string(), v.maxLength(256)) });

/** The session, once the tenant's object knows the record that it was granted on. Throws when there is no grant. */
async function answer(namespace: Env["TENANT"], grant: Grant | undefined, refusal: string): Promise<Session> {
  if (!grant) throw refused(refusal);
  await teachTenant(namespace, grant.record.id, { record: grant.record });
  return grant.session;
}

const refused = (detail: string) =>
  new Problem("unauthenticated", { detail, headers: { "www-authenticate": 'Bearer realm="partywall"' } });

const STALE_REFRESH = "The refresh token is not valid any more.";
const WRONG_PASSWORD = "The email and password do not belong together, or not to this tenant.";

export const signup = factory.createApp().post(
  "/",
  floodGuard,
  operation({
    summary: "Make a tenant and its owner",
    tag,
    answers: { 201: Session },
    problems: ["unauthenticated", "slug_taken", "not_found", "invalid_input"],
    token: false,
  }),
  valid("json", SignUp),
  async (c) => {
    // A tenant's host is that tenant's: a new one is made elsewhere.
    if (slugOfHost(c.req.url) !== undefined) throw new Problem("not_found");
    const { email, password, tenant } = c.req.valid("json");
    const hash = await hashPassword(email, password);
    const grant = await signUp({ email, hash, ...tenant, userAgent: userAgent(c) });
    return c.json(await answer(c.env.TENANT, grant, WRONG_PASSWORD), 201);
  },
);

/** What starts a session, or goes on with one, without an access token. */
export const signIns = factory
  .createApp()
  .post(
    "/",
    floodGuard,
    operation({
      summary: "Sign in",
      tag,
      answers: { 201: Session },
      problems: ["unauthenticated", "tenant_suspended", "wrong_host", "not_found", "invalid_input"],
      token: false,
    }),
    valid("json", SignIn),
    async (c) => {
      const { email, password, tenant } = c.req.valid("json");
      const host = slugOfHost(c.req.url);
      if (host !== undefined && tenant !== undefined && host !== tenant) throw new Problem("wrong_host");
      const hash = await hashPassword(email, password);
      const grant = await signIn({
        email,
        hash,
        slug: tenant ?? host,
        isHost: host !== undefined,
        userAgent: userAgent(c),
      });
      return c.json(await answer(c.env.TENANT, grant, WRONG_PASSWORD), 201);
    },
  )
  .post(
    "/refresh",
    floodGuard,
    operation({
      summary: "Exchange a refresh token for a new access token and refresh token",
      tag,
      answers: { 200: Session },
      problems: ["unauthenticated", "invalid_input"],
      token: false,
    }),
    valid("json", Refresh),
    async (c) => {
      const grant = await refreshSession(c.req.valid("json").refresh_token, slugOfHost(c.req.url));
      if (grant && "reused" in grant) {
        const { tenantId, sessionId } = grant.reused;
        await teachTenant(c.env.TENANT, tenantId, { floors: [[sessionId, GONE]] });
        throw refused(STALE_REFRESH);
      }
      return c.json(await answer(c.env.TENANT, grant, STALE_REFRESH), 200);
    },
  );
