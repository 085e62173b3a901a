import type { Scope } from "../authority.ts";
import type { Caller, SignedIn } from "../caller.ts";
import { factory } from "../context.ts";
import { insufficientScope } from "../identity/bearer.ts";
import { needing } from "../openapi/operation.ts";

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
export function signedIn(caller: Caller): SignedIn {
  if (caller.kind !== "user") throw insufficientScope("This needs a user's access token, not an API key.");
  return caller;
}
