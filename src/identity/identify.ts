import { factory } from "../context.ts";
import { Problem } from "../problem.ts";
import { verifyAccessToken } from "./access-token.ts";
import { SCOPES, type Scope } from "./caller.ts";

/** What the request carries as its bearer token (RFC 6750), whatever it may be worth. */
export function bearerToken(headers: Headers): string | undefined {
  const header = headers.get("authorization");
  return header && /^bearer /i.test(header) ? header.slice("bearer ".length) : undefined;
}

/** Lets a request on only with a valid access token, and says whose it is. Calls nothing outside this isolate. */
export const identify = factory.createMiddleware(async function identify(c, next) {
  const token = bearerToken(c.req.raw.headers);
  const caller = token && (await verifyAccessToken(token));
  if (!caller) {
    // RFC 6750, 3.1: a request without credentials is told no error code.
    const error = token ? ', error="invalid_token", error_description="The access token is not valid"' : "";
    throw new Problem("unauthenticated", {
      headers: { "www-authenticate": `Bearer realm="partywall"${error}` },
    });
  }
  c.set("caller", caller);
  await next();
});

/** Lets a request on only when the caller's role has the scope. */
export const needs = (scope: Scope) =>
  factory.createMiddleware(async function needsScope(c, next) {
    const { role } = c.get("caller");
    if (!SCOPES[role].includes(scope)) {
      throw new Problem("insufficient_scope", {
        detail: `This needs the scope ${scope}, which the role ${role} does not have.`,
        headers: {
          "www-authenticate": `Bearer realm="partywall", error="insufficient_scope", scope="${scope}"`,
        },
      });
    }
    await next();
  });
