import { h } from "./elements.client.js";

/**
 * Buttons behind a button. It closes when something else gets the focus, on Escape, and when one of them is pressed.
 * @param {string} name @param {readonly { name: string, danger?: boolean, act: () => unknown }[]} items
 */
export function menuOf(name, items) {
  const button = h("summary", { id: "more-actions", class: "button quiet" }, name);
  const menu = h(
    "details",
    { class: "menu-of" },
    button,
    h(
      "ul",
      {},
      ...items.map(({ name: text, danger, act }) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: danger ? "quiet danger" : "quiet", click: () => choose(act) },
            text,
          ),
        ),
      ),
    ),
  );
  /** @param {() => unknown} act */
  const choose = (act) => {
    menu.open = false;
    // Whatever asks next gives the focus back to what had it.
    button.focus();
    act();
  };
  menu.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !menu.contains(relatedTarget)) menu.open = false;
  });
  menu.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || !menu.open) return;
    menu.open = false;
    button.focus();
  });
  return menu;
}
