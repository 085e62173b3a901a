import { endsAt, me, signedOut, signOut } from "./api.client.js";
import { at, h, say, shown } from "./elements.client.js";
import { clock, named } from "./figures.client.js";
import { NAME } from "./setup.client.js";

// The frame around the views: which of them is shown, by the fragment of the address, so that links and Back work.

/**
 * @typedef {import("./elements.client.js").Child} Child
 * @typedef {{ title: string, nodes: Child[], load?: (query: URLSearchParams, signal: AbortSignal) => Promise<unknown> }} View
 * @typedef {{ path: RegExp, view: (...parts: string[]) => View }} Route
 */

const NAVIGATION = /** @type {const} */ ([
  ["/tenants", "Tenants"],
  ["/usage", "Usage"],
  ["/heavy", "Heavy tenants"],
  ["/moves", "Moves"],
  ["/erasures", "Erasures"],
  ["/events", "Events"],
  ["/operators", "Operators"],
]);
const HOME = "/tenants";

const root = at("console");
/** @type {readonly Route[]} */
let routes = [];
/** @type {() => View} */
let signInView = () => ({ title: "", nodes: [] });
/** @type {{ path: string, view: View } | undefined} */
let current;
let loading = new AbortController();

/** @param {string} path */
const navigation = (path) =>
  NAVIGATION.map(([to, name]) =>
    h(
      "li",
      {},
      h(
        "a",
        { href: `#${to}`, "aria-current": path === to ? "page" : path.startsWith(`${to}/`) && "true" },
        name,
      ),
    ),
  );

/** Opens and closes the navigation, where there is no room beside the content. @param {Event} event */
function fold({ currentTarget }) {
  if (!(currentTarget instanceof HTMLElement)) return;
  const isOpen = currentTarget.closest(".bar")?.classList.toggle("open");
  currentTarget.setAttribute("aria-expanded", String(isOpen));
}

/** @param {string} path @param {View} view */
function frameOf(path, view) {
  const main = h("main", { id: "main", tabindex: -1 }, ...view.nodes);
  const operator = me();
  if (!operator) return [main];
  const bar = h(
    "header",
    { class: "bar" },
    h(
      "div",
      { class: "pane" },
      h("a", { class: "brand", href: `#${HOME}` }, h("b", {}, NAME), " ", h("span", {}, "console")),
      h(
        "button",
        {
          type: "button",
          class: "menu quiet",
          "aria-expanded": "false",
          "aria-controls": "navigation",
          click: fold,
        },
        "Menu",
      ),
      h(
        "div",
        { id: "navigation" },
        h("nav", { "aria-label": "Console" }, h("ul", {}, ...navigation(path))),
        h(
          "div",
          { class: "who" },
          h("p", {}, h("a", { href: "#/me", "aria-current": path === "/me" && "page" }, operator.email)),
          h("p", {}, `${named(operator.role)}, until ${clock(new Date(endsAt()).toISOString())}`),
          h("button", { type: "button", class: "quiet", click: () => void end() }, "Sign out"),
        ),
      ),
    ),
  );
  // A link of its own: a fragment would be taken for a view.
  const skip = h(
    "button",
    { type: "button", class: "skip", click: () => main.focus() },
    "Skip to the content",
  );
  return [skip, bar, main];
}

/** The path and the query in the address. */
function address() {
  const [path = "", query = ""] = location.hash.slice(1).split("?", 2);
  return { path: path || HOME, query: new URLSearchParams(query) };
}

/** Shows what the address asks for, or asks to sign in. What is shown already is only loaded anew. */
async function show() {
  const { path, query } = address();
  loading.abort();
  loading = new AbortController();
  const key = me() ? path : "";
  if (current?.path !== key) {
    const view = me() ? viewAt(path) : signInView();
    const isFirst = current === undefined;
    current = { path: key, view };
    root.className = me() ? "framed" : "alone";
    root.replaceChildren(...shown(frameOf(path, view)));
    document.title = `${view.title} · ${NAME} console`;
    if (!isFirst || !me()) lead();
  }
  await current.view.load?.(query, loading.signal);
}

/** Leads the focus to the title of what is shown, or to the field that asks for something. */
function lead() {
  scrollTo(0, 0);
  const title = root.querySelector("h1");
  if (!title) return;
  title.tabIndex = -1;
  title.focus();
}

/** @param {string} path @returns {View} */
function viewAt(path) {
  for (const { path: pattern, view } of routes) {
    const found = pattern.exec(path);
    if (found) return view(...found.slice(1));
  }
  const title = "There is nothing here";
  return {
    title,
    nodes: [h("h1", {}, title), h("p", {}, h("a", { href: `#${HOME}` }, "See the tenants"), ".")],
  };
}

/** Goes to a path of the console; to replace the one before leaves no step for Back. @param {string} path @param {{ replace?: boolean }} [how] */
export function go(path, { replace = false } = {}) {
  if (!replace) location.hash = path;
  else {
    history.replaceState(null, "", `#${path}`);
    void show();
  }
}

/** Loads what is shown anew, such as after a change. What had the focus, by its id, gets it back, though it was made anew. @param {string} focus */
export async function renew(focus) {
  await show();
  if (document.activeElement === document.body) document.getElementById(focus)?.focus();
}

/** Signs out: at once here, and from the next request on everywhere. */
async function end() {
  const until = clock(new Date(endsAt()).toISOString());
  const ending = signOut();
  void show();
  say("You are signed out.");
  await ending.catch(() =>
    say(`You are signed out here, but the service could not be told: your token is good until ${until}.`),
  );
}

/** Asks to sign in again, once the session has ended elsewhere. */
function ended() {
  void show();
  say("Your session has ended. Sign in again.");
}

/** Goes on with the view that the address asks for, once somebody has signed in. */
export function enter() {
  say();
  void show();
}

/** Shows views from now on. @param {readonly Route[]} all @param {() => View} signIn */
export function start(all, signIn) {
  routes = all;
  signInView = signIn;
  addEventListener("hashchange", () => void show());
  signedOut.addEventListener("signedout", ended);
  void show();
}
