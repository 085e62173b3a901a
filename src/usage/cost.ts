import { sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { decimal, product, quotient, rounded, sum, written } from "../decimal.ts";
import { PRICES } from "../product/prices.ts";
import { FIGURES } from "../usage-figures.ts";
import { NeonShare, type NeonFigures, type NeonMetric } from "./neon.ts";

/** Places of quantities and amounts: a millionth of a unit, and of the currency. */
const PLACES = 6;

/** What prices are about: figures of usage, and bytes times the days that they were kept. */
export const PRICED = [...FIGURES, "byte_days", "archive_byte_days"] as const;
type Priced = (typeof PRICED)[number];
export type Quantities = Readonly<Record<Priced, bigint>>;

type Price<Of extends string> = {
  what: string;
  unit: string;
  unit_price: string;
  quantity: Partial<Record<Of, string>>;
  per: string;
};
/** A product may be without `neon`. */
export type Prices = {
  currency: string;
  as_of: string;
  parts: readonly Price<Priced>[];
  neon?: readonly Price<NeonMetric>[];
};

const Part = v.object({
  what: v.string(),
  quantity: v.string(),
  unit: v.string(),
  unit_price: v.string(),
  amount: v.string(),
  /** Whose figures the quantity is from: partywall's own, or Neon's. */
  figures: v.picklist(["own", "neon"]),
});
type Part = v.InferOutput<typeof Part>;

export const Cost = v.object({
  currency: v.string(),
  /** The day of the prices. */
  as_of: v.string(),
  total: v.string(),
  parts: v.array(Part),
  /** Null unless the tenant is at a site whose Neon project is known. */
  neon: v.nullable(NeonShare),
});

/** What is said of a tenant's Neon project, what it used, and what partywall counted on the days before those. */
type Neon = { share: v.InferOutput<typeof NeonShare>; figures?: NeonFigures; before?: Quantities };

/**
 * What these quantities cost, part by part. Each quantity is rounded to six places, each amount is quantity × unit_price, so
 * rounded, and the total is their sum: anybody can add it up. Where there are figures of Neon's, they take the place of the parts
 * with the same names; what was counted on the days before comes beside them.
 */
export function costOf(used: Quantities, neon?: Neon, prices: Prices = PRICES): v.InferOutput<typeof Cost> {
  const { currency, as_of } = prices;
  const billed = (neon?.figures && prices.neon) ?? [];
  const isBilled = ({ what }: { what: string }) => billed.some((each) => each.what === what);
  const parts = [
    ...partsOf(
      prices.parts.filter((part) => !isBilled(part)),
      used,
      "own",
    ),
    ...(neon?.before ? partsOf(prices.parts.filter(isBilled), neon.before, "own") : []),
    ...(neon?.figures ? partsOf(billed, neon.figures, "neon") : []),
  ];
  const total = rounded(sum(parts.map(({ amount }) => decimal(amount))), PLACES);
  return { currency, as_of, total: written(total), parts, neon: neon?.share ?? null };
}

const partsOf = <Of extends string>(
  prices: readonly Price<Of>[],
  used: Readonly<Record<Of, bigint>>,
  figures: Part["figures"],
): Part[] =>
  prices.map(({ what, unit, unit_price, quantity, per }) => {
    const terms = termsOf(quantity).map(([of, times]) => product(decimal(used[of]), decimal(times)));
    const own = quotient(sum(terms), decimal(per), PLACES);
    const amount = rounded(product(own, decimal(unit_price)), PLACES);
    return { what, quantity: written(own), unit, unit_price, amount: written(amount), figures };
  });

/**
 * The total by partywall's own figures as SQL, of columns with the names of the quantities: to sort by, as it is neither exact
 * nor rounded part by part.
 */
export function costSql(column: (of: Priced) => SQL, prices: Prices = PRICES): SQL {
  const parts = prices.parts.map(({ quantity, per, unit_price }) => {
    const terms = termsOf(quantity).map(([of, times]) => sql`${column(of)} * ${times}::float8`);
    return sql`(${sql.join(terms, sql` + `)}) * ${unit_price}::float8 / ${per}::float8`;
  });
  return sql.join(parts, sql` + `);
}

const termsOf = <Of extends string>(quantity: Price<Of>["quantity"]) =>
  Object.entries(quantity) as [Of, string][];
