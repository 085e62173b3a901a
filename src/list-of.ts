import * as v from "valibot";

/** A list of `min` to `max` items. One that is too long is refused before any item is parsed. */
export function listOf<Item extends v.GenericSchema>(item: Item, min: number, max: number) {
  const list = v.pipe(v.array(item), v.minLength(min), v.maxLength(max));
  const tooLong = v.pipe(v.array(v.unknown()), v.maxLength(max));
  const run: (typeof list)["~run"] = (dataset, config) =>
    Array.isArray(dataset.value) && dataset.value.length > max
      ? tooLong["~run"](dataset, config)
      : list["~run"](dataset, config);
  // A valibot schema is a plain object: this copy describes itself in the same way, and only runs differently.
  return Object.assign({}, list, { "~run": run });
}
