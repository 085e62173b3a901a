import { get, may, pathOf, Problem } from "./api.client.js";
import { saveCsv } from "./csv.client.js";
import { choice, empty, field, h, say } from "./elements.client.js";
import { badge, brief, bytes, count, date, money, named } from "./figures.client.js";
import { go } from "./frame.client.js";
import { fill, pages, table } from "./list.client.js";
import { PLANS } from "./setup.client.js";

// The list of tenants: what is searched, filtered and sorted by is in the address.

/**
 * @typedef {{ kind: string, region: string | null }} Placement
 * @typedef {{ id: string, slug: string, name: string, plan: string, status: string, placement: Placement, created_at: string,
 *   closes_at?: string | null, requests: number, refused: number, rows: number, bytes_stored: number, cost: string }} Row
 */

const STATUSES = ["active", "read_only", "suspended", "closing", "erasing"];
const PLACEMENTS = ["shared", "schema", "dedicated"];
const SORTS = /** @type {const} */ ([
  ["-created_at", "Newest"],
  ["created_at", "Oldest"],
  ["name", "Name"],
  ["-requests", "Most requests"],
  ["-refused", "Most refused"],
  ["-rows", "Most rows"],
  ["-bytes_stored", "Most stored"],
  ["-cost", "Dearest"],
]);
const SEARCH_PAUSE_MS = 250;

/** @type {import("./list.client.js").Column<Row>[]} */
const COLUMNS = [
  {
    name: "Tenant",
    sort: "name",
    show: ({ id, name, slug }) =>
      h("span", { class: "two" }, h("a", { href: `#/tenants/${id}` }, name), h("small", {}, slug)),
  },
  { name: "Status", show: ({ status }) => badge(status) },
  { name: "Plan", show: ({ plan }) => named(plan) },
  { name: "Placement", show: ({ placement }) => named(placement.kind) },
  { name: "Requests", sort: "requests", figure: true, show: ({ requests }) => exact(requests) },
  { name: "Refused", sort: "refused", figure: true, show: ({ refused }) => exact(refused) },
  { name: "Stored", sort: "bytes_stored", figure: true, show: ({ bytes_stored }) => bytes(bytes_stored) },
  {
    name: "Cost",
    sort: "cost",
    figure: true,
    show: ({ cost }) => money(Number(cost), "USD"),
  },
  { name: "Made", sort: "created_at", show: ({ created_at }) => date(created_at) },
];

/** A figure in short, with all its digits for whoever asks for them. @param {number} value */
const exact = (value) => h("span", { title: count(value) }, brief(value));

/** What a file of the list has. @type {readonly (readonly [name: string, of: (row: Row) => string | number | null | undefined])[]} */
const CSV_COLUMNS = [
  ["id", ({ id }) => id],
  ["slug", ({ slug }) => slug],
  ["name", ({ name }) => name],
  ["plan", ({ plan }) => plan],
  ["status", ({ status }) => status],
  ["placement", ({ placement }) => placement.kind],
  ["region", ({ placement }) => placement.region],
  ["created_at", ({ created_at }) => created_at],
  ["closes_at", ({ closes_at }) => closes_at],
  ["requests", ({ requests }) => requests],
  ["refused", ({ refused }) => refused],
  ["rows", ({ rows }) => rows],
  ["bytes_stored", ({ bytes_stored }) => bytes_stored],
  ["cost", ({ cost }) => Number(cost)],
];
const MOST_AT_ONCE = 100;

/** Saves all tenants that the list has by now, page after page, as a file. @param {URLSearchParams} asked @param {HTMLButtonElement} button */
async function download(asked, button) {
  button.disabled = true;
  try {
    /** @type {Row[]} */
    const all = [];
    for (let cursor = ""; ;) {
      const query = { ...Object.fromEntries(asked), cursor, limit: MOST_AT_ONCE };
      /** @type {{ data: Row[], next_cursor: string | null }} */
      const { data, next_cursor } = await get(pathOf("/v1/operator/tenants", query));
      all.push(...data);
      if (next_cursor === null) break;
      cursor = next_cursor;
      say(`${count(all.length)} tenants so far…`);
    }
    const rows = all.map((row) => CSV_COLUMNS.map(([, of]) => of(row)));
    saveCsv(`tenants-${new Date().toISOString().slice(0, 10)}.csv`, [
      CSV_COLUMNS.map(([name]) => name),
      ...rows,
    ]);
    say(`${count(all.length)} tenants are in the file.`);
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    say(error instanceof Problem ? error.message : "The file could not be made. Try again.");
  } finally {
    button.disabled = false;
  }
}

/** @param {string} name */
const any = (name) => /** @type {const} */ (["", name]);

/** @returns {import("./frame.client.js").View} */
export function tenantsView() {
  const search = h("input", {
    id: "search",
    type: "search",
    name: "search",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "Name, slug or id",
  });
  const filters = {
    status: choice({ id: "status" }, [any("Any status"), ...STATUSES.map(shownAs)]),
    plan: choice({ id: "plan" }, [any("Any plan"), ...Object.keys(PLANS).map(shownAs)]),
    placement: choice({ id: "placement" }, [any("Any placement"), ...PLACEMENTS.map(shownAs)]),
    sort: choice({ id: "sort" }, SORTS),
  };
  const place = h("div", { class: "card flush" });
  let asked = new URLSearchParams();
  const saving = h(
    "button",
    { type: "button", class: "quiet", click: () => void download(asked, saving) },
    "Download as CSV",
  );

  /** @param {Record<string, string>} changed */
  const linkTo = (changed) => pathOf("/tenants", { ...Object.fromEntries(asked), cursor: "", ...changed });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let pause;
  search.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => go(linkTo({ search: search.value.trim() }), { replace: true }), SEARCH_PAUSE_MS);
  });
  for (const [name, filter] of Object.entries(filters))
    filter.addEventListener("change", () => go(linkTo({ [name]: filter.value })));

  return {
    title: "Tenants",
    nodes: [
      h(
        "div",
        { class: "head" },
        h("h1", {}, "Tenants"),
        h(
          "div",
          { class: "row" },
          saving,
          may("createTenant") ? h("a", { class: "button", href: "#/tenants/new" }, "Create a tenant") : null,
        ),
      ),
      h(
        "search",
        { class: "tools" },
        field("Search", search),
        field("Status", filters.status),
        field("Plan", filters.plan),
        field("Placement", filters.placement),
        field("Sort by", filters.sort),
      ),
      h("p", { class: "faint" }, "Requests, refusals and cost are of this month (UTC)."),
      place,
    ],
    load: (query, signal) => {
      asked = query;
      if (document.activeElement !== search) search.value = query.get("search") ?? "";
      for (const [name, filter] of Object.entries(filters)) filter.value = query.get(name) ?? "";
      const sort = query.get("sort") ?? "-created_at";
      filters.sort.value = sort;
      return fill(place, signal, async () => {
        /** @type {{ data: Row[], next_cursor: string | null }} */
        const { data, next_cursor } = await get(
          pathOf("/v1/operator/tenants", { ...Object.fromEntries(query), sort }),
          signal,
        );
        if (data.length === 0)
          return [
            empty(
              "No tenant matches",
              h("p", {}, "Look for less, or ", h("a", { href: "#/tenants" }, "see all tenants"), "."),
            ),
          ];
        return [
          table("Tenants", COLUMNS, data, { sorted: sort, sortedBy: (by) => `#${linkTo({ sort: by })}` }),
          pages(next_cursor, (cursor) => `#${linkTo({ cursor })}`, !query.has("cursor")),
        ];
      });
    },
  };
}

/** @param {string} value @returns {readonly [string, string]} */
const shownAs = (value) => [value, named(value)];
