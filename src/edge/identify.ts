import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { factory, type Edge } from "../context.ts";
import { Problem } from "../problem.ts";
import { verifyAccessToken } from "../identity/access-token.ts";
import { looksLikeApiKey, readApiKey } from "../identity/api-key.ts";
import { bearerToken, invalidToken } from "../identity/bearer.ts";

/** The problem of a request that carries no token. Whoever has misspelt a path would otherwise look for a token. */
function unidentified(c: Context<Edge>): Problem {
  // Those of middleware end so; where nothing else matches, the answer to a token would be 404.
  const isNowhere = matchedRoutes(c).every(({ path }) => path.endsWith("*"));
  const detail =
    "The path is not one of /openapi.json: check it. If it is right, send Authorization: Bearer with an access token or an API key.";
  return new Problem("unauthenticated", {
    ...(isNowhere && { detail }),
    // RFC 6750, 3.1: no error code for a request without credentials.
    headers: { "www-authenticate": 'Bearer realm="partywall"' },
  });
}

/**
 * Lets a request on only with an access token that this server signed, or with the shape of an API key, and says of
 * which tenant. Calls nothing outside this isolate.
 */
export const identify = factory.createMiddleware(async function identify(c, next) {
  const token = bearerToken(c.req.raw.headers);
  if (!token) throw unidentified(c);
  const credential = looksLikeApiKey(token) ? readApiKey(token) : await verifyAccessToken(token);
  if (!credential) throw invalidToken();
  c.set("credential", credential);
  await next();
});

/**
 * As identify, by an API key that is elsewhere than in the request's header: for what somebody else's service calls, such as a
 * webhook, which sends no header of ours. `admit` comes after it, then needs(). Throws `unauthenticated`.
 */
export const identifyKey = (keyOf: (c: Context<Edge>) => string | undefined | Promise<string | undefined>) =>
  factory.createMiddleware(async function identifyByKey(c, next) {
    const credential = readApiKey((await keyOf(c)) ?? "");
    if (!credential) throw invalidToken();
    c.set("credential", credential);
    await next();
  });
