import * as v from "valibot";
import { Problem } from "../problem.ts";
import { DAY_MS, HOUR_MS } from "../usage-figures.ts";
import { Day, Instant } from "../values.ts";

/** The most periods that are answered at once, and how many are if nobody says from when. */
const RANGES = {
  day: { ms: DAY_MS, most: 400, usual: 30 },
  hour: { ms: HOUR_MS, most: 14 * 24, usual: 24 },
} as const;
export type Granularity = keyof typeof RANGES;

const Bound = v.union([Day, Instant], "a day such as 2026-12-24, or an instant of RFC 3339");

/** Which periods, UTC: from the one that `from` is in to the one that `to` is in, both included. */
export const PeriodsQuery = v.object({
  from: v.optional(Bound),
  to: v.optional(Bound),
  granularity: v.optional(v.picklist(["day", "hour"]), "day"),
});
/** The same by days alone. */
export const DaysQuery = v.object({ from: v.optional(Bound), to: v.optional(Bound) });

/** The starts of the first and the last period, as RFC 3339. */
export type Periods = { granularity: Granularity; first: string; last: string };

/**
 * The periods that are asked for, at `now` in ms: the last 30 days or 24 hours where nothing is said. Throws `invalid_input`
 * when they end before they begin, or are more than 400 days or 336 hours.
 */
export function periodsOf(
  { from, to, granularity = "day" }: Partial<v.InferOutput<typeof PeriodsQuery>>,
  now: number,
): Periods {
  const { ms, most, usual } = RANGES[granularity];
  const startOf = (at: number) => at - (((at % ms) + ms) % ms);
  const last = startOf(to === undefined ? now : endOf(to));
  const first = from === undefined ? last - (usual - 1) * ms : startOf(new Date(from).getTime());
  if (first > last) throw outOfRange("/to", "It is before `from`.");
  const many = (last - first) / ms + 1;
  if (many > most)
    throw outOfRange("/from", `These are ${many} ${granularity}s up to \`to\`; ask for ${most} at most.`);
  return { granularity, first: new Date(first).toISOString(), last: new Date(last).toISOString() };
}

/** Of a day its last hour counts too. */
const endOf = (to: string | Date): number =>
  typeof to === "string" ? new Date(to).getTime() + DAY_MS - 1 : to.getTime();

const outOfRange = (pointer: string, detail: string) =>
  new Problem("invalid_input", { errors: [{ pointer, detail }] });

/** The first day of the month of `now`, in ms, as RFC 3339. */
export const monthOf = (now: number): string => `${new Date(now).toISOString().slice(0, 8)}01`;
