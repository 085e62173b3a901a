import { requestIdOf, SECURE_HEADERS } from "../http/request.ts";
import { rememberedToken } from "../identity/access-token.ts";
import { bearerToken } from "../identity/identify.ts";
import { problemDocument, PROBLEMS } from "../problem.ts";
import { refusedCost } from "./admit.ts";
import { knownDenial, knowsDenials } from "./ask.ts";
import { refusalAt, type Denial } from "./denials.ts";
import { rateLimit, rateLimitPolicy, retryAfter } from "./headers.ts";

/** A denial written out, as it is to be answered until this time, in ms; only the request id is still to be put in. */
type Answer = { until: number; headers: Headers; bodyUpToId: string };

const answers = new WeakMap<Denial, Answer>();

/**
 * Turns a request away before anything else is done for it, when its token was verified here before and its tenant's
 * object has said that it would be refused. What browsers and traces add to an answer is left to the whole way.
 */
export function turnAway(request: Request): Response | undefined {
  const now = Date.now();
  // Nobody pays for looking while no tenant is over.
  if (!knowsDenials(now)) return undefined;
  const { headers } = request;
  const token = bearerToken(headers);
  const credential = token && rememberedToken(token);
  const cost = credential && refusedCost(request);
  if (!cost) return undefined;
  const denial = knownDenial(credential.tenantId, cost, now);
  if (!denial || headers.has("origin") || headers.has("traceparent")) return undefined;

  let answer = answers.get(denial);
  if (!answer || now >= answer.until) answers.set(denial, (answer = writeOut(denial, now)));
  const requestId = requestIdOf(headers);
  answer.headers.set("X-Request-Id", requestId);
  return new Response(`${answer.bodyUpToId}${requestId}"}`, {
    status: PROBLEMS.quota_exceeded.status,
    // The Response takes a copy.
    headers: answer.headers,
  });
}

function writeOut(denial: Denial, now: number): Answer {
  const refusal = refusalAt(denial, now);
  const { standings, violated, retryAfterMs } = refusal;
  const body = problemDocument("quota_exceeded", { "violated-policies": violated }, "");
  const counted = [retryAfterMs, ...standings.map(({ resetMs }) => resetMs)];
  return {
    until: now + Math.min(...counted.map(untilLess)),
    headers: new Headers({
      ...SECURE_HEADERS,
      "Content-Type": "application/problem+json",
      "Retry-After": retryAfter(refusal),
      "RateLimit-Policy": rateLimitPolicy(standings, now),
      RateLimit: rateLimit(standings),
    }),
    // The id is a problem document's last member.
    bodyUpToId: body.slice(0, -'"}'.length),
  };
}

/** Milliseconds until a time that runs out in so many, told in whole seconds, is told as one less. */
const untilLess = (ms: number) => (ms > 0 ? ms - 1000 * (Math.ceil(ms / 1000) - 1) : Infinity);
