import { h } from "./elements.client.js";

// How figures and instants are written. All instants are UTC, as usage and the audit trails are.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const INSTANT = new Intl.DateTimeFormat("en-GB", {
  dateStyle: "medium",
  timeStyle: "short",
  timeZone: "UTC",
});
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeZone: "UTC" });
const HOUR = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  timeZone: "UTC",
});

/** All digits, in groups. @param {number} value */
export const count = (value) => WHOLE.format(value);

/** Three digits and their power, such as 12.4K. @param {number} value */
export const brief = (value) => SHORT.format(value);

/** Bytes in powers of 1,000, such as 1.25 GB. @param {number} value */
export function bytes(value) {
  const power = value < 1000 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** power;
  return `${scaled.toLocaleString("en", { maximumSignificantDigits: 3 })} ${BYTE_UNITS[power]}`;
}

/** Money to the cent. @param {number} value @param {string} currency ISO 4217 */
export function money(value, currency) {
  const written = (/** @type {number} */ amount) =>
    amount.toLocaleString("en", { style: "currency", currency });
  return value > 0 && value < 0.005 ? `< ${written(0.01)}` : written(value);
}

/** A decimal of the API's with all its digits, in groups. @param {string} value */
export const decimal = (value) =>
  new Intl.NumberFormat("en", { maximumFractionDigits: 12 }).format(Number(value));

/** Money with all its digits, so that it can be checked by hand. @param {string} value @param {string} currency ISO 4217 */
export const price = (value, currency) =>
  new Intl.NumberFormat("en", { style: "currency", currency, maximumFractionDigits: 12 }).format(
    Number(value),
  );

/** A share of a whole in percent. @param {number} part @param {number} whole */
export function share(part, whole) {
  if (part === 0 || whole === 0) return "0%";
  if (part / whole < 0.0001) return "< 0.01%";
  return (part / whole).toLocaleString("en", { style: "percent", maximumSignificantDigits: 2 });
}

const STEPS = /** @type {const} */ ([
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
]);

/** How long ago or ahead, such as "3 days ago". @param {string} instant @param {number} [now] ms */
function relative(instant, now = Date.now()) {
  const seconds = (Date.parse(instant) - now) / 1000;
  const step = STEPS.find(([, length]) => Math.abs(seconds) >= length);
  return step ? RELATIVE.format(Math.trunc(seconds / step[1]), step[0]) : "just now";
}

/** An instant, both relative and absolute. @param {string} instant RFC 3339 */
export const time = (instant) =>
  h(
    "time",
    { datetime: instant },
    h("span", {}, relative(instant)),
    " ",
    h("small", {}, `${INSTANT.format(new Date(instant))} UTC`),
  );

/** A day, and how long ago it was. @param {string} instant RFC 3339 */
export const date = (instant) =>
  h("time", { datetime: instant }, h("span", {}, day(instant)), " ", h("small", {}, relative(instant)));

/** The time of day. @param {string} instant */
export const clock = (instant) => `${instant.slice(11, 16)} UTC`;

/** @param {string} instant */
export const day = (instant) => DAY.format(new Date(instant));

const SHORT_DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** What stands below a tick of an axis of time. @param {Date} at @param {string} granularity */
export const tickOf = (at, granularity) =>
  granularity === "hour" && at.getUTCHours() !== 0 ? `${at.getUTCHours()}:00` : SHORT_DAY.format(at);

/** What a figure of usage is about: a day, or an hour. @param {string} instant @param {string} granularity */
export const spanOf = (instant, granularity) =>
  granularity === "hour" ? `${HOUR.format(new Date(instant))} UTC` : day(instant);

const NAMES = /** @type {Record<string, string>} */ ({
  read_only: "Read only",
  bytes_out: "Bytes sent",
  bytes_stored: "Stored",
  db_ms: "Database time",
  workers_cpu: "Workers CPU",
  units: "Cost units",
});

/** A value of the API's as people write it: `read_only` is "Read only". @param {string} value */
export const named = (value) =>
  NAMES[value] ?? (value.charAt(0).toUpperCase() + value.slice(1)).replaceAll("_", " ");

/** A state, said in words; its colour repeats them. @param {string} value */
export const badge = (value) => h("span", { class: "badge", "data-state": value }, named(value));

/** The window of a limit: "a minute", "5 seconds", "a month". @param {number | "month"} window seconds */
export function windowOf(window) {
  if (window === "month") return "a month";
  const unit = STEPS.find(([, length]) => window % length === 0);
  const [name, length] = unit ?? ["second", 1];
  const times = window / length;
  return times === 1 ? `${name === "hour" ? "an" : "a"} ${name}` : `${times} ${name}s`;
}
