/** A figure over all rounds. */
export type Spread = { median: number; min: number; max: number };

/** The median of the rounds, and how far they lie apart. NaN when there are none. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.slice(Math.floor((sorted.length - 1) / 2), Math.floor(sorted.length / 2) + 1);
  return {
    median: middle.reduce((sum, value) => sum + value, 0) / middle.length,
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
  };
}

/** How many times `these` are `those`, round by round: what slows a whole round down leaves the ratio as it is. */
export function ratio(these: readonly number[], those: readonly number[]): Spread {
  return spread(these.map((value, round) => value / (those[round] ?? Number.NaN)));
}

/** By how much these exceed those, round by round. */
export function difference(these: readonly number[], those: readonly number[]): Spread {
  return spread(these.map((value, round) => value - (those[round] ?? Number.NaN)));
}

/** `12,345`, or `1.23` with so many decimals; a dash for what could not be measured. */
export function shown(value: number, decimals = 0): string {
  if (!Number.isFinite(value)) return "–";
  return value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** `0.74 (0.70–0.78)`, or with other decimals. */
export function shownSpread({ median, min, max }: Spread, decimals = 2): string {
  if (!Number.isFinite(median)) return "–";
  return `${shown(median, decimals)} (${shown(min, decimals)}–${shown(max, decimals)})`;
}

/** Lines of a table, the first column to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) =>
    Math.max(...[head, ...rows].map((row) => (row[column] ?? "").length)),
  );
  const line = (cells: readonly string[]) =>
    widths
      .map((width, column) =>
        column === 0 ? (cells[column] ?? "").padEnd(width) : (cells[column] ?? "").padStart(width),
      )
      .join("   ");
  return [line(head), widths.map((width) => "─".repeat(width)).join("───"), ...rows.map(line)].join("\n");
}
