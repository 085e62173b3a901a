/** So many requests in a row without an answer: the database hangs, or is not there. */
const MAX_SILENT = 3;
/** How often a request finds out whether it answers again; the others fail at once meanwhile. */
const RETRY_MS = 2_000;

/** Whether a database answers, as far as its last requests could tell. An error of its own is an answer. */
export class Reach {
  #silent = 0;
  #answeredAt = -Infinity;
  #retryAt = 0;

  /** Whether to ask it at `now`, in ms. While it is silent that is true for one request every 2 s. */
  mayAsk(now: number): boolean {
    if (this.#silent < MAX_SILENT) return true;
    if (now < this.#retryAt) return false;
    // Should the runtime cut this one off, the next one is on its way.
    this.#retryAt = now + RETRY_MS;
    return true;
  }

  /** Learns at `now`, in ms, that a request was answered. */
  answered(now: number): void {
    this.#silent = 0;
    this.#answeredAt = now;
  }

  /** Learns at `now` that a request which was sent at `sent`, both in ms, was not answered, and will not be. */
  unanswered(sent: number, now: number): void {
    // Of the time before it came back: tells nothing of now.
    if (sent < this.#answeredAt) return;
    this.#silent += 1;
    if (this.#silent === MAX_SILENT) this.#retryAt = now + RETRY_MS;
  }
}
