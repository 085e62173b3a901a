import * as v from "valibot";
import type { Context } from "hono";
import { factory, forRequest, type Edge } from "../context.ts";
import { fromOf } from "../edge/client.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { slowGuessing } from "../edge/guessing.ts";
import { slugOfHost } from "../edge/host.ts";
import { answerSession, cookieOf, ownPage, wantsCookie } from "../edge/refresh-cookie.ts";
import { settings } from "../env.ts";
import { valid } from "../http/valid.ts";
import { checkPassword, NewPassword, Password } from "../identity/account.ts";
import { askSignUp } from "../identity/accounts.ts";
import { ChallengeToken } from "../identity/challenge.ts";
import { Assertion, Code, RecoveryCode, Registration } from "../identity/factor-proof.ts";
import {
  askPasskey,
  enrolFactor,
  FactorSetup,
  NewFactor,
  signInByFactor,
  signInByPasskey,
  wrongFactor,
} from "../identity/factors.ts";
import { hashesOf } from "../identity/password.ts";
import { refused, WRONG_PASSWORD } from "../identity/refused.ts";
import { granted, refreshSession, Session, signIn, signUp, type Grant } from "../identity/session.ts";
import { announce, requireMail } from "../mail/mail.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";
import { TenantName } from "../tenant/record.ts";
import { NewSlug } from "../tenant/slug.ts";
import { Email, Slug } from "../values.ts";

const tag = "Sessions";

const NewTenant = v.strictObject({ name: TenantName, slug: NewSlug });
const SignUp = v.strictObject({ email: Email, password: NewPassword, tenant: NewTenant });
const SignIn = v.strictObject({
  email: Email,
  password: Password,
  tenant: v.optional(Slug),
});
const Refresh = v.strictObject({ refresh_token: v.optional(v.pipe(v.string(), v.maxLength(256))) });
/** A challenge with one proof of a second factor. */
const FactorProof = v.strictObject({
  challenge: ChallengeToken,
  code: v.optional(Code),
  recovery_code: v.optional(RecoveryCode),
  response: v.optional(v.union([Assertion, Registration])),
});
const FactorSession = v.object({ ...Session.entries, recovery_codes: v.optional(v.array(v.string())) });
const Enrolment = v.strictObject({ challenge: ChallengeToken, ...NewFactor.entries });
const PasskeySignIn = v.strictObject({
  challenge: ChallengeToken,
  response: Assertion,
  tenant: v.optional(Slug),
});
const PasskeyChallenge = v.object({ challenge: v.string(), options: v.record(v.string(), v.unknown()) });
nameSchemas({
  Session,
  SignUp,
  SignIn,
  Refresh,
  FactorProof,
  FactorSession,
  Enrolment,
  PasskeySignIn,
  PasskeyChallenge,
});

/** What any way to sign in may be refused with. */
const PROBLEMS = [
  "unauthenticated",
  "second_factor_required",
  "second_factor_enrolment_required",
  "no_tenant",
  "tenant_suspended",
  "tenant_closing",
  "tenant_erasing",
  "wrong_host",
  "not_found",
  "insufficient_scope",
] as const;

export const signupRoutes = factory.createApp().post(
  "/",
  floodGuard,
  ownPage,
  operation("createSignup", {
    summary: "Make a tenant and its owner; 202 where the address is confirmed first, by the link in a mail",
    tag,
    answers: { 201: Session, 202: null },
    problems: [
      "unauthenticated",
      "second_factor_required",
      "slug_taken",
      "not_found",
      "mail_not_set_up",
      "insufficient_scope",
    ],
    token: false,
  }),
  valid("json", SignUp),
  async (c) => {
    // A tenant's host is that tenant's: a new one is made elsewhere.
    if (slugOfHost(c.req.url) !== undefined) throw new Problem("not_found");
    const { email, password, tenant } = c.req.valid("json");
    if (settings.SIGN_UP === "verify_first") {
      await askSignUp({ email, password, ...tenant });
      return c.body(null, 202);
    }
    checkPassword(password, email);
    const grant = await slowGuessing(c, email, async () => {
      const hashes = await hashesOf(email, password);
      return signUp({ email, hashes, ...tenant, from: fromOf(c) }, forRequest(c));
    });
    if (!grant) throw refused(WRONG_PASSWORD);
    if (grant.verification) await mailVerification(email, grant.verification);
    return answerSession(c, await granted(grant), 201);
  },
);

/** The tenant is made whether or not the mail can be sent: another is sent on demand. */
async function mailVerification(email: string, token: string): Promise<void> {
  try {
    await requireMail(email);
  } catch (error) {
    if (error instanceof Problem) return;
    throw error;
  }
  announce("verification", { email, token });
}

/** The tenant that the request is for, by its body or its host. Throws `wrong_host` when they differ. */
function wantedTenant(c: Context<Edge>, tenant: string | undefined) {
  const host = slugOfHost(c.req.url);
  if (host !== undefined && tenant !== undefined && host !== tenant) throw new Problem("wrong_host");
  return { slug: tenant ?? host, isHost: host !== undefined };
}

/** The session that was granted, in a tenant of the request's host; its user hears of it if it is on a new device. */
async function entered(c: Context<Edge>, grant: Grant): Promise<Session> {
  const host = slugOfHost(c.req.url);
  if (host !== undefined && host !== grant.who.tenant.slug) throw new Problem("wrong_host");
  const session = await granted(grant);
  const { userAgent, country } = fromOf(c);
  if (grant.isNewDevice)
    announce("newDevice", { email: grant.who.email, userAgent, country: country ?? "", at: new Date() });
  return session;
}

/** What starts a session, or goes on with one, without an access token. */
export const signInRoutes = factory
  .createApp()
  .post(
    "/",
    floodGuard,
    ownPage,
    operation("createSession", {
      summary: "Sign in",
      tag,
      answers: { 201: Session },
      problems: PROBLEMS,
      token: false,
    }),
    valid("json", SignIn),
    async (c) => {
      const { email, password, tenant } = c.req.valid("json");
      const of = { ...wantedTenant(c, tenant), from: fromOf(c) };
      const grant = await slowGuessing(c, email, async () =>
        signIn({ email, hashes: await hashesOf(email, password), ...of }),
      );
      if (!grant) throw refused(WRONG_PASSWORD);
      return answerSession(c, await entered(c, grant), 201);
    },
  )
  .post(
    "/factor",
    floodGuard,
    ownPage,
    operation("createFactorSession", {
      summary: "Sign in with the second factor that a challenge asks for",
      tag,
      answers: { 201: FactorSession },
      problems: PROBLEMS,
      token: false,
    }),
    valid("json", FactorProof),
    async (c) => {
      const { challenge, ...proof } = c.req.valid("json");
      const done = await signInByFactor(challenge, proof, fromOf(c));
      if (!done) throw wrongFactor();
      const session = await entered(c, done.grant);
      const codes = done.recoveryCodes && { recovery_codes: done.recoveryCodes };
      return answerSession(c, { ...session, ...codes }, 201);
    },
  )
  .post(
    "/factor/enrolment",
    floodGuard,
    operation("createFactorEnrolment", {
      summary: "Begin to add the second factor that a tenant requires, by a challenge that asks for it",
      tag,
      answers: { 201: FactorSetup },
      problems: ["unauthenticated"],
      token: false,
    }),
    valid("json", Enrolment),
    async (c) => {
      const { challenge, ...factor } = c.req.valid("json");
      const setup = await enrolFactor(challenge, factor);
      if (!setup) throw wrongFactor();
      return c.json(setup, 201);
    },
  )
  .post(
    "/passkey",
    floodGuard,
    ownPage,
    operation("createPasskeySession", {
      summary: "Sign in with a passkey alone",
      tag,
      answers: { 201: Session },
      problems: PROBLEMS,
      token: false,
    }),
    valid("json", PasskeySignIn),
    async (c) => {
      const { challenge, response, tenant } = c.req.valid("json");
      const of = { ...wantedTenant(c, tenant), from: fromOf(c) };
      const grant = await signInByPasskey(challenge, response, of);
      if (!grant) throw wrongFactor();
      return answerSession(c, await entered(c, grant), 201);
    },
  )
  .post(
    "/refresh",
    floodGuard,
    ownPage,
    operation("refreshSession", {
      summary: "Exchange a refresh token for a new access token and refresh token",
      tag,
      answers: { 200: Session },
      problems: ["unauthenticated", "insufficient_scope"],
      token: false,
    }),
    valid("json", Refresh),
    async (c) => {
      const token = wantsCookie(c) ? cookieOf(c) : c.req.valid("json").refresh_token;
      if (token === undefined) throw missing("/refresh_token");
      const grant = await refreshSession(token, slugOfHost(c.req.url));
      if (!grant)
        throw refused(
          "The refresh token has expired, was used before, or its session has ended. Sign in again.",
        );
      return answerSession(c, await granted(grant), 200);
    },
  );

const missing = (pointer: string) =>
  new Problem("invalid_input", { errors: [{ pointer, detail: "This is missing." }] });

export const passkeyRoutes = factory.createApp().post(
  "/",
  floodGuard,
  operation("createPasskeyChallenge", {
    summary: "Ask for a challenge that a passkey signs, to sign in with it alone or to prove again who calls",
    tag,
    answers: { 201: PasskeyChallenge },
    token: false,
  }),
  async (c) => c.json(await askPasskey(), 201),
);
