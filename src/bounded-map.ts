/** A Map of at most `max` entries: a new one takes the oldest one's place, in O(1). For what may be forgotten at any time. */
export class BoundedMap<Key, Value> extends Map<Key, Value> {
  readonly #max: number;
  /** Kept, as each new one would first pass all that was deleted before. It has passed only what it gave up. */
  #oldest: MapIterator<Key> | undefined;
  #deletions = 0;

  constructor(max: number) {
    super();
    this.#max = max;
  }

  override set(key: Key, value: Value): this {
    if (this.size >= this.#max && !this.has(key)) {
      const oldest = (this.#oldest ??= this.keys()).next();
      if (!oldest.done) this.delete(oldest.value);
    }
    return super.set(key, value);
  }

  override delete(key: Key): boolean {
    this.#deletions += 1;
    // An iterator that rests keeps all that the map has outgrown since.
    if (this.#deletions % this.#max === 0) this.#oldest = undefined;
    return super.delete(key);
  }
}
