import { bearerToken } from "../identity/bearer.ts";
import { tenantsInFlight, tooManyInFlight } from "./in-flight.ts";
import { requestIdOf, SECURE_HEADERS } from "./gateway.ts";
import { rememberedToken } from "../identity/access-token.ts";
import { Problem, problemDocument } from "../problem.ts";
import { refusedCost } from "./cost.ts";
import { knownDenial, knowsDenials } from "../tenant/stub.ts";
import { noteAnswer, noteRefusal } from "../tenant/usage-notes.ts";
import { refusalAt, type Denial } from "../tenant/denials.ts";
import { rateLimit, rateLimitPolicy, retryAfter } from "./headers.ts";

/** A denial written out, as it is to be answered until this time, in ms; only the request id is still to be put in. */
type Answer = { until: number; status: number; headers: Headers; bodyUpToId: string };

const answers = new WeakMap<Denial, Answer>();

/**
 * Turns a request away before anything else is done for it, when its token was verified here before and its tenant's
 * object has said that it would be refused, or the tenant has too many requests under way. What browsers and traces add
 * to an answer is left to the whole way.
 */
export function turnAway(request: Request): Response | undefined {
  const now = Date.now();
  // Nobody pays for looking while no tenant is over.
  if (!knowsDenials(now) && !tenantsInFlight.anyFull) return undefined;
  const { headers } = request;
  const token = bearerToken(headers);
  const credential = token && rememberedToken(token);
  if (!credential || headers.has("origin") || headers.has("traceparent")) return undefined;

  const cost = refusedCost(request);
  const denial = cost && knownDenial(credential.tenantId, cost, now);
  if (denial) {
    let answer = answers.get(denial);
    if (!answer || now >= answer.until) answers.set(denial, (answer = writeOut(denial, now)));
    noteRefusal(credential, now, request.method === "HEAD" ? 0 : answer.bodyUpToId.length);
    return give(answer, headers);
  }
  if (!tenantsInFlight.isFull(credential.tenantId)) return undefined;
  noteAnswer(credential, now, true, 0, 0);
  return give(TOO_MANY, headers);
}

function give({ status, headers, bodyUpToId }: Answer, asked: Headers): Response {
  const requestId = requestIdOf(asked);
  headers.set("X-Request-Id", requestId);
  // The Response takes a copy of the headers.
  return new Response(`${bodyUpToId}${requestId}"}`, { status, headers });
}

function writeOut(denial: Denial, now: number): Answer {
  const refusal = refusalAt(denial, now);
  const { standings, violated, retryAfterMs } = refusal;
  const counted = [retryAfterMs, ...standings.map(({ resetMs }) => resetMs)];
  const problem = new Problem("quota_exceeded", {
    "violated-policies": violated,
    headers: {
      "Retry-After": retryAfter(refusal),
      "RateLimit-Policy": rateLimitPolicy(standings, now),
      RateLimit: rateLimit(standings),
    },
  });
  return answerOf(problem, now + Math.min(...counted.map(untilLess)));
}

function answerOf({ code, status, details, headers }: Problem, until: number): Answer {
  return {
    until,
    status,
    headers: new Headers({ ...SECURE_HEADERS, "Content-Type": "application/problem+json", ...headers }),
    // The id is a problem document's last member.
    bodyUpToId: problemDocument(code, details, "").slice(0, -'"}'.length),
  };
}

const TOO_MANY = answerOf(tooManyInFlight(), Infinity);

/** Milliseconds until a time that runs out in so many, told in whole seconds, is told as one less. */
const untilLess = (ms: number) => (ms > 0 ? ms - 1000 * (Math.ceil(ms / 1000) - 1) : Infinity);
