import { get, me, pathOf } from "./api.client.js";
import { h } from "./elements.client.js";
import { badge, named, time } from "./figures.client.js";
import { fill, pages, table } from "./list.client.js";

/**
 * @typedef {{ id: string, email: string, role: string, created_at: string, signed_in_at: string | null,
 *   disabled_at?: string | null }} Listed
 */

/** @returns {import("./frame.client.js").View} */
export function operatorsView() {
  const place = h("div", { class: "card flush" });
  return {
    title: "Operators",
    nodes: [
      h("h1", {}, "Operators"),
      h("p", { class: "faint" }, "They are added and removed by ", h("code", {}, "npm run operators"), "."),
      place,
    ],
    load: (query, signal) =>
      fill(place, signal, async () => {
        /** @type {{ data: Listed[], next_cursor: string | null }} */
        const { data, next_cursor } = await get(
          pathOf("/v1/operator/operators", Object.fromEntries(query)),
          signal,
        );
        return [
          table(
            "Operators",
            [
              { name: "Email", show: ({ id, email }) => (id === me()?.id ? `${email} (you)` : email) },
              { name: "Role", show: ({ role }) => named(role) },
              { name: "State", show: ({ disabled_at }) => badge(disabled_at ? "removed" : "active") },
              {
                name: "Signed in",
                show: ({ signed_in_at }) => (signed_in_at ? time(signed_in_at) : "Never"),
              },
              { name: "Added", show: ({ created_at }) => time(created_at) },
            ],
            data,
          ),
          pages(next_cursor, (cursor) => `#${pathOf("/operators", { cursor })}`, !query.has("cursor")),
        ];
      }),
  };
}
