import * as v from "valibot";

/** Whether Postgres and RFC 3339 have it as well: they have no year 0, and this one no year after 9999. */
const isWritable = (date: Date): boolean =>
  !Number.isNaN(date.getTime()) && /^(?!0000)\d{4}-/.test(date.toISOString());

/** Not the 30th of February: a Date of it is one of March. */
function isDay(text: string): boolean {
  const day = new Date(`${text}T00:00:00Z`);
  return isWritable(day) && day.toISOString().startsWith(text);
}

/** A day of the calendar, such as 2026-12-24, in the years 1 to 9999. */
export const Day = v.pipe(v.string(), v.isoDate(), v.check(isDay, "a day of the calendar"));

/** An instant of RFC 3339, as a Date, in the years 1 to 9999 of its own offset and of UTC. */
export const Instant = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.check((text) => isDay(text.slice(0, 10)), "a day of the calendar"),
  v.transform((text) => new Date(text)),
  v.check(isWritable, "an instant of the years 1 to 9999 in UTC"),
);
