import { Problem } from "./api.client.js";
import { h, shown } from "./elements.client.js";

// What is shown while something loads, when it cannot be had, and as a table.

/** @typedef {import("./elements.client.js").Child} Child */

/**
 * Fills a place with what is made, says meanwhile that it loads, and when it fails, why and what to do.
 * @param {HTMLElement} place @param {AbortSignal} signal @param {() => Promise<Child[]>} make
 */
export async function fill(place, signal, make) {
  place.ariaBusy = "true";
  if (!place.hasChildNodes()) place.append(skeleton());
  try {
    const made = await make();
    if (!signal.aborted) place.replaceChildren(...shown(made));
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(failure(error, () => fill(place, signal, make)));
  } finally {
    if (!signal.aborted) place.ariaBusy = null;
  }
}

const skeleton = () =>
  h(
    "div",
    { class: "skeleton" },
    h("p", { role: "status" }, "Loading…"),
    ...[1, 2, 3].map(() => h("span", { "aria-hidden": "true" })),
  );

/** What a status says to people who cannot look into the code. */
const TITLES = /** @type {Record<number, string>} */ ({
  0: "No answer",
  403: "Your role does not allow this",
  404: "Not found",
  429: "Too many requests",
  503: "The service cannot answer now",
});

/** When a request may be sent again, in words; undefined where the API does not say. @param {unknown} error */
export function whenAgain(error) {
  if (!(error instanceof Problem) || error.retryAfterS === undefined) return undefined;
  const at = new Date(Date.now() + error.retryAfterS * 1000).toISOString().slice(11, 19);
  return `Try again in ${error.retryAfterS} ${error.retryAfterS === 1 ? "second" : "seconds"}, at ${at} UTC.`;
}

/** Says what went wrong, and offers to try again. @param {unknown} error @param {() => unknown} again */
function failure(error, again) {
  if (!(error instanceof Problem)) console.error(error);
  const { status, message, errors } =
    error instanceof Problem ? error : { status: -1, message: "Try again.", errors: [] };
  // What is wrong with a part of the address says more than that something is.
  const faults = errors.map(({ pointer, detail }) => `${pointer.slice(1)}: ${detail}`).join(" ");
  return h(
    "div",
    { class: "failure", role: "alert" },
    h("p", {}, h("b", {}, TITLES[status] ?? "This could not be shown")),
    h("p", {}, faults || message, " ", whenAgain(error)),
    status === 403 || status === 404
      ? null
      : h("button", { type: "button", class: "quiet", click: again }, "Try again"),
  );
}

/**
 * @template T
 * @typedef {{ name: string, show: (row: T) => Child, figure?: boolean, sort?: string }} Column
 */

/**
 * A table; on a phone each row is a card. `sorted` is the column that the rows are sorted by, with "-" in front when the
 * greatest comes first, and `sortedBy` the link that sorts by another.
 * @template T
 * @param {string} caption @param {readonly Column<T>[]} columns @param {readonly T[]} rows
 * @param {{ sorted?: string, sortedBy?: (sort: string) => string }} [order]
 */
export function table(caption, columns, rows, { sorted = "", sortedBy } = {}) {
  /** @param {Column<T>} column */
  const heading = ({ name, figure, sort }) => {
    const attributes = { role: "columnheader", scope: "col", class: figure && "figure" };
    if (sort === undefined || !sortedBy) return h("th", attributes, name);
    const [isUp, isDown] = [sorted === sort, sorted === `-${sort}`];
    // Figures begin with the greatest, names with A.
    const next = isDown || (!isUp && !figure) ? sort : `-${sort}`;
    return h(
      "th",
      { ...attributes, "aria-sort": isUp ? "ascending" : isDown && "descending" },
      h(
        "a",
        { href: sortedBy(next), id: `sort-${sort}` },
        name,
        h("span", { "aria-hidden": "true", class: "arrow" }),
      ),
    );
  };
  return h(
    "table",
    { role: "table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...columns.map(heading))),
    h(
      "tbody",
      { role: "rowgroup" },
      ...rows.map((row) =>
        h(
          "tr",
          { role: "row" },
          ...columns.map(({ name, show, figure }) =>
            h("td", { role: "cell", "data-name": name, class: figure && "figure" }, show(row)),
          ),
        ),
      ),
    ),
  );
}

/** Links through the pages of a list; Back leads to the page before. @param {string | null} next @param {(cursor: string) => string} to @param {boolean} isFirst */
export function pages(next, to, isFirst) {
  if (next === null && isFirst) return null;
  return h(
    "nav",
    { class: "pages", "aria-label": "Pages" },
    isFirst ? null : h("a", { href: to("") }, "First page"),
    next === null ? null : h("a", { href: to(next) }, "Next page"),
  );
}
