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
  throw insufficientScope(`This needs the scope ${scope}, which ${nameOf(caller)} does not have.`, scope);
}

function nameOf(caller: Caller): string {
  if (caller.kind === "api_key") return "this API key";
  if (caller.kind === "user") return `the role ${caller.role}`;
  return caller.role === "support" ? "an operator who may read" : "an operator";
}

/**
 * The user who calls. Throws `insufficient_scope` for an API key, which has no sessions and belongs to one tenant, and for an
 * operator, who is nobody's user.
 */
export function signedIn(caller: Caller): SignedIn {
  if (caller.kind === "user") return caller;
  const what = caller.kind === "api_key" ? "an API key" : "an operator's";
  throw insufficientScope(`This needs a user's access token, not ${what}.`);
}

/** The user who calls, and who has proved it within ten minutes. Throws `step_up_required`, and as signedIn() does. */
export function recently(caller: Caller): SignedIn {
  const user = signedIn(caller);
  if (!isRecent(user)) throw new Problem("step_up_required");
  return user;
}
