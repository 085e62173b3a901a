/** A Map of at most `max` entries: a new one takes the oldest one's place. For what may be forgotten at any time. */
export class BoundedMap<Key, Value> extends Map<Key, Value> {
  readonly #max: number;

  constructor(max: number) {
    super();
    this.#max = max;
  }

  override set(key: Key, value: Value): this {
    if (this.size >= this.#max && !this.has(key))
      for (const oldest of this.keys()) if (this.delete(oldest)) break;
    return super.set(key, value);
  }
}
