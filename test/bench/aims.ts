import { shown, table } from "./figures.ts";

/** A figure, and the bound it should keep: at least, or at most. */
export type Aim = { aim: string; is: number } & ({ least: number } | { most: number });

/** Which aims are met; one that could not be measured is missed. */
export function aimsTable(aims: readonly Aim[]): string {
  return table(
    ["aim", "bound", "is", ""],
    aims.map((aim) => [
      aim.aim,
      "least" in aim ? `≥ ${aim.least}` : `≤ ${aim.most}`,
      shown(aim.is, 2),
      ("least" in aim ? aim.is >= aim.least : aim.is <= aim.most) ? "met" : "missed",
    ]),
  );
}
