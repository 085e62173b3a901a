/** Every request is answered within this time, with 503 if need be. */
const REQUEST_TIMEOUT_MS = 20_000;

/** How long a request may take, and whether its client still waits. Handed down to everything that waits for something. */
export class Deadline {
  /** When the time is over, in ms. */
  readonly at = Date.now() + REQUEST_TIMEOUT_MS;
  /** Aborts when the client leaves, as far as the runtime can tell: not for one that only stops sending. */
  readonly client: AbortSignal | undefined;

  constructor(client?: AbortSignal) {
    this.client = client;
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
}
