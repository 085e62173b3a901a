/** A body under way: since when, in ms, and the bytes that are kept of it. */
type Reading = { readonly since: number; bytes: number };

/** The bodies that are read at once: they may keep `maxBytes` in all, and each of them counts for `maxMs` at most. */
export class Readings {
  readonly #maxBytes: number;
  readonly #maxMs: number;
  /** In the order of their start. */
  readonly #underWay = new Set<Reading>();
  #bytes = 0;

  constructor(maxBytes: number, maxMs: number) {
    this.#maxBytes = maxBytes;
    this.#maxMs = maxMs;
  }

  start(now: number): Reading {
    const reading = { since: now, bytes: 0 };
    this.#underWay.add(reading);
    return reading;
  }

  /** Whether the reading may keep so many bytes more; they count from then on. */
  mayKeep(reading: Reading, more: number, now: number): boolean {
    if (this.#bytes + more > this.#maxBytes) this.#forget(now);
    if (this.#bytes + more > this.#maxBytes) return false;
    if (this.#underWay.has(reading)) {
      reading.bytes += more;
      this.#bytes += more;
    }
    return true;
  }

  end(reading: Reading): void {
    if (this.#underWay.delete(reading)) this.#bytes -= reading.bytes;
  }

  /** A request whose client has gone may be ended in the middle, and then never ends its reading. */
  #forget(now: number): void {
    for (const reading of this.#underWay) {
      if (now - reading.since < this.#maxMs) return;
      this.end(reading);
    }
  }
}
