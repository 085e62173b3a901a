import { BoundedMap } from "../bounded-map.ts";
import { within } from "../within.ts";
import type { Admission, Demand } from "./object.ts";

/** A call that takes longer has failed: a request is not kept waiting, and not admitted. */
const CALL_TIMEOUT_MS = 5_000;
/** A request whose turn does not come in this time asks for itself. */
const TURN_TIMEOUT_MS = 2_000;
/** Tenants whose lines are kept in one isolate. */
const MAX_LINES = 10_000;

/**
 * A request may wait for what another one does only where workerd resumes each in its own context. It does by
 * default; the Vitest pool switches that off, and then every request asks for itself.
 */
const CAN_JOIN = Cloudflare.compatibilityFlags["handle_cross_request_promise_resolution"] === true;

/** Asks the tenant's object about these demands, in this order. */
export type Ask = (demands: Demand[]) => Promise<Admission[]>;

/** What a waiting request is told: its answer, or that it now asks for all that wait behind it. */
type Turn = { answer: Admission } | { lead: Waiter[] };
type Waiter = {
  demand: Demand;
  settled: boolean;
  take: (turn: Turn) => void;
  fail: (error: unknown) => void;
};
/** Who waits for a tenant's object in this isolate, and since when somebody has been asking it. */
type Line = { askedSince: number; waiting: Waiter[] };

/**
 * The calls to tenants' objects that are under way in this isolate. While one is for a tenant, its next requests wait,
 * and then go as one call, answered first come first served.
 */
export class Calls {
  // A line that is forgotten while somebody waits in it goes on; newcomers form another.
  readonly #lines = new BoundedMap<string, Line>(MAX_LINES);

  /**
   * The object's answer to a demand. `keepAlive` keeps the request that asks for others from being
   * ended before they are answered (a promise dies with the request that made it).
   */
  async ask(
    tenantId: string,
    demand: Demand,
    ask: Ask,
    keepAlive: (call: Promise<unknown>) => void,
  ): Promise<Admission> {
    const line = this.#lineOf(tenantId);
    const isBusy = CAN_JOIN && Date.now() - line.askedSince < CALL_TIMEOUT_MS;
    const turn = isBusy ? await this.#wait(line, demand) : undefined;
    if (turn && "answer" in turn) return turn.answer;

    const followers = turn?.lead ?? [];
    line.askedSince = Date.now();
    const answering = within(CALL_TIMEOUT_MS, ask([demand, ...followers.map((follower) => follower.demand)]));
    const done = answering
      .then(
        (answers) => followers.forEach((follower, index) => settle(follower, answers[index + 1])),
        (error: unknown) => followers.forEach((follower) => follower.fail(error)),
      )
      .then(() => handOver(line));
    keepAlive(done);
    const [own] = await answering;
    if (!own) throw new Error("the tenant's object gave no answer");
    return own;
  }

  #lineOf(tenantId: string): Line {
    let line = this.#lines.get(tenantId);
    if (!line) this.#lines.set(tenantId, (line = { askedSince: -Infinity, waiting: [] }));
    return line;
  }

  /** This request's turn, or undefined when it did not come in time. */
  async #wait(line: Line, demand: Demand): Promise<Turn | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<Turn | undefined>();
    const waiter: Waiter = {
      demand,
      settled: false,
      take: (turn) => {
        waiter.settled = true;
        resolve(turn);
      },
      fail: (error) => {
        waiter.settled = true;
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    };
    line.waiting.push(waiter);
    try {
      return await within(TURN_TIMEOUT_MS, promise);
    } catch (error) {
      if (waiter.settled) throw error;
      waiter.settled = true;
      return undefined;
    }
  }
}

/** Lets the first who waits ask for all who do. Should it be gone, the others' time to wait runs out. */
function handOver(line: Line): void {
  line.askedSince = -Infinity;
  if (line.waiting.length === 0) return;
  const [first, ...rest] = line.waiting.splice(0).filter(({ settled }) => !settled);
  if (!first) return;
  line.askedSince = Date.now();
  first.take({ lead: rest });
}

function settle(follower: Waiter, answer: Admission | undefined): void {
  if (answer) follower.take({ answer });
  else follower.fail(new Error("the tenant's object gave no answer"));
}
