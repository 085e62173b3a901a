/** An exact decimal: `digits` × 10^-`scale`. */
type Decimal = { readonly digits: bigint; readonly scale: number };

/** Reads a whole number, or a text such as "0.30". Throws RangeError for anything else. */
export function decimal(value: string | bigint): Decimal {
  const [, sign = "", whole, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(value)) ?? [];
  if (whole === undefined) throw new RangeError(`${value} is not a decimal`);
  return { digits: BigInt(sign + whole + fraction), scale: fraction.length };
}

/** Exact. */
export const product = (a: Decimal, b: Decimal): Decimal => ({
  digits: a.digits * b.digits,
  scale: a.scale + b.scale,
});

/** Exact. */
export function sum(all: readonly Decimal[]): Decimal {
  const scale = Math.max(0, ...all.map((each) => each.scale));
  return { digits: all.reduce((total, each) => total + shifted(each, scale), 0n), scale };
}

/** `a` divided by `b`, rounded half up to so many places. Neither is negative. */
export function quotient(a: Decimal, b: Decimal, places: number): Decimal {
  const scale = Math.max(a.scale, b.scale);
  const [over, under] = [shifted(a, scale) * 10n ** BigInt(places), shifted(b, scale)];
  return { digits: (2n * over + under) / (2n * under), scale: places };
}

/** The same number with so many places, rounded half up. It is not negative. */
export const rounded = (a: Decimal, places: number): Decimal => quotient(a, decimal(1n), places);

/** With all its places, such as "0.300000". */
export function written({ digits, scale }: Decimal): string {
  const text = String(digits < 0n ? -digits : digits).padStart(scale + 1, "0");
  const at = text.length - scale;
  return `${digits < 0n ? "-" : ""}${text.slice(0, at)}${scale > 0 ? `.${text.slice(at)}` : ""}`;
}

const shifted = ({ digits, scale }: Decimal, to: number): bigint => digits * 10n ** BigInt(to - scale);
