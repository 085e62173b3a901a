import fc from "fast-check";
import { expect, it } from "vitest";
import { BoundedMap } from "../src/bounded-map.ts";

it("keeps the newest entries, however they are set, set again and deleted", () => {
  const step = fc.record({ key: fc.nat(12), deletes: fc.boolean() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 200 }), (max, steps) => {
      const map = new BoundedMap<number, number>(max);
      let model: [number, number][] = [];
      for (const [value, { key, deletes }] of steps.entries()) {
        const known = model.find(([name]) => name === key);
        if (deletes) model = model.filter(([name]) => name !== key);
        else if (known) known[1] = value;
        else model = [...model, [key, value] satisfies [number, number]].slice(-max);
        if (deletes) map.delete(key);
        else map.set(key, value);
        expect([...map]).toEqual(model);
      }
    }),
  );
});
