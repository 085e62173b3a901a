import { get } from "./api.client.js";
import { empty, h, section } from "./elements.client.js";
import { count, named, windowOf } from "./figures.client.js";
import { fill } from "./list.client.js";

// What is left of a tenant's limits at this moment. It is asked again and again while it is looked at.

/** @typedef {import("./setup.client.js").Policy & { remaining: number, reset: number }} Standing */

const AGAIN_MS = 5000;

/** A part of a view with the limits that `path` answers. @param {string} path */
export function limitsPart(path) {
  const whose = h("p", { class: "faint" });
  const place = h("div");
  /** @param {AbortSignal} signal */
  const read = async (signal) => {
    /** @type {{ data: Standing[] }} */
    const { data } = await get(path, signal);
    return data.length === 0 ? empty("No limits") : listOf(data);
  };
  /** Asks again, until the view is left. @param {AbortSignal} signal */
  const goOn = (signal) => {
    const timer = setTimeout(() => void again(signal), AGAIN_MS);
    signal.addEventListener("abort", () => clearTimeout(timer));
  };
  /** @param {AbortSignal} signal */
  const again = async (signal) => {
    // Whoever looks elsewhere asks for nothing; what fails now may be answered the next time.
    if (document.visibilityState === "visible") {
      const list = await read(signal).catch(() => undefined);
      if (list && !signal.aborted) place.replaceChildren(list);
    }
    if (!signal.aborted) goOn(signal);
  };
  return {
    node: section("Limits", whose, place),
    /** Says whose limits they are. @param {boolean} areOwn @param {string} plan */
    name: (areOwn, plan) => {
      whose.textContent = areOwn ? "Its own, set by an operator." : `Those of the plan ${plan}.`;
    },
    /** @param {URLSearchParams} _query @param {AbortSignal} signal */
    load: async (_query, signal) => {
      await fill(place, signal, async () => [await read(signal)]);
      goOn(signal);
    },
  };
}

/** @param {Standing[]} standings */
const listOf = (standings) =>
  h(
    "ul",
    { class: "limits" },
    ...standings.map(({ name, limit, window, remaining, reset }) => {
      const used = limit - remaining;
      return h(
        "li",
        {},
        h(
          "p",
          {},
          h("b", {}, named(name)),
          h("span", {}, `${count(used)} of ${count(limit)} ${windowOf(window)}`),
        ),
        h("meter", {
          min: 0,
          max: Math.max(limit, 1),
          value: used,
          low: limit * 0.8,
          high: limit * 0.8,
          optimum: 0,
          "aria-label": `${named(name)}, used`,
        }),
        used > 0 && window !== "month" ? h("small", {}, `More in ${count(reset)} s`) : null,
      );
    }),
  );
