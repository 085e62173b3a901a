/** Every request is answered within this time, with 503 if need be. */
const REQUEST_TIMEOUT_MS = 20_000;
/** The timer runs no longer than this before it checks all waits. */
const TICK_MS = 5_000;

/** One thing that is waited for, until `at`, in ms. */
type Wait = { readonly at: number; readonly expire: () => void };

/** How long a request may take, and whether its client still waits. Handed down to everything that waits for something. */
export class Deadline {
  /** When the time is over, in ms. */
  readonly at: number;
  /** Aborts when the client leaves, as far as the runtime can tell: not for one that only stops sending. */
  readonly client: AbortSignal | undefined;
  // Setting and clearing a timer is the most expensive part of a wait, so all waits of a request share one timer.
  readonly #waits = new Set<Wait>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #rings = Infinity;

  constructor(client?: AbortSignal, ms = REQUEST_TIMEOUT_MS) {
    this.client = client;
    this.at = Date.now() + ms;
  }

  /** A bound of so many ms, or what is left of the request's time if that is less. */
  bound(ms: number): number {
    return Math.max(0, Math.min(ms, this.at - Date.now()));
  }

  /** Whether nobody waits for the answer any more: the client has left, or was told that it took too long. */
  get isOver(): boolean {
    return this.client?.aborted === true || Date.now() >= this.at;
  }

  /** Throws when it is over, so that nothing is begun for nobody. */
  check(): void {
    this.client?.throwIfAborted();
    if (this.isOver) throw new Error("nobody waits for this any more");
  }

  /**
   * The promise's value, or an error when it takes longer than `ms` or than the request may take. The work itself goes on
   * until the request ends.
   */
  within<T>(ms: number, promise: Promise<T>): Promise<T> {
    const now = Date.now();
    const bound = this.bound(ms);
    return new Promise((resolve, reject) => {
      const wait = { at: now + bound, expire: () => reject(new Error(`no answer within ${bound} ms`)) };
      this.#waits.add(wait);
      if (wait.at < this.#rings) this.#ringAt(Math.min(wait.at, now + TICK_MS), now);
      promise.then(resolve, reject).finally(() => this.#end(wait));
    });
  }

  #end(wait: Wait): void {
    this.#waits.delete(wait);
    // A timer that a request leaves behind costs more than all the rest of its waiting.
    if (this.#waits.size === 0) this.#ringAt(Infinity, 0);
  }

  #ringAt(time: number, now: number): void {
    clearTimeout(this.#timer);
    this.#rings = time;
    this.#timer = time === Infinity ? undefined : setTimeout(() => this.#ring(), time - now);
  }

  /** Ends the waits that have taken too long, and comes back for the others. */
  #ring(): void {
    const now = Date.now();
    let next = now + TICK_MS;
    for (const wait of this.#waits) {
      if (wait.at > now) {
        next = Math.min(next, wait.at);
        continue;
      }
      this.#waits.delete(wait);
      wait.expire();
    }
    this.#ringAt(this.#waits.size > 0 ? next : Infinity, now);
  }
}
