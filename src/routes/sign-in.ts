import * as v from "valibot";
import { factory, forRequest } from "../context.ts";
import { userAgent } from "../edge/client.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { valid } from "../http/valid.ts";
import { NewPassword, Password } from "../identity/account.ts";
import { Email, Slug } from "../values.ts";
import { slowGuessing } from "../edge/guessing.ts";
import { refused, WRONG_PASSWORD } from "../identity/refused.ts";
import { slugOfHost } from "../edge/host.ts";
import { hashPassword } from "../identity/password.ts";
import { granted, refreshSession, Session, signIn, signUp } from "../identity/session.ts";
import { Problem } from "../problem.ts";
import { NewSlug } from "../tenant/slug.ts";
import { TenantName } from "../tenant/record.ts";

const tag = "Sessions";

const NewTenant = v.strictObject({ name: TenantName, slug: NewSlug });
const SignUp = v.strictObject({ email: Email, password: NewPassword, tenant: NewTenant });
const SignIn = v.strictObject({
  email: Email,
  password: Password,
  tenant: v.optional(Slug),
});
const Refresh = v.strictObject({ refresh_token: v.pipe(v.string(), v.maxLength(256)) });
nameSchemas({ Session, SignUp, SignIn, Refresh });

export const signupRoutes = factory.createApp().post(
  "/",
  floodGuard,
  operation("createSignup", {
    summary: "Make a tenant and its owner",
    tag,
    answers: { 201: Session },
    problems: ["unauthenticated", "slug_taken", "not_found"],
    token: false,
  }),
  valid("json", SignUp),
  async (c) => {
    // A tenant's host is that tenant's: a new one is made elsewhere.
    if (slugOfHost(c.req.url) !== undefined) throw new Problem("not_found");
    const { email, password, tenant } = c.req.valid("json");
    const grant = await slowGuessing(c, email, async () => {
      const hash = await hashPassword(email, password);
      return signUp({ email, hash, ...tenant, userAgent: userAgent(c) }, forRequest(c));
    });
    if (!grant) throw refused(WRONG_PASSWORD);
    return c.json(await granted(grant), 201);
  },
);

/** What starts a session, or goes on with one, without an access token. */
export const signInRoutes = factory
  .createApp()
  .post(
    "/",
    floodGuard,
    operation("createSession", {
      summary: "Sign in",
      tag,
      answers: { 201: Session },
      problems: [
        "unauthenticated",
        "tenant_suspended",
        "tenant_closing",
        "tenant_erasing",
        "wrong_host",
        "not_found",
      ],
      token: false,
    }),
    valid("json", SignIn),
    async (c) => {
      const { email, password, tenant } = c.req.valid("json");
      const host = slugOfHost(c.req.url);
      if (host !== undefined && tenant !== undefined && host !== tenant) throw new Problem("wrong_host");
      const grant = await slowGuessing(c, email, async () =>
        signIn({
          email,
          hash: await hashPassword(email, password),
          slug: tenant ?? host,
          isHost: host !== undefined,
          userAgent: userAgent(c),
        }),
      );
      if (!grant) throw refused(WRONG_PASSWORD);
      return c.json(await granted(grant), 201);
    },
  )
  .post(
    "/refresh",
    floodGuard,
    operation("refreshSession", {
      summary: "Exchange a refresh token for a new access token and refresh token",
      tag,
      answers: { 200: Session },
      problems: ["unauthenticated"],
      token: false,
    }),
    valid("json", Refresh),
    async (c) => {
      const grant = await refreshSession(c.req.valid("json").refresh_token, slugOfHost(c.req.url));
      if (!grant) throw refused("The refresh token is not valid any more.");
      return c.json(await granted(grant), 200);
    },
  );
