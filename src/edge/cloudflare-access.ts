import type { Context } from "hono";
import { errors, jwtVerify } from "jose";
import type { Edge } from "../context.ts";
import { settings } from "../env.ts";
import { accessKey } from "../identity/issuer-keys.ts";
import { Problem } from "../problem.ts";

const CLOCK_TOLERANCE_S = 30;

/**
 * Where ACCESS_TEAM_URL is set, lets on what Cloudflare Access has let through, and nothing that came around it. Throws
 * `unauthenticated`, and `unavailable` while the team's keys are out of reach: nothing passes unchecked.
 */
export async function passAccess(c: Context<Edge>): Promise<void> {
  const { ACCESS_TEAM_URL: team, ACCESS_AUD: audience } = settings;
  if (team === "") return;
  const keepAlive = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
  try {
    await jwtVerify(
      c.req.header("cf-access-jwt-assertion") ?? "",
      (header) => accessKey(team, header, keepAlive),
      {
        algorithms: ["RS256"],
        issuer: team,
        audience,
        requiredClaims: ["iss", "aud", "sub", "iat", "exp"],
        clockTolerance: CLOCK_TOLERANCE_S,
      },
    );
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    throw new Problem("unauthenticated", {
      detail: "Cloudflare Access has not let this request through.",
      headers: { "www-authenticate": 'Bearer realm="operator"' },
    });
  }
}
