import { get, pathOf } from "./api.client.js";
import { empty, h, section } from "./elements.client.js";
import { named, time } from "./figures.client.js";
import { fill, pages, table } from "./list.client.js";

// What operators did, to whom and why.

/**
 * @typedef {{ id: string, created_at: string, actor: { id: string, name: string }, action: string,
 *   tenant: { id: string, slug: string | null } | null, reason: string | null,
 *   change: Record<string, unknown> }} Event
 */

/** A value of a change, in short. @param {unknown} value @returns {string} */
function valueOf(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value !== "string") return JSON.stringify(value);
  // An id of somebody or something: its end tells it from the others here, its beginning is the time.
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(value) ? value.slice(-8) : value;
}

/** @param {unknown} value @returns {value is { from: unknown, to: unknown }} */
const isChange = (value) => typeof value === "object" && value !== null && "from" in value && "to" in value;

/** What was changed: from what, to what. @param {Event["change"]} change */
const changes = (change) =>
  Object.entries(change).map(([name, value]) =>
    h(
      "span",
      {},
      `${named(name)} `,
      isChange(value) ? `from ${valueOf(value.from)} to ${valueOf(value.to)}` : valueOf(value),
    ),
  );

/** To a tenant, if it is still there. @param {{ id: string, slug: string | null }} tenant */
const linkTo = ({ id, slug }) =>
  slug === null ? h("span", { title: id }, "An erased one") : h("a", { href: `#/tenants/${id}` }, slug);

/** @param {boolean} ofAll @returns {import("./list.client.js").Column<Event>[]} */
const columns = (ofAll) => [
  { name: "When", show: ({ created_at }) => time(created_at) },
  { name: "Who", show: ({ actor }) => actor.name },
  {
    name: "What",
    show: ({ action, change }) => h("span", { class: "two" }, h("code", {}, action), ...changes(change)),
  },
  ...(ofAll
    ? [
        {
          name: "Tenant",
          show: (/** @type {Event} */ { tenant }) => (tenant ? linkTo(tenant) : "–"),
        },
      ]
    : []),
  { name: "Why", show: ({ reason }) => reason ?? "–" },
];

/** @param {string} path @param {AbortSignal} signal @returns {Promise<{ data: Event[], next_cursor: string | null }>} */
const read = (path, signal) => get(path, signal);

/** @returns {import("./frame.client.js").View} */
export function eventsView() {
  const place = h("div", { class: "card flush" });
  return {
    title: "Events",
    nodes: [h("h1", {}, "What operators did"), place],
    load: (query, signal) =>
      fill(place, signal, async () => {
        const { data, next_cursor } = await read(
          pathOf("/v1/operator/events", { limit: 25, ...Object.fromEntries(query) }),
          signal,
        );
        if (data.length === 0) return [empty("Nothing has been done yet")];
        return [
          table("What operators did", columns(true), data),
          pages(next_cursor, (cursor) => `#${pathOf("/events", { cursor })}`, !query.has("cursor")),
        ];
      }),
  };
}

/** A part of a view with what was done to one tenant. @param {string} tenant */
export function eventsPart(tenant) {
  const place = h("div");
  return {
    node: section("What operators did to it", place),
    /** @param {URLSearchParams} _query @param {AbortSignal} signal */
    load: (_query, signal) =>
      fill(place, signal, async () => {
        const { data, next_cursor } = await read(
          pathOf("/v1/operator/events", { tenant_id: tenant, limit: 10 }),
          signal,
        );
        if (data.length === 0) return [empty("Nothing yet")];
        return [
          table("What operators did to this tenant", columns(false), data),
          next_cursor === null
            ? null
            : h(
                "p",
                { class: "pages" },
                h("a", { href: `#${pathOf("/events", { tenant_id: tenant })}` }, "See all"),
              ),
        ];
      }),
  };
}
