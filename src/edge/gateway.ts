import type { Context } from "hono";
import { factory, type Edge } from "../context.ts";
import { Deadline } from "../deadline.ts";
import { settings } from "../env.ts";
import { timeOf } from "./lasting.ts";
import { routeOf } from "./log.ts";
import { SAFE } from "./methods.ts";
import { logProblem, Problem, problemDocument } from "../problem.ts";

/** On every answer: it is JSON for programs and for them alone, never a page, and no page may frame or sniff it. */
export const SECURE_HEADERS = {
  "Cache-Control": "no-store",
  "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
};
const secureHeaders = Object.entries(SECURE_HEADERS);

/** W3C Trace Context, version 00: trace and parent are not all zeros. */
const TRACEPARENT = /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;

/** The request's id: the client's, if it is well formed, else a new one. */
export function requestIdOf(headers: Headers): string {
  const given = headers.get("x-request-id");
  return given && /^[\w.-]{8,128}$/.test(given) ? given : crypto.randomUUID();
}

/** Names the request, in `X-Request-Id` and every log line, and sets the headers that every answer has. */
export const observe = factory.createMiddleware(async function observe(c, next) {
  const requestId = requestIdOf(c.req.raw.headers);
  c.set("requestId", requestId);
  c.set("deadline", new Deadline(c.req.raw.signal, timeOf(c)));
  // Before there is an answer, so that it is built with them once.
  c.header("X-Request-Id", requestId);
  for (const [name, value] of secureHeaders) c.header(name, value);
  const traceparent = c.req.header("traceparent");
  if (traceparent && TRACEPARENT.test(traceparent)) c.header("traceparent", traceparent);
  await next();
});

/**
 * Answers by the request's deadline, with 503 when the rest takes longer, whatever that waits for. What may have changed
 * something by then, or by the time its client leaves, is carried on with, so that everybody else hears of it who has to.
 */
export const inTime = factory.createMiddleware(async function inTime(c, next) {
  const deadline = c.get("deadline");
  const rest = next();
  const carryOn = () => c.executionCtx.waitUntil(rest.catch(() => undefined));
  const isSafe = SAFE.has(c.req.method);
  if (!isSafe) deadline.client?.addEventListener("abort", carryOn);
  try {
    await deadline.within(Infinity, rest);
  } catch (cause) {
    if (Date.now() < deadline.at) throw cause;
    if (!isSafe) carryOn();
    throw new Problem("unavailable", {
      detail: "This took too long.",
      headers: { "retry-after": "5" },
      cause,
    });
  }
});

/** What a page may read of an answer, beside what any page may. */
const EXPOSED_HEADERS = [
  "ETag",
  "Idempotency-Replayed",
  "Location",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "Server-Timing",
  "traceparent",
  "WWW-Authenticate",
  "X-Request-Id",
].join(", ");

/** Whether a page elsewhere may send its cookie: the refresh token's, which operators' sessions do not have. */
const takesCookies = (path: string) => settings.BROWSER_SESSIONS && !path.startsWith("/v1/operator/");

/** Lets pages of the configured origins, and no others, read answers. Programs send no Origin, and skip all this. */
export const allowedOrigins = factory.createMiddleware(function allowedOrigins(c, next) {
  const origin = c.req.header("origin");
  if (origin !== undefined) {
    c.header("Vary", "Origin", { append: true });
    if (settings.ALLOWED_ORIGINS.includes(origin)) {
      c.header("Access-Control-Allow-Origin", origin);
      c.header("Access-Control-Expose-Headers", EXPOSED_HEADERS);
      // Without it, a browser neither sends nor keeps a cookie for another origin, also of the same site.
      if (takesCookies(c.req.path)) c.header("Access-Control-Allow-Credentials", "true");
    }
  }
  return next();
});

/** The status of an answer to a client that has left, in the log alone. */
export const CLIENT_LEFT = 499;

/** Answers every error as problem+json. What is not a Problem is logged under the request id and told to nobody. */
export function answerProblem(error: Error, c: Context<Edge>): Response {
  // Nobody hears this, and nothing is wrong here.
  if (c.req.raw.signal.aborted) return new Response(null, { status: CLIENT_LEFT });
  const problem = error instanceof Problem ? error : new Problem("internal", { cause: error });
  if (problem.status >= 500) logProblem(problem, c.get("requestId"), `${c.req.method} ${routeOf(c)}`);
  c.header("content-type", "application/problem+json");
  const text = problemDocument(problem.code, problem.details, c.get("requestId"));
  c.set("bytes", Buffer.byteLength(text));
  return c.body(text, problem.status, problem.headers);
}
