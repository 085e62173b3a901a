import { Problem } from "../problem.ts";
import { introduceTenant } from "../tenant/stub.ts";
import type { Grant, Session } from "./session.ts";

/** The session, once the tenant's object knows the record that it was granted on. Throws when there is no grant. */
export async function granted(grant: Grant | undefined, refusal: string): Promise<Session> {
  if (!grant) throw refused(refusal);
  await introduceTenant(grant.record);
  return grant.session;
}

/** The problem of whoever shows the wrong thing to start or go on with a session. */
export const refused = (detail: string) =>
  new Problem("unauthenticated", { detail, headers: { "www-authenticate": 'Bearer realm="partywall"' } });

export const WRONG_PASSWORD = "The email and password do not belong together, or not to this tenant.";
