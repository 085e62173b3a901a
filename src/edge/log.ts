import type { Context } from "hono";
import { matchedRoutes, routePath } from "hono/route";
import { factory, type Edge } from "../context.ts";
import { bindings, settings } from "../env.ts";

/**
 * One structured line for each answer, and one datapoint of its tenant's where the binding USAGE is there: which request,
 * of which tenant, by which route, how it ended, what it waited for, what is left of the limits. Nothing personal: no
 * path or query as sent, no address, no name. What is turned away in front of the app is not logged.
 */
export const logged = factory.createMiddleware(async function logged(c, next) {
  const started = performance.now();
  await next();
  const { method } = c.req;
  const { status } = c.res;
  const tenant = c.get("credential")?.tenantId;
  const route = routeOf(c);
  const { admit, db } = c.get("waits") ?? {};
  const total = round(performance.now() - started);
  if (settings.LOG_REQUESTS) {
    // A string: of an object, the runtime makes a text for people, at ten times the price.
    console.log(
      JSON.stringify({
        message: "request",
        request_id: c.get("requestId"),
        tenant,
        method,
        route,
        status,
        ms: total,
        admit_ms: admit,
        db_ms: db,
        left: Object.fromEntries((c.get("standings") ?? []).map(({ name, remaining }) => [name, remaining])),
      }),
    );
  }
  if (tenant) {
    bindings.USAGE?.writeDataPoint({
      indexes: [tenant],
      blobs: [method, route],
      doubles: [status, total, admit ?? 0, db ?? 0],
    });
  }
});

/** The path of the request's route, such as `/v1/projects/:id`: what stands in a log in the place of the path as sent. */
export function routeOf(c: Context<Edge>): string {
  // A route without a token stands before the middleware of those with one, whose path is of every method.
  const own = matchedRoutes(c).findLast((each) => each.method !== "ALL");
  return own?.path ?? routePath(c, -1);
}

const round = (ms: number) => Math.round(ms * 10) / 10;
