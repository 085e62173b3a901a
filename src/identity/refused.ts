import { Problem, type ProblemDetails } from "../problem.ts";
import type { TenantStatus } from "../tenant-states.ts";

/** The problem of whoever shows the wrong thing to start or go on with a session. */
export const refused = (detail: string) =>
  new Problem("unauthenticated", { detail, headers: { "www-authenticate": 'Bearer realm="partywall"' } });

export const WRONG_PASSWORD = "The email and password do not belong together, or not to this tenant.";

/** The problem of a tenant whose status does not let somebody in, or their request. */
export const closedFor = (status: TenantStatus, details: ProblemDetails = {}) =>
  new Problem(status === "active" ? "unavailable" : `tenant_${status}`, details);
