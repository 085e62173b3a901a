import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { factory, type Edge } from "../context.ts";
import { remembers } from "../memory.ts";

/** Longer addresses are not remembered. */
const MAX_ADDRESS = 250;

/** Makes a route cost more than the 1 unit that any request costs, such as a bulk route or an export. */
export function costs(units: number) {
  const says = factory.createMiddleware(async (_, next) => next());
  return Object.assign(says, { units });
}

/** The units that the route of this request costs. */
export function costOf(c: Context<Edge>): number {
  for (const { handler } of matchedRoutes(c)) if ("units" in handler) return Number(handler.units);
  return 1;
}

/** What refused requests would have cost, by method and address: finding the route takes longer than refusing. */
const refused = remembers<number>("refused_costs");

/** Remembers what a refused request would have cost. */
export function rememberCost(request: Request, cost: number): void {
  // A slice retains its parent string, so long URLs are skipped.
  if (request.url.length <= MAX_ADDRESS) refused.set(addressOf(request), cost);
}

/** The units of a request to an address where one was refused before, in this isolate. */
export const refusedCost = (request: Request) => refused.get(addressOf(request));

function addressOf({ method, url }: Request): string {
  const query = url.indexOf("?");
  return method + (query < 0 ? url : url.slice(0, query));
}
