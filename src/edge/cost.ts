import type { Context } from "hono";
import type { Edge } from "../context.ts";
import { remembers } from "../memory.ts";
import { mark, markOf } from "./marks.ts";

/** Longer addresses are not remembered. */
const MAX_ADDRESS = 250;

/** Units, or what tells them from the request's path, query and headers: its body has not arrived when it is asked. */
type Units = number | ((c: Context<Edge>) => number);

/**
 * Makes a route cost more than the 1 unit that any request costs, such as an export; or by what it is asked for, such as
 * `costs((c) => Number(c.req.query("rows")))`. What is no whole number from 1 on costs 1.
 */
export const costs = (units: Units) => mark({ units });

const unitsOf = (c: Context<Edge>): Units => (markOf(c, "units") as Units | undefined) ?? 1;

/** The units that the route of this request costs. */
export function costOf(c: Context<Edge>): number {
  const units = unitsOf(c);
  const cost = typeof units === "function" ? units(c) : units;
  return Number.isSafeInteger(cost) && cost >= 1 ? cost : 1;
}

/** What refused requests would have cost, by method and address: finding the route takes longer than refusing. */
const refused = remembers<number>("refused_costs");

/** Remembers what a refused request would have cost, unless another to its address may cost something else. */
export function rememberCost(c: Context<Edge>, cost: number): void {
  const request = c.req.raw;
  // A slice retains its parent string, so long URLs are skipped.
  if (request.url.length > MAX_ADDRESS || typeof unitsOf(c) === "function") return;
  refused.set(addressOf(request), cost);
}

/** The units of a request to an address where one was refused before, in this isolate. */
export const refusedCost = (request: Request) => refused.get(addressOf(request));

function addressOf({ method, url }: Request): string {
  const query = url.indexOf("?");
  return method + (query < 0 ? url : url.slice(0, query));
}
