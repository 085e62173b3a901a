import { get, pathOf } from "./api.client.js";
import { empty, h, section } from "./elements.client.js";
import { badge, count, named, time } from "./figures.client.js";
import { fill, table } from "./list.client.js";

/**
 * @typedef {{ id: string, status: string, rows: number, created_at: string, finished_at: string | null,
 *   expires_at: string | null }} Archive
 */

const MOST = 5;

/** @type {import("./list.client.js").Column<Archive & { what: string }>[]} */
const COLUMNS = [
  { name: "What", show: ({ what }) => named(what) },
  { name: "State", show: ({ status }) => badge(status) },
  { name: "Rows", figure: true, show: ({ rows }) => count(rows) },
  { name: "Begun", show: ({ created_at }) => time(created_at) },
  { name: "Kept until", show: ({ expires_at }) => (expires_at ? time(expires_at) : "–") },
];

/** A part of a view with a tenant's latest exports and imports: an operator sees that they are, and not what is in them. @param {string} path the tenant's */
export function archivesPart(path) {
  const place = h("div");
  return {
    node: section("Exports and imports", place),
    /** @param {URLSearchParams} _query @param {AbortSignal} signal */
    load: (_query, signal) =>
      fill(place, signal, async () => {
        const lists = await Promise.all(
          ["export", "import"].map(async (what) => {
            /** @type {{ data: Archive[] }} */
            const { data } = await get(pathOf(`${path}/${what}s`, { limit: MOST }), signal);
            return data.map((archive) => ({ ...archive, what }));
          }),
        );
        const latest = lists.flat().toSorted((a, b) => (a.created_at < b.created_at ? 1 : -1));
        if (latest.length === 0) return [empty("It has exported and imported nothing")];
        return [table("Exports and imports of this tenant", COLUMNS, latest.slice(0, MOST))];
      }),
  };
}
