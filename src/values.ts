import * as v from "valibot";

// Schemas of values that many resources have.

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

/** Written in one way: elsewhere than in Postgres ids are compared as texts. */
export const Uuid = v.pipe(v.string(), v.uuid(), v.toLowerCase());

/** One DNS label, in lower case: a name in URLs, such as a tenant's in hosts and sign-ins. */
export const Slug = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "lower-case letters, digits and inner hyphens, 63 at most"),
);

/** Host labels that are, or may become, the deployment's own, or that programs look up by themselves. */
const RESERVED_SLUGS = new Set(
  (
    "www api app admin operator console docs help support status blog auth login account billing static assets cdn " +
    "dev test staging internal mail smtp imap pop mx ns ns1 ns2 ftp localhost autoconfig autodiscover wpad"
  ).split(" "),
);

/**
 * Whether a new tenant may have the slug: no reserved one, and none with hyphens in the third and fourth place, which IDNA
 * gives a meaning (RFC 5891, 4.2.3.1): `xn--…` shows as other letters.
 */
export const isFreeSlug = (slug: string): boolean => !RESERVED_SLUGS.has(slug) && !slug.startsWith("--", 2);

/** What no mail server takes though browsers do: dots that part nothing, over 64 characters before the @ (RFC 5321). */
const UNDELIVERABLE = /^\.|\.[.@]|^[^@]{65}/;

/**
 * An email address in lower case, as it names an account. It is what HTML calls valid, and so ASCII, which has the same
 * lower case in Postgres. Looked at as it was sent: U+212A, the kelvin sign, would become a plain k.
 */
export const Email = v.pipe(
  v.string(),
  v.trim(),
  v.rfcEmail(),
  v.check((email) => !UNDELIVERABLE.test(email), "an email address that mail servers take"),
  v.maxLength(254),
  v.toLowerCase(),
);

/**
 * An exact amount, as a string such as "1234.50": what a column `numeric(precision, scale)` holds without rounding. JSON's
 * numbers are not exact.
 */
export const amount = (precision = 12, scale = 2) =>
  v.pipe(
    v.string(),
    v.regex(
      new RegExp(`^-?(0|[1-9]\\d{0,${precision - scale - 1}})${scale > 0 ? `(\\.\\d{1,${scale}})?` : ""}$`),
      `an amount such as "1234.50"`,
    ),
    v.maxLength(precision + 2),
    v.examples([scale > 0 ? `12.${"5".padEnd(scale, "0")}` : "12"]),
  );
