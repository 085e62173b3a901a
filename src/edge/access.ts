import type { Context } from "hono";
import type { Credential } from "../caller.ts";
import type { Edge } from "../context.ts";
import type { Access } from "../tenant-states.ts";
import { mark, markOf } from "./marks.ts";
import { SAFE } from "./methods.ts";

/**
 * Marks a route that a tenant's owner needs while it closes, such as its export and its restoring, and that is no change of
 * its rows: it works in a tenant that can only be read.
 */
export const whileClosing = mark({ isWhileClosing: true });

/** What the request is to its tenant. Only an owner leaves. */
export function accessOf(c: Context<Edge>, credential: Credential): Access {
  if (!markOf(c, "isWhileClosing")) return SAFE.has(c.req.method) ? "read" : "write";
  return credential.kind === "user" && credential.role === "owner" ? "leave" : "read";
}
