import { Problem } from "../problem.ts";

/** The problem of whoever shows the wrong thing to start or go on with a session. */
export const refused = (detail: string) =>
  new Problem("unauthenticated", { detail, headers: { "www-authenticate": 'Bearer realm="partywall"' } });

export const WRONG_PASSWORD = "The email and password do not belong together, or not to this tenant.";
