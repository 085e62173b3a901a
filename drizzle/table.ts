/** A value as a cell: an instant in ISO 8601 (UTC), a dash for none. */
export const cellOf = (value: unknown): string =>
  value instanceof Date ? value.toISOString() : String(value ?? "–");

/** Rows as lines of columns, under their names. */
export function table(rows: Record<string, unknown>[], columns: string[]): string[] {
  const cells = [columns, ...rows.map((row) => columns.map((name) => cellOf(row[name])))];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]?.length ?? 0)));
  return cells.map((line) =>
    line
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
