import type { Deadline } from "../deadline.ts";
import { CAN_JOIN } from "../env.ts";
import { remembers } from "../memory.ts";
import { within } from "../within.ts";
import type { Admission, Demand } from "./object.ts";

/** A call that takes longer has failed: a request is not kept waiting, and not admitted. */
const CALL_TIMEOUT_MS = 5_000;
/** A request that nobody has asked for in this time asks for itself, and for all who wait then. */
const TURN_TIMEOUT_MS = 2_000;
/** Calls that one request makes for others; each is a subrequest of its own. */
const MAX_CALLS = 8;

/** Asks the tenant's object about these demands, in this order. */
export type Ask = (demands: Demand[]) => Promise<Admission[]>;

/** A demand, and the answer to it; "free" when nobody asks for it any more. Once asked, its units may be counted. */
type Waiter = {
  readonly demand: Demand;
  readonly deadline: Deadline;
  state: "waiting" | "asked" | "gone";
} & PromiseWithResolvers<Admission | "free">;
/** What becomes of one who waits: an answer, or that it has to ask for itself. */
type Outcome = Admission | "free" | "late";
/** Who waits for a tenant's object in this isolate, and since when somebody has been asking it. */
type Line = { askedSince: number; waiting: Waiter[] };

/**
 * The calls to tenants' objects that are under way in this isolate. While one is for a tenant, its next requests wait,
 * and then go as one call, answered first come first served.
 */
export class Calls {
  // A line that is forgotten while somebody waits in it goes on; newcomers form another.
  readonly #lines = remembers<Line>("lines");

  /**
   * The object's answer to a demand, which is asked for once, and not when nobody waits for it any more. `keepAlive` keeps
   * a request that asks for others from being ended before they are answered (a promise dies with the request that made it).
   */
  async ask(
    tenantId: string,
    demand: Demand,
    deadline: Deadline,
    ask: Ask,
    keepAlive: (calls: Promise<unknown>) => void,
  ): Promise<Admission> {
    const line = this.#lineOf(tenantId);
    for (let isLate = false; ;) {
      deadline.check();
      const waiter = newWaiter(demand, deadline);
      line.waiting.push(waiter);
      const waits: boolean = !isLate && isBusy(line);
      if (!waits) keepAlive(serve(line, deadline, ask));
      const outcome: Outcome = await (waits ? turnOf(waiter) : waiter.promise);
      if (typeof outcome !== "string") return outcome;
      isLate = outcome === "late";
    }
  }

  #lineOf(tenantId: string): Line {
    let line = this.#lines.get(tenantId);
    if (!line) this.#lines.set(tenantId, (line = { askedSince: -Infinity, waiting: [] }));
    return line;
  }
}

/** Where nobody may wait for another's call, every request asks for itself. */
const isBusy = ({ askedSince }: Line): boolean => CAN_JOIN && Date.now() - askedSince < CALL_TIMEOUT_MS;

const newWaiter = (demand: Demand, deadline: Deadline): Waiter => ({
  demand,
  deadline,
  state: "waiting",
  ...Promise.withResolvers<Admission | "free">(),
});

/** Waits 2 s to be picked up, then as long as a call may take. within(), not deadline.within(): see turns.ts. */
async function turnOf(waiter: Waiter): Promise<Outcome> {
  try {
    return await within(waiter.deadline.bound(TURN_TIMEOUT_MS), waiter.promise);
  } catch {
    // To ask again for what was asked would count it twice: that call has failed, or ends within its own bound.
    if (waiter.state === "asked") return within(waiter.deadline.bound(CALL_TIMEOUT_MS), waiter.promise);
    waiter.state = "gone";
    return "late";
  }
}

/**
 * Asks for all who wait, then for those who came meanwhile. After some calls it leaves the line to the first who wakes: a
 * request cannot go on for ever, and one that is told to lead may be gone.
 */
async function serve(line: Line, deadline: Deadline, ask: Ask): Promise<void> {
  const until = Date.now() + CALL_TIMEOUT_MS;
  for (let calls = 0; line.waiting.length > 0 && calls < MAX_CALLS && Date.now() < until; calls++) {
    line.askedSince = Date.now();
    await answerAll(line.waiting.splice(0), deadline, ask);
  }
  line.askedSince = -Infinity;
  for (const waiter of line.waiting.splice(0)) waiter.resolve("free");
}

/** Has these answered by one call; those who are gone by now are not asked for. Never throws. */
async function answerAll(waiters: readonly Waiter[], deadline: Deadline, ask: Ask): Promise<void> {
  const asked = waiters.filter((waiter) => waiter.state === "waiting" && !waiter.deadline.isOver);
  if (asked.length === 0) return;
  for (const waiter of asked) waiter.state = "asked";
  try {
    const answers = await deadline.within(CALL_TIMEOUT_MS, ask(asked.map(({ demand }) => demand)));
    for (const [index, waiter] of asked.entries()) {
      const own = answers[index];
      if (own) waiter.resolve(own);
      else waiter.reject(new Error("the tenant's object gave no answer"));
    }
  } catch (error) {
    for (const waiter of asked) waiter.reject(error);
  }
}
