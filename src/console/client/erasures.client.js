import { get, pathOf } from "./api.client.js";
import { empty, h } from "./elements.client.js";
import { badge, time } from "./figures.client.js";
import { fill, pages, table } from "./list.client.js";

/** @typedef {{ id: string, receipt: string | null, requested_at: string, finished_at: string | null }} Erasure */

/** @returns {import("./frame.client.js").View} */
export function erasuresView() {
  const place = h("div", { class: "card flush" });
  return {
    title: "Erasures",
    nodes: [
      h("h1", {}, "Erasures"),
      h("p", { class: "faint" }, "The ledger outlives the tenants. Their ids are all that it knows of them."),
      place,
    ],
    load: (query, signal) =>
      fill(place, signal, async () => {
        /** @type {{ data: Erasure[], next_cursor: string | null }} */
        const { data, next_cursor } = await get(
          pathOf("/v1/operator/erasures", Object.fromEntries(query)),
          signal,
        );
        if (data.length === 0) return [empty("No tenant has been erased")];
        return [
          table(
            "Erasures",
            [
              { name: "Tenant", show: ({ id }) => h("code", {}, id) },
              {
                name: "State",
                show: ({ finished_at }) => badge(finished_at === null ? "erasing" : "erased"),
              },
              { name: "Asked for", show: ({ requested_at }) => time(requested_at) },
              { name: "Done", show: ({ finished_at }) => (finished_at === null ? "–" : time(finished_at)) },
              { name: "Receipt", show: receiptOf },
            ],
            data,
          ),
          pages(next_cursor, (cursor) => `#${pathOf("/erasures", { cursor })}`, !query.has("cursor")),
        ];
      }),
  };
}

/** The receipt's public address, by which whoever was erased can prove it. @param {Erasure} erasure */
const receiptOf = ({ id, receipt }) =>
  receipt === null
    ? "–"
    : h("a", { href: `/v1/erasures/${id}`, target: "_blank", rel: "noreferrer" }, "Receipt");
