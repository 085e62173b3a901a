import { get } from "./api.client.js";
import { h, section } from "./elements.client.js";
import { day, decimal, money, named, price } from "./figures.client.js";
import { fill, table } from "./list.client.js";

/**
 * @typedef {{ what: string, quantity: string, unit: string, unit_price: string, amount: string }} Part
 * @typedef {{ currency: string, as_of: string, total: string, parts: Part[] }} Cost
 */

/** A part of a view with what a tenant costs, and of what that is made. @param {string} path */
export function costPart(path) {
  const place = h("div", { class: "stack" });
  return {
    node: section("Cost", place),
    /** @param {URLSearchParams} _query @param {AbortSignal} signal */
    load: (_query, signal) =>
      fill(place, signal, async () => {
        /** @type {Cost} */
        const { currency, as_of, total, parts } = await get(path, signal);
        return [
          h(
            "p",
            { class: "total" },
            h("b", {}, money(Number(total), currency)),
            h(
              "small",
              {},
              `This month, by the published prices of ${day(as_of)}; each amount is quantity times price.`,
            ),
          ),
          table(
            "What it costs, by part",
            [
              { name: "What", show: ({ what }) => named(what) },
              {
                name: "Quantity",
                figure: true,
                show: ({ quantity, unit }) => `${decimal(quantity)} ${unit}`,
              },
              {
                name: "Unit price",
                figure: true,
                show: ({ unit_price }) => price(unit_price, currency),
              },
              { name: "Amount", figure: true, show: ({ amount }) => price(amount, currency) },
            ],
            parts,
          ),
        ];
      }),
  };
}
