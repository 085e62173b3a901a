import { get, pathOf } from "./api.client.js";
import { choice, field, h, section, tiles } from "./elements.client.js";
import { bytes, count, share } from "./figures.client.js";
import { go } from "./frame.client.js";
import { empty } from "./elements.client.js";
import { fill } from "./list.client.js";
import { plot } from "./plot.client.js";

// Usage over time, of one tenant or of all.

/**
 * @typedef {import("./elements.client.js").Child} Child
 * @typedef {{ start: string, requests: number, refused: number, units: number, errors: number, bytes_out: number,
 *   rows: number | null, bytes_stored: number | null }} Usage
 */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PERIODS = /** @type {const} */ ({
  "48h": ["48 hours", "hour", 2 * DAY_MS],
  "7d": ["7 days", "day", 7 * DAY_MS],
  "30d": ["30 days", "day", 30 * DAY_MS],
  "90d": ["90 days", "day", 90 * DAY_MS],
  "1y": ["A year", "day", 365 * DAY_MS],
});
const FIRST_PERIOD = "30d";
/** What the API answers at once. */
const MOST_MS = 400 * DAY_MS;

/** @param {string} name @param {string} colour @param {(usage: Usage) => number} of */
const part = (name, colour, of) => ({ name, colour, of });

/** What can be plotted: its parts, and how its figures are written. */
const FIGURES = {
  requests: {
    name: "Requests",
    parts: [
      part("Admitted", "--admitted", ({ requests }) => requests),
      { ...part("Refused", "--refused", ({ refused }) => refused), hatched: true },
    ],
    show: count,
  },
  units: { name: "Cost units", parts: [part("Cost units", "--admitted", ({ units }) => units)], show: count },
  errors: { name: "Errors", parts: [part("Errors", "--refused", ({ errors }) => errors)], show: count },
  bytes_out: {
    name: "Bytes sent",
    parts: [part("Bytes sent", "--admitted", (of) => of.bytes_out)],
    show: bytes,
  },
  rows: { name: "Rows stored", parts: [part("Rows", "--admitted", ({ rows }) => rows ?? 0)], show: count },
  bytes_stored: {
    name: "Bytes stored",
    parts: [part("Bytes", "--admitted", (of) => of.bytes_stored ?? 0)],
    show: bytes,
  },
};

/** @template {object} T @param {T} of @param {string | null} key @param {keyof T} otherwise @returns {keyof T} */
const keyOf = (of, key, otherwise) =>
  key !== null && Object.hasOwn(of, key) ? /** @type {keyof T} */ (key) : otherwise;

/** A part of a view that shows the usage that `path` answers; `here` is the path of the view. @param {string} path @param {string} here @param {string} [title] */
export function usagePart(path, here, title = "Usage") {
  const place = h("div", { class: "stack" });
  const periods = h("p", { class: "choices", role: "group", "aria-label": "Period" });
  const figure = choice(
    { id: "figure", name: "figure" },
    Object.entries(FIGURES).map(([key, { name }]) => [key, name]),
  );
  let query = new URLSearchParams();
  figure.addEventListener("change", () =>
    go(linkTo(here, query, { figure: figure.value }), { replace: true }),
  );

  /** @param {URLSearchParams} asked @param {AbortSignal} signal */
  const load = (asked, signal) => {
    query = asked;
    const period = keyOf(PERIODS, asked.get("period"), FIRST_PERIOD);
    const shown = keyOf(FIGURES, asked.get("figure"), "requests");
    const [, granularity, length] = PERIODS[period];
    figure.value = shown;
    periods.replaceChildren(
      ...Object.entries(PERIODS).map(([key, [name]]) =>
        h(
          "a",
          {
            href: `#${linkTo(here, query, { period: key })}`,
            "aria-current": key === period && "true",
            id: `period-${key}`,
          },
          name,
        ),
      ),
    );
    return fill(place, signal, async () => {
      const step = granularity === "hour" ? HOUR_MS : DAY_MS;
      const to = Math.floor(Date.now() / step) * step + step;
      // The period before as well, if both are answered at once.
      const begin = to - (2 * length <= MOST_MS ? 2 * length : length);
      const [from, last] = [new Date(begin).toISOString(), new Date(to - step).toISOString()];
      /** @type {{ data: Usage[] }} */
      const { data } = await get(pathOf(path, { from, to: last, granularity }), signal);
      const all = padded(data, begin, to, step);
      const since = (to - length - begin) / step;
      return usageOf(all.slice(since), all.slice(0, since), shown, granularity);
    });
  };
  return {
    node: section(title, h("div", { class: "tools" }, periods, field("Show", figure)), place),
    load,
  };
}

/** @param {string} here @param {URLSearchParams} query @param {Record<string, string>} changed */
const linkTo = (here, query, changed) => pathOf(here, { ...Object.fromEntries(query), ...changed });

/** A row for each day or hour: those without usage are not answered. What is stored stays as it was. @param {Usage[]} data @param {number} from @param {number} to @param {number} step */
function padded(data, from, to, step) {
  const known = new Map(data.map((usage) => [Date.parse(usage.start), usage]));
  /** @type {Usage[]} */
  const all = [];
  const nothing = {
    requests: 0,
    refused: 0,
    units: 0,
    errors: 0,
    bytes_out: 0,
    rows: null,
    bytes_stored: null,
  };
  for (let at = from; at < to; at += step) {
    const { rows = null, bytes_stored = null } = all.at(-1) ?? {};
    const usage = known.get(at) ?? { ...nothing, start: new Date(at).toISOString() };
    all.push({ ...usage, rows: usage.rows ?? rows, bytes_stored: usage.bytes_stored ?? bytes_stored });
  }
  return all;
}

/** @param {readonly Usage[]} data @param {(usage: Usage) => number} of */
const sumOf = (data, of) => data.reduce((total, usage) => total + of(usage), 0);

/**
 * How a figure compares with the period before; nothing where that had none, or is not known.
 * @param {readonly Usage[]} data @param {readonly Usage[]} before @param {(usage: Usage) => number} of
 */
function changeOf(data, before, of) {
  const [now, then] = [sumOf(data, of), sumOf(before, of)];
  if (then === 0) return null;
  if (now === then) return h("span", {}, "as in the period before");
  const more = share(Math.abs(now - then), then);
  return h("span", {}, `${more} ${now > then ? "more" : "less"} than in the period before`);
}

/** @param {Usage[]} data @param {Usage[]} before @param {keyof typeof FIGURES} figure @param {"day" | "hour"} granularity */
function usageOf(data, before, figure, granularity) {
  /** @param {(usage: Usage) => number} of */
  const sum = (of) => sumOf(data, of);
  /** @param {Child} note @param {(usage: Usage) => number} of */
  const beside = (note, of) => h("span", { class: "two" }, note, changeOf(data, before, of));
  const requests = sum((of) => of.requests);
  const refused = sum((of) => of.refused);
  const errors = sum((of) => of.errors);
  if (requests + refused + errors === 0 && !data.some(({ rows }) => rows))
    return [empty("No usage in this period", h("p", {}, "Usage is counted from the first request on."))];
  const { name, parts, show } = FIGURES[figure];
  const latest = data.at(-1);
  return [
    tiles([
      [
        "Admitted",
        count(requests),
        beside(`${count(sum((of) => of.units))} cost units`, (of) => of.requests),
      ],
      ["Refused", count(refused), beside(`${share(refused, requests + refused)} of all`, (of) => of.refused)],
      ["Errors", count(errors), beside(`${share(errors, requests)} of the admitted`, (of) => of.errors)],
      ["Bytes sent", bytes(sum((of) => of.bytes_out)), changeOf(data, before, (of) => of.bytes_out)],
      ["Stored", bytes(latest?.bytes_stored ?? 0), `${count(latest?.rows ?? 0)} rows`],
    ]),
    plot({
      title: granularity === "hour" ? `${name} by hour` : `${name} by day`,
      granularity,
      starts: data.map(({ start }) => start),
      parts: parts.map(({ of, ...rest }) => ({ ...rest, values: data.map(of) })),
      show,
    }),
  ];
}
