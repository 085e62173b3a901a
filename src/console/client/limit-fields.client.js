import { choice, field, h } from "./elements.client.js";
import { windowOf } from "./figures.client.js";

// The fields for a tenant's own limits: as many policies as it or its plan has, and one more.

/** @typedef {import("./setup.client.js").Policy} Policy */

const WINDOWS = /** @type {const} */ (["1", "10", "60", "3600", "86400", "month"]);

/** @param {Policy[] | null} own @param {readonly Policy[]} plans */
export function limitFields(own, plans) {
  const policies = [...(own ?? plans), undefined];
  const rows = h(
    "fieldset",
    { class: "limit-fields", disabled: own === null },
    h("legend", { class: "unseen" }, "Its own limits"),
    ...policies.map((policy, index) => rowOf(policy, index)),
    h("small", {}, "A limit without a name is left out."),
  );
  const whose = choice(
    { name: "whose" },
    [
      ["plan", "Those of its plan"],
      ["own", "Its own"],
    ],
    own === null ? "plan" : "own",
  );
  whose.addEventListener("change", () => {
    rows.disabled = whose.value === "plan";
  });
  return h("div", { class: "stack" }, field("Limits", whose), rows);
}

/** @param {Policy | undefined} policy @param {number} index */
function rowOf(policy, index) {
  const window = String(policy?.window ?? "60");
  const known = WINDOWS.some((each) => each === window) ? WINDOWS : [...WINDOWS, window];
  return h(
    "div",
    { class: "limit-row" },
    field(
      "Name",
      h("input", {
        name: `limits/${index}/name`,
        value: policy?.name ?? "",
        autocomplete: "off",
        pattern: "[a-z][a-z0-9_]{0,31}",
      }),
    ),
    field(
      "Units",
      h("input", {
        name: `limits/${index}/limit`,
        type: "number",
        min: 0,
        step: 1,
        value: policy?.limit ?? "",
      }),
    ),
    field(
      "In",
      choice(
        { name: `limits/${index}/window` },
        known.map((each) => [each, windowOf(each === "month" ? each : Number(each))]),
        window,
      ),
    ),
  );
}

/** The limits that were given: null for the plan's. @param {Record<string, string>} given @returns {Policy[] | null} */
export function limitsFrom(given) {
  if (given["whose"] !== "own") return null;
  /** @type {Policy[]} */
  const limits = [];
  for (let index = 0; `limits/${index}/name` in given; index++) {
    const [name, limit, window] = ["name", "limit", "window"].map(
      (part) => given[`limits/${index}/${part}`] ?? "",
    );
    if (name)
      limits.push({ name, limit: Number(limit), window: window === "month" ? window : Number(window) });
  }
  return limits;
}
