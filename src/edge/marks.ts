import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { factory, type Edge } from "../context.ts";

/** A middleware that only says something of its route, for the steps before the handler to read. */
export const mark = <Says extends object>(says: Says) =>
  Object.assign(
    factory.createMiddleware(async (_, next) => next()),
    says,
  );

/** What the request's route says under this name; undefined where it says nothing. */
export function markOf(c: Context<Edge>, name: string): unknown {
  for (const { handler } of matchedRoutes(c))
    if (name in handler) return (handler as unknown as Record<string, unknown>)[name];
  return undefined;
}
