import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import type { Credential } from "../caller.ts";
import { factory, type Edge } from "../context.ts";
import type { Access } from "../tenant-states.ts";
import { SAFE } from "./methods.ts";

/**
 * Marks a route that a tenant's owner needs while it closes, such as its export and its restoring, and that is no change of
 * its rows: it works in a tenant that can only be read.
 */
export const whileClosing = Object.assign(
  factory.createMiddleware(async function whileClosing(_, next) {
    await next();
  }),
  { whileClosing: true },
);

/** What the request is to its tenant. Only an owner leaves. */
export function accessOf(c: Context<Edge>, credential: Credential): Access {
  const isMarked = matchedRoutes(c).some(({ handler }) => "whileClosing" in handler);
  if (!isMarked) return SAFE.has(c.req.method) ? "read" : "write";
  return credential.kind === "user" && credential.role === "owner" ? "leave" : "read";
}
