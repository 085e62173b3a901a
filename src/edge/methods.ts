import type { Hono } from "hono";
import { matchedRoutes } from "hono/route";
import { factory, type Edge } from "../context.ts";
import { Problem } from "../problem.ts";

/** Methods that change nothing: the runtime may cut such a request off anywhere. */
export const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** The methods that an app takes at this path, HEAD and OPTIONS with them; none where it has no route. */
export function methodsOf(app: Hono<Edge>, path: string): string[] {
  const taken = METHODS.filter((method) =>
    app.router.match(method, path)[0].some(([[, route]]) => route.method === method),
  );
  if (taken.length === 0) return [];
  return [...taken, ...(taken.includes("GET") ? ["HEAD"] : []), "OPTIONS"];
}

/**
 * Answers a method that the path does not take, before anything is asked of whoever calls: OPTIONS with 204, another
 * with 405, both with Allow. `methodsAt` is only called when no route of the request's own method was found.
 */
export const takenMethods = (methodsAt: (path: string) => string[]) =>
  factory.createMiddleware(function takesMethod(c, next) {
    // A middleware's route is of every method.
    if (matchedRoutes(c).some(({ method }) => method !== "ALL")) return next();
    const methods = methodsAt(c.req.path);
    // No route at all, or one that takes every method.
    if (methods.length === 0) return next();
    const allow = methods.join(", ");
    if (c.req.method !== "OPTIONS") throw new Problem("method_not_allowed", { headers: { allow } });
    c.header("Allow", allow);
    // To a preflight; the browser heeds it only from an origin that allowedOrigins has let in.
    if (c.req.header("access-control-request-method")) {
      c.header("Access-Control-Allow-Methods", allow);
      c.header("Access-Control-Allow-Headers", PREFLIGHT_HEADERS);
      c.header("Access-Control-Max-Age", "600");
    }
    return Promise.resolve(c.body(null, 204));
  });

/**
 * Refuses an `Idempotency-Key` where the route does not heed it: whoever sends one relies on it. A request
 * that changes nothing may have one. Throws `idempotency_key_unsupported`.
 */
export const heededKeys = factory.createMiddleware(function heedsKey(c, next) {
  if (c.req.header("idempotency-key") === undefined || SAFE.has(c.req.method)) return next();
  const routes = matchedRoutes(c).filter(({ method }) => method !== "ALL");
  const isHeeded = routes.some(
    ({ handler }) => "heeds" in handler && (handler.heeds as string[]).includes("idempotency-key"),
  );
  if (routes.length > 0 && !isHeeded) throw new Problem("idempotency_key_unsupported");
  return next();
});

/** What a page of an allowed origin may send beside what any page may. */
const PREFLIGHT_HEADERS = [
  "Authorization",
  "Content-Type",
  "Idempotency-Key",
  "If-Match",
  "If-None-Match",
  "X-Refresh-Token",
  "X-Request-Id",
  // W3C Trace Context, and Baggage: what OpenTelemetry's propagators send.
  "baggage",
  "traceparent",
  "tracestate",
].join(", ");
