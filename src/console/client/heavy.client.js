import { get, pathOf } from "./api.client.js";
import { choice, empty, field, h } from "./elements.client.js";
import { badge, bytes, count, money, named, share } from "./figures.client.js";
import { go } from "./frame.client.js";
import { fill, table } from "./list.client.js";

/**
 * @typedef {{ id: string, slug: string, name: string, plan: string, status: string }} Whose
 * @typedef {{ tenant: Whose, requests: number, refused: number, units: number, errors: number, bytes_out: number, db_ms: number,
 *   rows: number | null, bytes_stored: number | null, cost: string }} Heavy
 */

const BY = /** @type {const} */ ({
  requests: count,
  refused: count,
  units: count,
  errors: count,
  bytes_out: bytes,
  db_ms: (/** @type {number} */ ms) => `${count(Math.round(ms / 1000))} s`,
  rows: count,
  bytes_stored: bytes,
  cost: (/** @type {number} */ value) => money(value, "USD"),
});
const PERIODS = /** @type {const} */ ([
  ["hour", "This hour and the last"],
  ["day", "Today"],
  ["week", "7 days"],
  ["month", "This month"],
  ["last_month", "Last month"],
]);

/** Who uses most. @returns {import("./frame.client.js").View} */
export function heavyView() {
  const by = choice(
    { id: "by" },
    Object.keys(BY).map((each) => [each, named(each)]),
  );
  const period = choice({ id: "period" }, PERIODS);
  const place = h("div", { class: "card flush" });
  const change = () => go(pathOf("/heavy", { by: by.value, period: period.value }));
  for (const each of [by, period]) each.addEventListener("change", change);
  return {
    title: "Heavy tenants",
    nodes: [
      h("h1", {}, "Heavy tenants"),
      h("div", { class: "tools" }, field("Most", by), field("In", period)),
      place,
    ],
    load: (query, signal) => {
      by.value = query.get("by") ?? "requests";
      period.value = query.get("period") ?? "day";
      return fill(place, signal, async () => {
        const asked = { by: by.value, period: period.value, limit: 25 };
        /** @type {{ data: Heavy[] }} */
        const { data } = await get(pathOf("/v1/operator/heavy", asked), signal);
        const figure = Object.keys(BY).find((each) => each === by.value) ?? "requests";
        return [heaviest(data, /** @type {keyof typeof BY} */ (figure))];
      });
    },
  };
}

/** @param {Heavy[]} all @param {keyof typeof BY} by */
function heaviest(all, by) {
  const valueOf = (/** @type {Heavy} */ heavy) => Number(heavy[by] ?? 0);
  const data = all.filter((heavy) => valueOf(heavy) > 0);
  if (data.length === 0) return empty("Nobody has used any of it in this period");
  const sum = data.reduce((total, heavy) => total + valueOf(heavy), 0);
  const most = Math.max(...data.map(valueOf));
  return table(
    `Tenants by ${named(by)}`,
    [
      {
        name: "Tenant",
        show: ({ tenant: { id, name, slug } }) =>
          h("span", { class: "two" }, h("a", { href: `#/tenants/${id}` }, name), h("small", {}, slug)),
      },
      { name: "Status", show: ({ tenant }) => badge(tenant.status) },
      { name: "Plan", show: ({ tenant }) => named(tenant.plan) },
      ...(by === "cost"
        ? []
        : [{ name: "Cost", figure: true, show: (/** @type {Heavy} */ { cost }) => BY.cost(Number(cost)) }]),
      { name: named(by), figure: true, show: (heavy) => BY[by](valueOf(heavy)) },
      { name: "Of these", figure: true, show: (heavy) => share(valueOf(heavy), sum) },
      {
        name: "Beside the first",
        show: (heavy) =>
          h("meter", {
            class: "wide",
            min: 0,
            max: most,
            value: valueOf(heavy),
            "aria-label": `${heavy.tenant.name}, beside the first`,
          }),
      },
    ],
    data,
  );
}
