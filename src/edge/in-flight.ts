import type { Deadline } from "../deadline.ts";
import { Problem } from "../problem.ts";

/** Requests of one tenant that an isolate works on at once. */
const MAX_OF_TENANT = 400;
/** The same of all who show no token: more than one network may send in a minute, or at the turn of two (FLOOD_GUARD). */
const MAX_WITHOUT_TOKEN = 640;

/** The requests that an isolate works on, by whose they are: of each at most `max`. */
class InFlight {
  readonly #max: number;
  // A name is here as long as a request of it is: this is bounded by what is in flight.
  readonly #byName = new Map<string, Set<Deadline>>();
  #full = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Whether any name has as many as it may; some of these may be over. */
  get anyFull(): boolean {
    return this.#full > 0;
  }

  /** Whether one more of this name would be too many. */
  isFull(name: string): boolean {
    const requests = this.#byName.get(name);
    if (!requests || requests.size < this.#max) return false;
    // The runtime ends the request of a client that leaves where it stands, so that none of these has said goodbye.
    for (const request of requests) if (request.isOver) this.leave(name, request);
    return requests.size >= this.#max;
  }

  /** Counts a request from now until it leaves. Throws `unavailable`, and counts nothing, when it is one too many. */
  enter(name: string, request: Deadline): void {
    if (this.isFull(name)) throw tooManyInFlight();
    let requests = this.#byName.get(name);
    if (!requests) this.#byName.set(name, (requests = new Set()));
    requests.add(request);
    if (requests.size === this.#max) this.#full += 1;
  }

  leave(name: string, request: Deadline): void {
    const requests = this.#byName.get(name);
    if (!requests?.delete(request)) return;
    if (requests.size === this.#max - 1) this.#full -= 1;
    if (requests.size === 0) this.#byName.delete(name);
  }
}

/** By tenant. */
export const tenantsInFlight = new InFlight(MAX_OF_TENANT);
/** Under one name. */
export const strangersInFlight = new InFlight(MAX_WITHOUT_TOKEN);

/** The problem of a request that would be one too many at once. Neither counted nor asked for anywhere. */
export const tooManyInFlight = () =>
  new Problem("unavailable", {
    detail: "Too many requests are under way at once. Nothing was done for this one.",
    headers: { "retry-after": "1" },
  });
