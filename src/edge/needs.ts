import type { Scope } from "../authority.ts";
import { isRecent, type Caller, type SignedIn } from "../caller.ts";
import { factory } from "../context.ts";
import { insufficientScope } from "../identity/bearer.ts";
import { needing } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

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

/** The user who calls, and who has proved it within ten minutes. Throws `step_up_required`, and as signedIn() does. */
export function recently(caller: Caller): SignedIn {
  const user = signedIn(caller);
  if (!isRecent(user)) throw new Problem("step_up_required");
  return user;
}
