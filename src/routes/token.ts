import { validator } from "hono-openapi";
import * as v from "valibot";
import { factory, timed } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { nameSchemas, operation } from "../http/openapi.ts";
import { floodGuard, userAgent } from "../http/request.ts";
import { pointerTo } from "../http/valid.ts";
import { ACCESS_TOKEN_TTL_S } from "../identity/access-token.ts";
import { SCOPES } from "../identity/caller.ts";
import { exchange } from "../identity/exchange.ts";
import { slugOfHost } from "../identity/host.ts";
import { readSubjectToken, unknownToken, verifySubjectToken } from "../identity/subject-token.ts";
import { findTrust, forgetTrust } from "../identity/trust.ts";
import { Problem } from "../problem.ts";
import { teachTenant } from "../tenant/ask.ts";
import { Slug } from "../tenant/record.ts";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:ietf:params:oauth:token-type:";
const ACCESS_TOKEN = `${TYPE}access_token` as const;
const FORM = "application/x-www-form-urlencoded";
const MAX_TOKEN = 16 * 1024;

// Members that nobody knows are passed over (RFC 6749, 3.2); those that ask for something else than is given are not.
const TokenRequest = v.object({
  grant_type: v.literal(TOKEN_EXCHANGE),
  subject_token: v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_TOKEN)),
  subject_token_type: v.picklist([`${TYPE}jwt`, `${TYPE}id_token`, ACCESS_TOKEN]),
  requested_token_type: v.optional(v.literal(ACCESS_TOKEN)),
  /** The slug of the tenant. */
  audience: v.optional(Slug),
  /** To act on behalf of the subject is not offered. */
  actor_token: v.optional(v.never()),
});

const Exchanged = v.object({
  access_token: v.string(),
  issued_token_type: v.literal(ACCESS_TOKEN),
  token_type: v.literal("Bearer"),
  expires_in: v.number(),
  scope: v.string(),
});
nameSchemas({ TokenRequest, ExchangedToken: Exchanged });

/** Lets only a form on: what OAuth clients send (RFC 6749). */
const formBody = factory.createMiddleware(async function formBody(c, next) {
  const type = c.req.header("content-type");
  if (type !== undefined && !/^application\/x-www-form-urlencoded\s*(;|$)/i.test(type))
    throw new Problem("unsupported_media_type", {
      detail: `Send a form, with Content-Type: ${FORM}.`,
      headers: { accept: FORM },
    });
  await next();
});

/** Parses the form of a token request, and answers a fault with the error code of RFC 6749, 5.2. */
const tokenRequest = validator(
  "form",
  TokenRequest,
  (result) => {
    if (result.success) return;
    const errors = result.error.map((issue) => ({ pointer: pointerTo(issue), detail: issue.message }));
    const { grant_type } = result.data;
    if (typeof grant_type === "string" && grant_type !== TOKEN_EXCHANGE)
      throw new Problem("unsupported_grant_type", { error: "unsupported_grant_type" });
    throw new Problem("invalid_token_request", { error: "invalid_request", errors });
  },
  { media: FORM },
);

/** Gives whom a tenant's own issuer vouches for an access token of that tenant (RFC 8693). */
export const token = factory.createApp().post(
  "/",
  floodGuard,
  operation({
    summary: "Exchange a token of an issuer that the tenant trusts for an access token",
    tag: "Sessions",
    answers: { 200: Exchanged },
    problems: [
      "invalid_token_request",
      "unsupported_grant_type",
      "subject_token_refused",
      "tenant_suspended",
      "tenant_closing",
      "wrong_host",
      "unsupported_media_type",
    ],
    token: false,
  }),
  formBody,
  tokenRequest,
  async (c) => {
    const { subject_token: subjectToken, audience: slug } = c.req.valid("form");
    const host = slugOfHost(c.req.url);
    if (host !== undefined && slug !== undefined && host !== slug) throw new Problem("wrong_host");
    const question = { ...readSubjectToken(subjectToken), slug: slug ?? host };
    const keepAlive = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
    // The trust may have changed since this isolate heard of it; a second look is the database's own.
    for (let look = 1; look <= 2; look++) {
      const trust = await findTrust(question);
      if (!trust) break;
      const subject = await verifySubjectToken(subjectToken, trust, keepAlive);
      const db = openTenantDb("identity", trust.tenant_id, trust.id, {
        id: c.get("requestId"),
        deadline: c.get("deadline"),
        onAnswer: (started) => timed(c, "db", started),
      });
      const given = await exchange(db, trust, subject, { slug: question.slug, userAgent: userAgent(c) });
      if (given) {
        const { accessToken, role, news } = given;
        await teachTenant(c.env.TENANT, trust.tenant_id, news);
        c.header("Cache-Control", "no-store");
        return c.json({
          access_token: accessToken,
          issued_token_type: ACCESS_TOKEN,
          token_type: "Bearer" as const,
          expires_in: ACCESS_TOKEN_TTL_S,
          scope: SCOPES[role].join(" "),
        });
      }
      forgetTrust(question);
    }
    throw unknownToken();
  },
);
