import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as v from "valibot";
import { amount } from "../src/values.ts";
import { stage } from "./support/client.ts";

describe("an amount", () => {
  it.each(["0", "12", "-1234.5", "9999999999.99", "0.01"])("may be %s", (text) =>
    expect(v.is(amount(), text)).toBe(true),
  );
  it.each(["", "01", "1.", ".5", "1.234", "10000000000", "1e3", "1,5", "+1", " 1", "NaN", "٣"])(
    "may not be %j",
    (text) => expect(v.is(amount(), text)).toBe(false),
  );
  it("may not be a number, which is not exact", () => expect(v.is(amount(), 1.5)).toBe(false));

  it("is what a column of that precision and scale holds, to the digit", async () => {
    const shape = fc
      .tuple(fc.integer({ min: 2, max: 20 }), fc.nat(6))
      .filter(([precision, scale]) => scale < precision);
    await fc.assert(
      fc.asyncProperty(
        shape,
        fc.bigInt(0n, 10n ** 20n),
        fc.nat(6),
        async ([precision, scale], digits, places) => {
          const padded = String(digits).padStart(places + 1, "0");
          const cut = padded.length - places;
          const text = places > 0 ? `${padded.slice(0, cut)}.${padded.slice(cut)}` : padded;
          const type = `numeric(${precision}, ${scale})`;
          const held = await stage
            .query(`select $1::${type} = $1::numeric and scale($1::numeric) <= ${scale} as held`, [text])
            .then(([row]) => row?.["held"] === true)
            .catch(() => false);
          expect(v.is(amount(precision, scale), text)).toBe(held);
        },
      ),
      { numRuns: 100 },
    );
  });
});
