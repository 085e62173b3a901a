import type { Scope } from "../authority.ts";
import { Problem } from "../problem.ts";

/** What the request carries as its bearer token (RFC 6750), whatever it may be worth. */
export function bearerToken(headers: Headers): string | undefined {
  const header = headers.get("authorization");
  return header && /^bearer /i.test(header) ? header.slice("bearer ".length) : undefined;
}

/** The problem of a bearer token that is not, or no longer, worth anything (RFC 6750, 3.1). */
export const invalidToken = () =>
  new Problem("unauthenticated", {
    detail:
      "The access token or API key has expired, was revoked, or is malformed. Refresh the session, sign in again, or use another key.",
    headers: {
      "www-authenticate":
        'Bearer realm="partywall", error="invalid_token", error_description="The access token or API key is not valid"',
    },
  });

/** The problem of a caller that lacks a scope, or of one that is not a user. */
export const insufficientScope = (detail: string, scope?: Scope) =>
  new Problem("insufficient_scope", {
    detail,
    headers: {
      "www-authenticate": `Bearer realm="partywall", error="insufficient_scope"${scope ? `, scope="${scope}"` : ""}`,
    },
  });
