import { sql } from "drizzle-orm";
import { violatedConstraint } from "../db/client.ts";
import { Problem } from "../problem.ts";
import { atLeast, MANAGES } from "../authority.ts";
import type { SignedIn } from "../caller.ts";
import { insufficientScope } from "./bearer.ts";

/**
 * The caller's own row of memberships, by the alias `a`, while it has the role that the credential says or a greater one,
 * and the session is not revoked. Asked under the tenant's lock: what ended while the request was on its way grants nothing.
 */
export const isActing = ({ id, role, sessionId }: SignedIn) =>
  sql`a.user_id = ${id} and a.role in ${atLeast(role)}
    and exists (select from sessions own where own.id = ${sessionId} and own.revoked_at is null)`;

/** Answers a row while the caller may act. */
export const ifActing = (caller: SignedIn) => sql`select 1 from memberships a where ${isActing(caller)}`;

/** Whether isActing() finds the caller's row, as a condition of a write. */
export const stands = (caller: SignedIn) => sql`exists (${ifActing(caller)})`;

/** The issuer that vouched for the caller's session; null for a session of their own. */
export const vouchedBy = ({ sessionId }: SignedIn) =>
  sql`(select s.issuer_id from sessions s where s.id = ${sessionId})`;

/** Rethrows what Postgres refuses when members change: `insufficient_scope` and `last_owner`; the rest as it is. */
export function refuseManaging(error: unknown): never {
  const constraint = violatedConstraint(error);
  if (constraint === "authority") throw ownersOnly();
  if (constraint === "last_owner") throw new Problem("last_owner", { cause: error });
  throw error;
}

/** As refuseManaging(); whoever may not manage owners does not hear whether it is the last one. */
export const refuseTo = (caller: SignedIn) => (error: unknown) => {
  if (violatedConstraint(error) === "last_owner" && !MANAGES[caller.role].includes("owner"))
    throw ownersOnly();
  return refuseManaging(error);
};

/** The problem of whoever may not manage owners. */
export const ownersOnly = () =>
  insufficientScope("Only an owner, in a session of their own, may make, change or remove an owner.");
