/** What the object's one alarm is for. */
type Purpose = "news" | "usage";

/**
 * The object's alarm, which several share: it rings for whatever is due first. It outlives the object's memory, but not what it
 * was for; so one that was found at the start is taken to be for usage, and whoever it rings for looks whether there is
 * anything to do.
 */
export class Alarm {
  readonly #storage: DurableObjectStorage;
  readonly #onWrite: () => void;
  readonly #due = new Map<Purpose, number>();
  /** When it rings, as far as storage knows; undefined for never. */
  #at: number | undefined;
  readonly #found: Promise<void>;

  /** `onWrite` hears of each row that this costs. */
  constructor(storage: DurableObjectStorage, onWrite: () => void) {
    this.#storage = storage;
    this.#onWrite = onWrite;
    this.#found = this.#find();
  }

  /** Has it ring for this purpose at this time, in ms, whatever it was set to before. Returns when that is stored. */
  async set(purpose: Purpose, at: number): Promise<void> {
    await this.#found;
    this.#due.set(purpose, at);
    await this.#settle({});
  }

  /** The same, unless it rings for that purpose already; nobody's answer waits until it is stored. */
  async ask(purpose: Purpose, at: number): Promise<void> {
    await this.#found;
    if (this.#due.has(purpose)) return;
    this.#due.set(purpose, at);
    await this.#settle({ allowUnconfirmed: true });
  }

  /** It need not ring for this purpose. */
  async clear(purpose: Purpose): Promise<void> {
    await this.#found;
    this.#due.delete(purpose);
    await this.#settle({});
  }

  /** It has rung at `now`, in ms: returns what for. Whoever has more to do asks again. */
  async rang(now: number): Promise<ReadonlySet<Purpose>> {
    await this.#found;
    // Nobody knows: the object has started for it.
    if (this.#due.size === 0) return new Set(["news", "usage"]);
    const until = Math.max(now, this.#at ?? now);
    const due = new Set([...this.#due].flatMap(([purpose, at]) => (at <= until ? [purpose] : [])));
    for (const purpose of due) this.#due.delete(purpose);
    this.#at = undefined;
    await this.#settle({ allowUnconfirmed: true });
    return due;
  }

  /** Forgets all, with what is stored. */
  forget(): void {
    this.#due.clear();
    this.#at = undefined;
  }

  async #find(): Promise<void> {
    const at = await this.#storage.getAlarm();
    if (at === null) return;
    this.#at = at;
    this.#due.set("usage", at);
  }

  async #settle(options: DurableObjectSetAlarmOptions): Promise<void> {
    const next = Math.min(...this.#due.values());
    if (next === (this.#at ?? Infinity)) return;
    this.#at = next === Infinity ? undefined : next;
    this.#onWrite();
    await (next === Infinity ? this.#storage.deleteAlarm() : this.#storage.setAlarm(next, options));
  }
}
