import { get, pathOf } from "./api.client.js";
import { empty, h, section } from "./elements.client.js";
import { badge, bytes, count, named, time } from "./figures.client.js";
import { fill, pages, table } from "./list.client.js";

// What is done to tenants' content as a whole, and how far it is.

/**
 * @typedef {{ id: string, kind: string, tenant: { id: string, slug: string }, source: string, target: string,
 *   outcome: string | null, progress: { phase: string | null, rows: number | null, bytes: number | null, total: number | null }, started_at: string, worked_at: string,
 *   finished_at: string | null }} Job
 */

/** @param {Job} job */
const stateOf = ({ outcome }) => outcome ?? "running";

/** How far a job is: what it does now, and its rows of how many where it knows. @param {Job} job */
function progressOf({ progress: { phase, rows, bytes: copied, total }, outcome }) {
  const done = rows === null ? null : `${count(rows)} ${total === null ? "" : `of ${count(total)} `}rows`;
  const doing = outcome === "done" ? null : phase && named(phase);
  const notes = [doing, done, copied === null ? null : bytes(copied)].filter(Boolean).join(", ");
  if (notes === "") return "–";
  if (outcome !== null || rows === null || total === null || total === 0) return notes;
  return h(
    "span",
    { class: "two" },
    h("progress", { value: Math.min(rows, total), max: total, "aria-label": "Rows copied" }),
    h("small", {}, notes),
  );
}

/** @param {boolean} ofAll @returns {import("./list.client.js").Column<Job>[]} */
const columns = (ofAll) => [
  ...(ofAll
    ? [
        {
          name: "Tenant",
          show: (/** @type {Job} */ { tenant }) => h("a", { href: `#/tenants/${tenant.id}` }, tenant.slug),
        },
      ]
    : []),
  { name: "What", show: ({ kind }) => named(kind) },
  {
    name: "Where",
    show: ({ source, target }) => (source === target ? source : `From ${source} to ${target}`),
  },
  { name: "State", show: (job) => badge(stateOf(job)) },
  { name: "Progress", show: progressOf },
  { name: "Begun", show: ({ started_at }) => time(started_at) },
];

/** @param {string} path @param {AbortSignal} signal @returns {Promise<{ data: Job[], next_cursor: string | null }>} */
const read = (path, signal) => get(path, signal);

/** @returns {import("./frame.client.js").View} */
export function movesView() {
  const place = h("div", { class: "card flush" });
  return {
    title: "Moves",
    nodes: [h("h1", {}, "Moves"), place],
    load: (query, signal) =>
      fill(place, signal, async () => {
        const { data, next_cursor } = await read(
          pathOf("/v1/operator/moves", Object.fromEntries(query)),
          signal,
        );
        if (data.length === 0)
          return [
            empty(
              "No tenant has been moved",
              h("p", {}, h("code", {}, "npm run tenants -- move"), " moves one."),
            ),
          ];
        return [
          table("Moves", columns(true), data),
          pages(next_cursor, (cursor) => `#${pathOf("/moves", { cursor })}`, !query.has("cursor")),
        ];
      }),
  };
}

/** A part of a view with the jobs of one tenant. @param {string} tenant */
export function jobsPart(tenant) {
  const place = h("div");
  return {
    node: section("Moves", place),
    /** @param {URLSearchParams} _query @param {AbortSignal} signal */
    load: (_query, signal) =>
      fill(place, signal, async () => {
        const { data } = await read(pathOf("/v1/operator/moves", { tenant_id: tenant, limit: 5 }), signal);
        if (data.length === 0) return [empty("It has not been moved")];
        return [table("Moves of this tenant", columns(false), data)];
      }),
  };
}
