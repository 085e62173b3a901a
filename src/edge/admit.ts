import { eq } from "drizzle-orm";
import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { BoundedMap } from "../bounded-map.ts";
import { factory, timed, type Edge } from "../context.ts";
import { identityDb, openTenantDb, rethrow } from "../db/client.ts";
import { tenants } from "../db/schema.ts";
import { SCOPES } from "../authority.ts";
import type { Caller, Credential } from "../caller.ts";
import { invalidToken } from "../identity/bearer.ts";
import type { Decision } from "../policy.ts";
import { slugOfHost } from "./host.ts";
import { refuseGuessedKey, rememberKey, wasGood } from "./guessing.ts";
import { tenantsInFlight } from "./in-flight.ts";
import { logProblem, Problem } from "../problem.ts";
import type { Proof } from "../tenant/credentials.ts";
import { refusalAt, type Denial } from "../tenant/denials.ts";
import { askTenant, knownDenial, lastHeardOf, outOfReach, passesWithoutObject } from "../tenant/stub.ts";
import { rateLimit, rateLimitPolicy, retryAfter } from "./headers.ts";
import type { Admission } from "../tenant/object.ts";

/** Addresses at which requests were refused, and the longest of them, that an isolate remembers: 5 MB at most. */
const MAX_REFUSED = 10_000;
const MAX_ADDRESS = 250;

/**
 * Lets a request on only when its credential stands, and its tenant is active, within its limits and has few enough
 * requests under way, by one call to the tenant's object at most; then says who calls and opens the tenant's database.
 * Over a limit: 429. Object out of reach, or too many at once: 503, not admitted.
 */
export const admit = factory.createMiddleware(async function admit(c, next) {
  const credential = c.get("credential");
  const { tenantId } = credential;
  if (revoked.has(credential)) throw invalidToken();
  const cost = costOf(c);
  const denial = denialOf(c, credential, cost);
  if (denial) obey(c, refusalAt(denial, Date.now()), cost);
  await guardTenant(c, tenantId);
  const deadline = c.get("deadline");
  tenantsInFlight.enter(tenantId, deadline);
  try {
    const answer = await ask(c, credential, cost);
    if (answer.status === "revoked") revoked.add(credential);
    if (answer.status === "unknown" || answer.status === "revoked") throw invalidToken();
    if (answer.status !== "active") throw new Problem(`tenant_${answer.status}`);
    obey(c, answer.decision, cost);
    // Not before: to look a host up asks the database, which nobody may do more often than the limits allow.
    const host = slugOfHost(c.req.url);
    if (host !== undefined && host !== lastHeardOf(tenantId)?.slug) throw await wrongHost(host);
    const caller = callerOf(credential, answer.key);
    const request = {
      id: c.get("requestId"),
      deadline,
      onAnswer: (started: number) => timed(c, "db", started),
    };
    c.set("caller", caller);
    const actor = { id: caller.id, as: caller.kind === "user" ? caller.role : caller.kind };
    c.set("db", openTenantDb("app", tenantId, actor, request));
    c.set("identity", openTenantDb("identity", tenantId, actor, request));
    await next();
  } finally {
    tenantsInFlight.leave(tenantId, deadline);
  }
});

/** Tells the client what is left of its limits. Throws unless the decision admits the request. */
function obey(c: Context<Edge>, decision: Decision, cost: number): void {
  const { outcome, standings } = decision;
  if (standings.length > 0) {
    c.header("RateLimit-Policy", rateLimitPolicy(standings, Date.now()));
    c.header("RateLimit", rateLimit(standings));
  }
  switch (outcome) {
    case "refused":
      rememberCost(c.req.raw, cost);
      throw new Problem("quota_exceeded", {
        "violated-policies": decision.violated,
        headers: { "retry-after": retryAfter(decision) },
      });
    case "impossible":
      throw new Problem("cost_above_limit", { "violated-policies": decision.violated });
    case "admitted":
      c.set("standings", standings);
  }
}

/** What tokens said that are void for good. A token that comes again is remembered by the same object as before. */
const revoked = new WeakSet<Credential>();

/** The host names another tenant than the credential, or none. */
async function wrongHost(slug: string): Promise<Problem> {
  const known = await identityDb.select({}).from(tenants).where(eq(tenants.slug, slug)).catch(rethrow);
  return new Problem(known.length > 0 ? "wrong_host" : "not_found");
}

/** Who calls, now that the tenant's object has said what the credential is worth. */
function callerOf(credential: Credential, key: Admitted["key"]): Caller {
  const { kind, tenantId } = credential;
  if (kind === "api_key") {
    if (!key) throw new Error("the tenant's object admitted a key without saying which");
    return { kind, tenantId, id: key.id, scopes: key.scopes };
  }
  const { userId, role, sessionId } = credential;
  return { kind, tenantId, id: userId, role, sessionId, scopes: SCOPES[role] };
}

type Admitted = Extract<Admission, { status: "active" }>;

/** The units that a handler makes its route cost. */
const weights = new WeakMap<object, number>();

/** Makes a route cost more than the 1 unit that any request costs, such as a bulk route or an export. */
export function costs(units: number) {
  const weighing = factory.createMiddleware(async (_, next) => next());
  weights.set(weighing, units);
  return weighing;
}

/** The units that the route behind this request costs. */
function costOf(c: Context<Edge>): number {
  let cost = 1;
  for (const { handler } of matchedRoutes(c)) cost = weights.get(handler) ?? cost;
  return cost;
}

/** What refused requests would have cost, by method and address: to find out takes longer than to refuse. */
const refusedCosts = new BoundedMap<string, number>(MAX_REFUSED);

function rememberCost(request: Request, cost: number): void {
  // A part of a string keeps all of it.
  if (request.url.length <= MAX_ADDRESS) refusedCosts.set(addressOf(request), cost);
}

/** The units of a request that would go where one was refused before, in this isolate. */
export const refusedCost = (request: Request) => refusedCosts.get(addressOf(request));

function addressOf({ method, url }: Request): string {
  const query = url.indexOf("?");
  return method + (query < 0 ? url : url.slice(0, query));
}

/** What is known here to be refused for the tenant's limits. A key that was made up is told nothing of them. */
function denialOf(c: Context<Edge>, credential: Credential, cost: number): Denial | undefined {
  if (credential.kind === "api_key") {
    refuseGuessedKey(c, credential.hash);
    if (!wasGood(credential.hash)) return undefined;
  }
  return knownDenial(credential.tenantId, cost, Date.now());
}

/** Where there is such a binding, lets a tenant's flood no further. */
async function guardTenant(c: Context<Edge>, tenantId: string): Promise<void> {
  const guard = c.env.TENANT_GUARD;
  if (guard && !(await guard.limit({ key: tenantId })).success)
    throw new Problem("too_many_attempts", {
      detail: "The tenant sends more requests at once than are let through to its limits. Wait for a minute.",
      headers: { "retry-after": "60" },
    });
}

/** The tenant's answer, or, where its plan says so, a pass on the gateway's binding alone. Throws `unavailable`. */
async function ask(c: Context<Edge>, credential: Credential, cost: number): Promise<Admission> {
  const { tenantId } = credential;
  const started = performance.now();
  try {
    const demand = [cost, ...proofOf(credential)] as const;
    const answer = await askTenant(c.env.TENANT, tenantId, demand, c.get("deadline"), (call) =>
      c.executionCtx.waitUntil(call),
    );
    if (credential.kind === "api_key")
      await rememberKey(c, credential.hash, !["unknown", "revoked"].includes(answer.status));
    return answer;
  } catch (cause) {
    c.get("deadline").check();
    const problem = outOfReach(cause);
    // Nobody else knows whether a key exists.
    if (!c.env.TENANT_GUARD || !passesWithoutObject(tenantId) || credential.kind === "api_key") throw problem;
    logProblem(problem, c.get("requestId"), c.req.path);
    c.header("RateLimit-Exact", "?0");
    return { status: "active", decision: { outcome: "admitted", standings: [] } };
  } finally {
    timed(c, "admit", started);
  }
}

const proofOf = (credential: Credential): Proof =>
  credential.kind === "user"
    ? [credential.userId, credential.sessionId, credential.version]
    : [credential.hash];
