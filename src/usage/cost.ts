import { sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { decimal, product, quotient, rounded, sum, written } from "../decimal.ts";
import { PRICES } from "../product/prices.ts";
import { FIGURES } from "../usage-figures.ts";

/** Places of quantities and amounts: a millionth of a unit, and of the currency. */
const PLACES = 6;

/** What prices are about: figures of usage, and bytes times the days that they were kept. */
export const PRICED = [...FIGURES, "byte_days", "archive_byte_days"] as const;
type Priced = (typeof PRICED)[number];
export type Quantities = Readonly<Record<Priced, bigint>>;

type Price = {
  what: string;
  unit: string;
  unit_price: string;
  quantity: Partial<Record<Priced, string>>;
  per: string;
};
type Prices = { currency: string; as_of: string; parts: readonly Price[] };

export const Cost = v.object({
  currency: v.string(),
  /** The day of the prices. */
  as_of: v.string(),
  total: v.string(),
  parts: v.array(
    v.object({
      what: v.string(),
      quantity: v.string(),
      unit: v.string(),
      unit_price: v.string(),
      amount: v.string(),
    }),
  ),
});

/**
 * What these quantities cost, part by part. Each quantity is rounded to six places, each amount is quantity × unit_price, so
 * rounded, and the total is their sum: anybody can add it up.
 */
export function costOf(used: Quantities, prices: Prices = PRICES): v.InferOutput<typeof Cost> {
  const { currency, as_of } = prices;
  const amounts: ReturnType<typeof decimal>[] = [];
  const parts = prices.parts.map(({ what, unit, unit_price, quantity, per }) => {
    const terms = termsOf(quantity).map(([of, times]) => product(decimal(used[of]), decimal(times)));
    const own = quotient(sum(terms), decimal(per), PLACES);
    const amount = rounded(product(own, decimal(unit_price)), PLACES);
    amounts.push(amount);
    return { what, quantity: written(own), unit, unit_price, amount: written(amount) };
  });
  return { currency, as_of, total: written(rounded(sum(amounts), PLACES)), parts };
}

/** The total as SQL, of columns with the names of the quantities: to sort by, as it is neither exact nor rounded part by part. */
export function costSql(column: (of: Priced) => SQL, prices: Prices = PRICES): SQL {
  const parts = prices.parts.map(({ quantity, per, unit_price }) => {
    const terms = termsOf(quantity).map(([of, times]) => sql`${column(of)} * ${times}::float8`);
    return sql`(${sql.join(terms, sql` + `)}) * ${unit_price}::float8 / ${per}::float8`;
  });
  return sql.join(parts, sql` + `);
}

const termsOf = (quantity: Price["quantity"]) => Object.entries(quantity) as [Priced, string][];
