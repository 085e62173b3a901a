import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { factory, type Edge } from "../context.ts";

/** Gives a route longer than other requests have, such as for a body that is an archive. */
export const lasts = (ms: number) =>
  Object.assign(
    factory.createMiddleware(async (_, next) => next()),
    { ms },
  );

/** How long a request may take, in ms, where its route says so. */
export function timeOf(c: Context<Edge>): number | undefined {
  if (c.req.method !== "POST") return undefined;
  for (const { handler } of matchedRoutes(c)) if ("ms" in handler) return handler.ms as number;
  return undefined;
}
