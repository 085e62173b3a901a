import { factory } from "../context.ts";
import { needing } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";
import { verifyAccessToken } from "../identity/access-token.ts";
import { looksLikeApiKey, readApiKey } from "../identity/api-key.ts";
import type { Scope } from "../authority.ts";
import type { Caller } from "../caller.ts";

/** What the request carries as its bearer token (RFC 6750), whatever it may be worth. */
export function bearerToken(headers: Headers): string | undefined {
  const header = headers.get("authorization");
  return header && /^bearer /i.test(header) ? header.slice("bearer ".length) : undefined;
}

/** The problem of a bearer token that is not, or no longer, worth anything (RFC 6750, 3.1). */
export const invalidToken = () =>
  new Problem("unauthenticated", {
    headers: {
      "www-authenticate":
        'Bearer realm="partywall", error="invalid_token", error_description="The access token or API key is not valid"',
    },
  });

/**
 * Lets a request on only with an access token that this server signed, or with the shape of an API key, and says of
 * which tenant. Calls nothing outside this isolate.
 */
export const identify = factory.createMiddleware(async function identify(c, next) {
  const token = bearerToken(c.req.raw.headers);
  if (!token) {
    // A request without credentials is told no error code.
    throw new Problem("unauthenticated", { headers: { "www-authenticate": 'Bearer realm="partywall"' } });
  }
  const credential = looksLikeApiKey(token) ? readApiKey(token) : await verifyAccessToken(token);
  if (!credential) throw invalidToken();
  c.set("credential", credential);
  await next();
});

/** The problem of a caller that lacks a scope, or of one that is not a user. */
export const insufficientScope = (detail: string, scope?: Scope) =>
  new Problem("insufficient_scope", {
    detail,
    headers: {
      "www-authenticate": `Bearer realm="partywall", error="insufficient_scope"${scope ? `, scope="${scope}"` : ""}`,
    },
  });

/** Lets a request on only when the caller has the scope. */
export function needs(scope: Scope) {
  const needsScope = factory.createMiddleware(async (c, next) => {
    requireScope(c.get("caller"), scope);
    await next();
  });
  return Object.assign(needsScope, needing(scope));
}

/** Throws `insufficient_scope` unless the caller has the scope. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.includes(scope)) return;
  const who = caller.kind === "user" ? `the role ${caller.role}` : "this API key";
  throw insufficientScope(`This needs the scope ${scope}, which ${who} does not have.`, scope);
}

/** The user who calls. Throws `insufficient_scope` for an API key: it has no sessions and belongs to one tenant. */
export function signedIn(caller: Caller): Extract<Caller, { kind: "user" }> {
  if (caller.kind !== "user") throw insufficientScope("This needs a user's access token, not an API key.");
  return caller;
}
