import type { Home } from "../db/places.ts";
import type { Deadline } from "../deadline.ts";
import { bindings, settings } from "../env.ts";
import { remembers } from "../memory.ts";
import type { Standing } from "../policy.ts";
import { Problem } from "../problem.ts";
import { within } from "../within.ts";
import { Calls } from "./calls.ts";
import { Denials } from "./denials.ts";
import type { News } from "./news.ts";
import type { Admission, Answers, Demand, Tenant } from "./object.ts";
import type { EdgeRecord } from "./record.ts";
import { bringBack, takeNotes } from "./usage-notes.ts";

/** An object that does not confirm within this time is out of reach. It may read Postgres, and tell the tenant's site. */
const LEARN_TIMEOUT_MS = 7_000;

const calls = new Calls();
const denials = new Denials();
const slugs = remembers<string>("tenants");

/** The tenant's Durable Object, beside the database if this is what creates it. */
export const tenantObject = (tenantId: string): DurableObjectStub<Tenant> =>
  bindings.TENANT.getByName(tenantId, { locationHint: settings.TENANT_LOCATION_HINT });

/** Whether this isolate knows of any tenant that is over a limit at `now`, in ms. */
export const knowsDenials = (now: number) => denials.any(now);

/** What makes sure, without a call, that the tenant's object would refuse a request of `cost` units at `now`, in ms. */
export const knownDenial = (tenantId: string, cost: number, now: number) =>
  denials.recall(tenantId, cost, now);

/**
 * The tenant's own answer to a demand, in one call at most. Throws when its object is out of reach.
 * `keepAlive` is the request's `waitUntil`: others may wait for the call that this one makes.
 */
export async function askTenant(
  tenantId: string,
  demand: Demand,
  deadline: Deadline,
  keepAlive: (call: Promise<unknown>) => void,
): Promise<Admission> {
  const askedAt = Date.now();
  // What an operator's request may wait for, the tenant's own do not.
  const line = demand.length === 6 ? `${tenantId} support` : tenantId;
  const answer = await calls.ask(
    line,
    demand,
    deadline,
    (demands) => callObject(tenantId, demands),
    keepAlive,
  );
  if (!answer.refused && answer.decision.outcome === "refused")
    denials.remember(tenantId, demand[0], answer.decision, askedAt, Date.now());
  return answer;
}

/**
 * Has the tenant's object confirm the news, durably, so that its next answer goes by them; there are none of a tenant that
 * does not exist. Throws `unavailable`.
 */
export async function tellTenant(tenantId: string, news: News | undefined): Promise<void> {
  if (news) await confirmed(tenantObject(tenantId).receive(news.head, news, true));
}

/** Has the tenant's object read the news up to the entry `head` by itself, and confirm them. Throws `unavailable`. */
export const updateTenant = (tenantId: string, head: number): Promise<void> =>
  confirmed(tenantObject(tenantId).receive(head, undefined, true));

/**
 * Has the tenant's object know its record, so that its first request need not wait for it, and confirm the news up to the
 * entry `head`. Throws `unavailable`.
 */
export const introduceTenant = (record: EdgeRecord, head: number): Promise<void> =>
  confirmed(tenantObject(record.id).learn(record, head, true));

/**
 * Where the tenant's content is, for a request whose site has refused it in this epoch: the same, when nobody knows better
 * yet. `isClosed` says that the site has refused for good. Throws `unavailable`.
 */
export const findHome = (tenantId: string, epoch: number, isClosed: boolean): Promise<Home> =>
  confirmed(tenantObject(tenantId).relocate(epoch, isClosed, true));

/** What is left of the tenant's limits, as Tenant.standings() has it. Throws `unavailable`. */
export const standingsOf = (tenantId: string): Promise<Standing[] | null> =>
  confirmed(tenantObject(tenantId).standings(true));

/** The object's answer. Throws `unavailable` for a text, which says why the call has failed, and without an answer in time. */
async function confirmed<Answer>(call: Promise<Answer | string>): Promise<Answer> {
  let answer: Answer | string;
  try {
    answer = await within(LEARN_TIMEOUT_MS, call);
  } catch (cause) {
    throw outOfReach(cause);
  }
  if (typeof answer === "string") throw outOfReach(answer);
  return answer;
}

/** The problem of a tenant's object that does not answer: never a 429, and never an admission. */
export const outOfReach = (cause: unknown) =>
  new Problem("unavailable", {
    detail: "The tenant's limits are out of reach.",
    headers: { "retry-after": "1" },
    cause,
  });

/** The tenant's slug as its object last told this isolate. */
export const lastKnownSlug = (tenantId: string) => slugs.get(tenantId);

/**
 * Calls the object, and once more with the same id if the call may be made again (never when overloaded). What this isolate
 * has noted of the tenant's requests goes with it, once: it is lost with a call of which nobody knows what it did.
 */
async function callObject(tenantId: string, demands: Demand[]): Promise<Admission[]> {
  const callId = crypto.randomUUID();
  const notes = takeNotes(tenantId);
  // A stub is broken after an error, so each call has its own.
  const call = () =>
    notes
      ? tenantObject(tenantId).admit(callId, demands, notes)
      : tenantObject(tenantId).admit(callId, demands);
  let answers: string;
  try {
    answers = await call();
  } catch (error) {
    const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
    if (overloaded && notes) bringBack(tenantId, notes);
    if (!retryable || overloaded) throw error;
    // The object may have decided, and then says so again.
    answers = await call();
  }
  const { slug, admissions, failed }: Answers = JSON.parse(answers);
  if (failed !== undefined) throw new Error(failed);
  if (slug) slugs.set(tenantId, slug);
  return admissions;
}
