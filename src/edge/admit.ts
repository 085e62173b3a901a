import type { Context } from "hono";
import { SCOPES, SUPPORT_SCOPES } from "../authority.ts";
import type { Caller, Credential } from "../caller.ts";
import { factory, forRequest, timed, type Edge } from "../context.ts";
import { isSlug } from "../db/across-tenants.ts";
import { openTenantDb } from "../db/client.ts";
import type { Home } from "../db/places.ts";
import { bindings } from "../env.ts";
import { invalidToken } from "../identity/bearer.ts";
import type { Decision } from "../policy.ts";
import { Problem } from "../problem.ts";
import type { Proof } from "../tenant/credentials.ts";
import { refusalAt } from "../tenant/denials.ts";
import { closedFor } from "../identity/refused.ts";
import type { Admission } from "../tenant/object.ts";
import { askTenant, findHome, knownDenial, lastKnownSlug, outOfReach } from "../tenant/stub.ts";
import { noteRefusal } from "../tenant/usage-notes.ts";
import { accessOf } from "./access.ts";
import { costOf, rememberCost } from "./cost.ts";
import { refuseGuessedKey, rememberKey, wasValid } from "./guessing.ts";
import { rateLimit, rateLimitPolicy, retryAfter } from "./headers.ts";
import { slugOfHost } from "./host.ts";
import { tenantsInFlight } from "./in-flight.ts";

/**
 * Lets a request on only when its credential is valid, and its tenant is active, within its limits and has few enough
 * requests under way, by one call to the tenant's object at most; then says who calls and opens the tenant's database.
 * Over a limit: 429. Object out of reach, or too many requests at once: 503, not admitted.
 */
export const admit = factory.createMiddleware(async function admit(c, next) {
  const credential = c.get("credential");
  const { tenantId } = credential;
  const deadline = c.get("deadline");
  const cost = costOf(c);
  refuseKnown(c, credential, cost);
  await guardTenant(tenantId);
  tenantsInFlight.enter(tenantId, deadline);
  try {
    const admission = await ask(c, credential, cost);
    const { key, home } = await admitted(c, credential, admission, cost);
    await requireOwnHost(c, tenantId);
    openDatabases(c, callerOf(credential, key), home);
    await next();
  } finally {
    tenantsInFlight.leave(tenantId, deadline);
  }
});

/** Credentials that are void for good. A token that comes again is remembered by the same object as before. */
const revoked = new WeakSet<Credential>();

/**
 * Refuses, without a call, what this isolate knows to be refused: a revoked token, a guessed key, a tenant over its limit.
 * An unknown key is not told the tenant's limits.
 */
function refuseKnown(c: Context<Edge>, credential: Credential, cost: number): void {
  if (revoked.has(credential)) throw invalidToken();
  if (credential.kind === "api_key") {
    refuseGuessedKey(c, credential.hash);
    if (!wasValid(credential.hash)) return;
  }
  const now = Date.now();
  const denial = knownDenial(credential.tenantId, cost, now);
  if (!denial) return;
  noteRefusal(credential, now);
  obey(c, refusalAt(denial, now), cost);
}

/** Where the binding exists, stops a tenant's flood in front of its object. */
async function guardTenant(tenantId: string): Promise<void> {
  const guard = bindings.TENANT_GUARD;
  if (guard && !(await guard.limit({ key: tenantId })).success)
    throw new Problem("too_many_attempts", {
      detail: "The tenant sends more requests at once than are let through to its limits. Wait for a minute.",
      headers: { "retry-after": "60" },
    });
}

/** The tenant's answer. Throws `unavailable` when its object is out of reach: there is no way past it. */
async function ask(c: Context<Edge>, credential: Credential, cost: number): Promise<Admission> {
  const { tenantId } = credential;
  const started = performance.now();
  try {
    const demand = [cost, accessOf(c, credential), ...proofOf(credential)] as const;
    return await askTenant(tenantId, demand, c.get("deadline"), (call) => c.executionCtx.waitUntil(call));
  } catch (cause) {
    c.get("deadline").check();
    throw outOfReach(cause);
  } finally {
    timed(c, "admit", started);
  }
}

function proofOf(credential: Credential): Proof {
  if (credential.kind === "api_key") return [credential.hash];
  return credential.kind === "user"
    ? [credential.userId, credential.sessionId, credential.version]
    : [credential.operatorId, credential.sessionId, 0, "support"];
}

type Admitted = Extract<Admission, { decision: Decision }>;

/** The admission of a request that the tenant's object lets on. Throws when it does not, and remembers why. */
async function admitted(
  c: Context<Edge>,
  credential: Credential,
  admission: Admission,
  cost: number,
): Promise<Admitted> {
  const { refused } = admission;
  const isValid = refused !== "revoked" && refused !== "unknown";
  if (credential.kind === "api_key") await rememberKey(c, credential.hash, isValid);
  if (refused === "revoked") revoked.add(credential);
  if (!isValid) throw invalidToken();
  if (refused) throw closedFor(refused);
  obey(c, admission.decision, cost);
  return admission;
}

/** Tells the client what is left of its limits. Throws unless the decision admits the request. */
function obey(c: Context<Edge>, decision: Decision, cost: number): void {
  const { outcome, standings } = decision;
  if (standings.length > 0) {
    c.header("RateLimit-Policy", rateLimitPolicy(standings, Date.now()));
    c.header("RateLimit", rateLimit(standings));
  }
  switch (outcome) {
    case "refused":
      rememberCost(c, cost);
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

/**
 * Throws when the request's host names another tenant (`wrong_host`) or none (`not_found`). Runs after the limits: to look
 * a host up asks the database.
 */
async function requireOwnHost(c: Context<Edge>, tenantId: string): Promise<void> {
  const slug = slugOfHost(c.req.url);
  if (slug === undefined || slug === lastKnownSlug(tenantId)) return;
  throw new Problem((await isSlug(slug)) ? "wrong_host" : "not_found");
}

/** Who calls, now that the tenant's object has said what the credential is worth. */
function callerOf(credential: Credential, key: Admitted["key"]): Caller {
  const { kind, tenantId } = credential;
  if (kind === "api_key") {
    if (!key) throw new Error("the tenant's object admitted a key without saying which");
    return { kind, tenantId, id: key.id, scopes: key.scopes };
  }
  if (kind === "support") {
    const { operatorId, operator, sessionId, role } = credential;
    return { kind, tenantId, id: operatorId, name: operator, sessionId, role, scopes: SUPPORT_SCOPES[role] };
  }
  const { userId, role, sessionId, authTime, amr } = credential;
  return { kind, tenantId, id: userId, role, sessionId, authTime, amr, scopes: SCOPES[role] };
}

/** Says who calls, and gives the request the tenant's rows and its people, on the caller's behalf. */
function openDatabases(c: Context<Edge>, caller: Caller, home: Home | undefined): void {
  const { tenantId } = caller;
  const as = caller.kind === "api_key" ? caller.kind : caller.role;
  const actor = { id: caller.id, as, ...(caller.kind === "support" && { name: caller.name }) };
  const request = forRequest(c);
  const findNewHome = (epoch: number, isClosed: boolean) => findHome(tenantId, epoch, isClosed);
  c.set("caller", caller);
  c.set("db", openTenantDb("app", tenantId, actor, { ...request, findHome: findNewHome }, home));
  c.set("account", openTenantDb("account", tenantId, actor, request));
}
