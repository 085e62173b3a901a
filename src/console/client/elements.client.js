// What views are made of. Text stays text, whatever is in it: nothing here reads markup.

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean | undefined | ((event: Event) => unknown)>} Attributes
 */

/**
 * Makes an element. An attribute that is false or undefined is left out; a function listens to the event it is named by.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Attributes} [attributes] @param {Child[]} children
 */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(...shown(children));
  return made;
}

/** @param {Child[]} children @returns {(Node | string)[]} */
export const shown = (children) =>
  children.flatMap((child) => {
    if (child === null || child === undefined || child === false) return [];
    return [child instanceof Node ? child : String(child)];
  });

/** The element with this id. Throws where there is none. @param {string} id */
export function at(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`There is no #${id}.`);
  return found;
}

/** Tells of what was done, without taking the focus. */
export const say = (text = "") => {
  at("notice").textContent = text;
};

let lastId = 0;
/** An id that no element of the page has. @param {string} name */
export const newId = (name) => `${name}-${++lastId}`;

/**
 * A field with its label, and a hint that it is described by.
 * @template {HTMLElement} T
 * @param {string} label @param {T} control @param {string} [hint]
 */
export function field(label, control, hint) {
  control.id ||= newId("field");
  const note = hint === undefined ? undefined : h("small", { id: `${control.id}-hint` }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

/** A list to choose from: values with what is shown for them. @param {Attributes} attributes @param {readonly (readonly [value: string, text: string])[]} choices @param {string} [chosen] */
export const choice = (attributes, choices, chosen) =>
  h(
    "select",
    attributes,
    ...choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );

/** A part of a view under a heading. @param {string} title @param {Child[]} children */
export function section(title, ...children) {
  const heading = h("h2", { id: newId("section") }, title);
  return h("section", { class: "card", "aria-labelledby": heading.id }, heading, ...children);
}

/** Pairs of a name and what it is. @param {(readonly [name: string, value: Child])[]} pairs */
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );

/** What is said where there is nothing to show. @param {string} title @param {Child[]} more */
export const empty = (title, ...more) => h("div", { class: "empty" }, h("p", {}, h("b", {}, title)), ...more);

/**
 * Figures that stand for a whole: a few words, the figure, and what it is about.
 * @param {(readonly [name: string, value: Child, note?: Child])[]} figures
 */
export const tiles = (figures) =>
  h(
    "dl",
    { class: "tiles" },
    ...figures.map(([name, value, note]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, h("b", {}, value), note ? h("small", {}, note) : null)),
    ),
  );
