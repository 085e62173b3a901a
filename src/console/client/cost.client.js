import { get } from "./api.client.js";
import { h, section } from "./elements.client.js";
import { day, decimal, money, named, price } from "./figures.client.js";
import { fill, table } from "./list.client.js";

/**
 * @typedef {{ what: string, quantity: string, unit: string, unit_price: string, amount: string, figures: string }} Part
 * @typedef {{ project: string, why_not: string | null, from: string | null, to: string | null }} Neon
 * @typedef {{ currency: string, as_of: string, total: string, parts: Part[], neon: Neon | null }} Cost
 */

/** Why Neon's figures are not in a cost. */
const WHY_NOT = /** @type {Record<string, string>} */ ({
  not_set_up: "NEON_API_KEY is not set",
  no_prices: "src/product/prices.ts has no prices for them",
  several_tenants: "other tenants are in the same project",
  no_days: "it has none of these days",
  unknown_project: "it knows no such project, or nothing that it used",
  no_answer: "it did not answer, or refused",
});

/** @param {Neon} neon */
const saidOf = ({ project, why_not, from, to }) =>
  why_not === null
    ? `What Neon bills is by its own figures of the project ${project}, of ${day(from ?? "")} to ${day(to ?? "")}.`
    : `Neon's own figures of the project ${project} are not in it: ${WHY_NOT[why_not] ?? why_not}.`;

/** A part of a view with what a tenant costs, and of what that is made. @param {string} path */
export function costPart(path) {
  const place = h("div", { class: "stack" });
  return {
    node: section("Cost", place),
    /** @param {URLSearchParams} _query @param {AbortSignal} signal */
    load: (_query, signal) =>
      fill(place, signal, async () => {
        /** @type {Cost} */
        const { currency, as_of, total, parts, neon } = await get(path, signal);
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
          ...(neon ? [h("p", {}, saidOf(neon))] : []),
          table(
            "What it costs, by part",
            [
              { name: "What", show: ({ what }) => named(what) },
              ...(neon
                ? [
                    {
                      name: "Figures",
                      show: (/** @type {Part} */ { figures }) => (figures === "neon" ? "Neon's" : "Own"),
                    },
                  ]
                : []),
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
