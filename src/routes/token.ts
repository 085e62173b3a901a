import * as v from "valibot";
import { ACCESS_TOKEN_TTL_S } from "../caller.ts";
import { factory, forRequest } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { userAgent } from "../edge/client.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import type { Fault } from "../http/faults.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { valid } from "../http/valid.ts";
import { SCOPES } from "../authority.ts";
import { exchange } from "../identity/exchange.ts";
import { slugOfHost } from "../edge/host.ts";
import { readSubjectToken, unknownToken, verifySubjectToken } from "../identity/subject-token.ts";
import { chooseTrust, forgetTrusts, isTrusted, trustsOf } from "../identity/trust.ts";
import { Problem } from "../problem.ts";
import { Slug } from "../values.ts";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:ietf:params:oauth:token-type:";
const ACCESS_TOKEN = `${TYPE}access_token` as const;
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

/** A fault of a token request has an error code of RFC 6749, 5.2. */
function faultOf(errors: Fault[], given: unknown): Problem {
  const { grant_type } = Object(given);
  return typeof grant_type === "string" && grant_type !== TOKEN_EXCHANGE
    ? new Problem("unsupported_grant_type", { error: "unsupported_grant_type" })
    : new Problem("invalid_token_request", { error: "invalid_request", errors });
}

/** Gives whom a tenant's own issuer vouches for an access token of that tenant (RFC 8693). */
export const tokenRoutes = factory.createApp().post(
  "/",
  floodGuard,
  operation("createToken", {
    summary: "Exchange a token of an issuer that the tenant trusts for an access token",
    tag: "Sessions",
    answers: { 200: Exchanged },
    problems: [
      "invalid_token_request",
      "unsupported_grant_type",
      "subject_token_refused",
      "tenant_suspended",
      "tenant_closing",
      "tenant_erasing",
      "wrong_host",
      "unsupported_media_type",
    ],
    token: false,
  }),
  valid("form", TokenRequest, faultOf),
  async (c) => {
    const { subject_token: subjectToken, audience: slug } = c.req.valid("form");
    const host = slugOfHost(c.req.url);
    if (host !== undefined && slug !== undefined && host !== slug) throw new Problem("wrong_host");
    const origin = readSubjectToken(subjectToken);
    const keepAlive = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
    // The trust may have changed since this isolate heard of it; a second look is the database's own.
    for (let look = 1; look <= 2; look++) {
      if (!(await isTrusted(origin))) break;
      const subject = await verifySubjectToken(subjectToken, origin, keepAlive);
      const question = { ...origin, slug: slug ?? host, domain: subject.domain };
      const chosen = await chooseTrust(await trustsOf(question), subject).catch((refusal: unknown) => {
        if (look > 1) throw refusal;
      });
      if (!chosen) {
        forgetTrusts(question);
        continue;
      }
      const { trust, role: asserted } = chosen;
      const actor = { id: trust.id, as: "issuer" } as const;
      const db = openTenantDb("account", trust.tenant_id, actor, forRequest(c));
      const given = await exchange(db, trust, subject, asserted, {
        slug: question.slug,
        userAgent: userAgent(c),
      });
      if (given) {
        const { accessToken, role } = given;
        c.header("Cache-Control", "no-store");
        return c.json({
          access_token: accessToken,
          issued_token_type: ACCESS_TOKEN,
          token_type: "Bearer" as const,
          expires_in: ACCESS_TOKEN_TTL_S,
          scope: SCOPES[role].join(" "),
        });
      }
      forgetTrusts(question);
    }
    throw unknownToken();
  },
);
