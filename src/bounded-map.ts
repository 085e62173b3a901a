/** A Map of at most `max` entries: a new one takes the oldest one's place, in O(1). For what may be forgotten at any time. */
export class BoundedMap<Key, Value> extends Map<Key, Value> {
  readonly #max: number;
  // Kept, as a new iterator would first pass all that was deleted before. It has passed only what it gave up to be deleted.
  readonly #oldest = this.keys();

  constructor(max: number) {
    super();
    this.#max = max;
  }

  override set(key: Key, value: Value): this {
    if (this.size >= this.#max && !this.has(key)) {
      const oldest = this.#oldest.next();
      if (!oldest.done) this.delete(oldest.value);
    }
    return super.set(key, value);
  }
}
