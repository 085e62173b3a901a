// What /account does. It calls the API as any other program could, and keeps what is secret in this page's memory: the
// access token, and the refresh token, unless the deployment has browser sessions, whose cookie no script can read.

/**
 * @typedef {{ id: string, slug: string, name: string, role: string }} Tenant
 * @typedef {{ access_token: string, refresh_token?: string, user: { id: string, email: string }, tenant: Tenant, recovery_codes?: string[] }} Session
 * @typedef {{ id: string, type: "passkey" | "totp", name: string, created_at: string, last_used_at: string | null }} Factor
 * @typedef {{ id: string, current: boolean, device: string, country?: string | null, last_used_at: string }} Listed
 * @typedef {{ user: { email: string, email_verified?: boolean }, tenant: Tenant, other_tenants: Tenant[] }} Me
 * @typedef {{ id: string, status: "asked" | "active" | "ended", operator: { name: string }, reason: string, minutes: number,
 *   write: boolean, expires_at: string | null }} Support
 * @typedef {{ id?: string, secret?: string, uri?: string, options?: PublicKeyCredentialCreationOptionsJSON }} Enrolment
 * @typedef {{ challenge: string, options: PublicKeyCredentialRequestOptionsJSON }} Challenge
 * @typedef {{ code?: string, detail?: string, instance?: string, errors?: { pointer: string, detail: string }[],
 *   tenants?: { slug: string, name: string }[], methods?: string[], challenge?: string, options?: PublicKeyCredentialRequestOptionsJSON, wait?: number }} ProblemDocument
 * @typedef {{ PROBLEM_TEXTS: Record<string, string>, FIELD_TEXTS: Record<string, string>,
 *   GONE_TEXTS: Record<string, [text: string, then: string, view: string]> }} Texts
 * @typedef {Record<string, unknown>} Body
 */

/** Whatever ends an act before it is done: a problem document (RFC 9457) of the API's, or a text of the page's own. */
class Problem extends Error {
  /** @param {ProblemDocument | string} of */
  constructor(of) {
    const document = typeof of === "string" ? {} : of;
    super(typeof of === "string" ? of : document.detail);
    this.document = document;
    this.code = document.code ?? "";
    this.errors = document.errors ?? [];
  }
}

// --- The page ---

/** The element with this id. @param {string} id */
function at(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`There is no #${id}.`);
  return found;
}

/**
 * All elements that match, of a kind.
 * @template {Element} T
 * @param {ParentNode} place
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T[]}
 */
const all = (place, selector, kind) =>
  [...place.querySelectorAll(selector)].flatMap((each) => (each instanceof kind ? [each] : []));

/** @param {string} id */
function dialogAt(id) {
  const found = at(id);
  if (!(found instanceof HTMLDialogElement)) throw new Error(`#${id} is no dialog.`);
  return found;
}

/**
 * Makes an element. Text stays text, whatever is in it.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Partial<HTMLElementTagNameMap[T]>} properties @param {(Node | string)[]} children
 */
function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const LANGUAGE = document.documentElement.lang;
const PRODUCT = document.title;
/** Whether the deployment has browser sessions: a cookie that no script reads has the refresh token. */
const HAS_COOKIE = "cookie" in document.body.dataset;
const HAS_PASSKEYS =
  typeof PublicKeyCredential === "function" && "parseRequestOptionsFromJSON" in PublicKeyCredential;

/** What people read instead of what the API tells programs. @type {Texts} */
const { PROBLEM_TEXTS, FIELD_TEXTS, GONE_TEXTS } = JSON.parse(at("texts").textContent ?? "");

/** Tells of what was done, without taking the focus: where it was asked for, or above all. @param {string} [near] */
function say(text = "", near = "body") {
  for (const each of all(document, "[role=status]", HTMLElement)) each.textContent = "";
  const [status] = all(document, `${near} [role=status]`, HTMLElement);
  if (status) status.textContent = text;
}

/** Shows one view, with its fields empty, and leads the focus to its title. @param {string} id */
function show(id, notice = "") {
  for (const each of all(document, "dialog[open]", HTMLDialogElement)) each.close();
  for (const each of all(document, ".view", HTMLElement)) each.hidden = each.id !== id;
  for (const form of document.forms) {
    clear(form);
    form.reset();
  }
  for (const each of all(document, ".view details", HTMLDetailsElement)) each.open = false;
  at("problem").textContent = "";
  say(notice);
  const title = at(`${id}-title`);
  document.title = `${title.textContent} · ${PRODUCT}`;
  title.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Says what has come of a form or of a link from a mail, and leads on. @param {string} title @param {string} text */
function done(title, text, then = "Go on", view = "#sign-in") {
  at("done-title").textContent = title;
  at("done-text").textContent = text;
  at("done-then").textContent = then;
  at("done-then").setAttribute("href", view);
  show("done");
}

/** Shows, of what serves another method than these, nothing. @param {ParentNode} place @param {readonly string[]} methods */
function offer(place, methods) {
  for (const each of all(place, "[data-method]", HTMLElement)) {
    const method = each.dataset["method"] ?? "";
    each.hidden = !methods.includes(method) || (method === "passkey" && !HAS_PASSKEYS);
  }
}

/** Copies the text of an element, or where it leads. @param {string} id */
async function copy(id) {
  try {
    await navigator.clipboard.writeText(at(id).getAttribute("href") ?? at(id).textContent ?? "");
  } catch {
    throw new Problem("Your browser lets no page copy. Mark the text, and copy it yourself.");
  }
  say("Copied.", ".view:not([hidden])");
}

/** Has a field described by its hint, if it has one, and by what is wrong with it. @param {HTMLElement} field @param {string} fault */
function describe(field, fault) {
  const ids = [fault, field.dataset["hint"] ?? ""].filter(Boolean);
  if (ids.length > 0) field.setAttribute("aria-describedby", ids.join(" "));
  else field.removeAttribute("aria-describedby");
}

/** Takes back what was said of the faults in a form. @param {HTMLElement} place */
function clear(place) {
  for (const each of all(place, ".fault", HTMLElement)) {
    if (each.role === "alert") each.textContent = "";
    else each.remove();
  }
  for (const each of all(place, "[aria-invalid]", HTMLElement)) {
    each.removeAttribute("aria-invalid");
    describe(each, "");
  }
}

/** "15 minutes". @param {number} seconds */
function durationOf(seconds) {
  const [unit, length] = seconds < 60 ? ["second", 1] : seconds < 7200 ? ["minute", 60] : ["hour", 3600];
  const form = new Intl.NumberFormat(LANGUAGE, { style: "unit", unit, unitDisplay: "long" });
  return form.format(Math.ceil(seconds / length));
}

/** What people read of a problem, at this form. @param {Problem} problem @param {string} act */
function textOf({ code, message, document: { wait, instance = "" } }, act) {
  const text = PROBLEM_TEXTS[`${code} ${act}`] ?? PROBLEM_TEXTS[code] ?? message;
  return (text || "Something went wrong. Try again.")
    .replace("{wait}", wait === undefined ? "a moment" : durationOf(wait))
    .replace("{id}", instance);
}

/** The fields that a problem without `errors` is about, by its code; there is one of them in a form. @type {Record<string, string[]>} */
const ABOUT = {
  unauthenticated: ["code", "recovery_code"],
  wrong_factor: ["code", "recovery_code"],
  wrong_password: ["current_password", "password"],
  slug_taken: ["tenant/slug"],
};

/** What is wrong with which field of a form, and else what is wrong. @param {HTMLElement} place @param {Problem} problem */
function faultsOf(place, problem) {
  /** @param {string} name @param {HTMLElement} within */
  const labelOf = (name, within) =>
    within.querySelector(`:is(input, select)[name="${CSS.escape(name)}"]:enabled`)?.closest("label");
  if (problem.code !== "invalid_input") {
    const about = ABOUT[problem.code]?.map((name) => labelOf(name, place)).find(Boolean);
    return [{ label: about, text: textOf(problem, place.dataset["act"] ?? "") }];
  }
  return problem.errors.map(({ pointer, detail }) => {
    const name = pointer.slice(1);
    const label = labelOf(name, place) ?? labelOf(name, wholeOf(place));
    // Of a new password, the API says what is wrong with this one.
    return { label, text: detail.startsWith("This password") ? detail : (FIELD_TEXTS[name] ?? detail) };
  });
}

/** The view or the dialog that it is in. @param {HTMLElement} place @returns {HTMLElement} */
const wholeOf = (place) => place.closest(".view, dialog") ?? place;

let faults = 0;

/** Says what went wrong: at the fields that it is about, and for the rest at the end of the form. @param {HTMLElement} place @param {unknown} error */
function report(place, error) {
  const problem = error instanceof Problem ? error : new Problem("");
  // Whoever is signed out has been told so.
  if (problem.code === "invalid_token") return;
  if (!(error instanceof Problem)) console.error(error);
  const rest = faultsOf(place, problem).filter(({ label, text }) => {
    const field = label?.querySelector("input, select");
    if (!label || !(field instanceof HTMLElement)) return true;
    const id = `fault-${++faults}`;
    label.after(make("p", { id, className: "fault", textContent: text }));
    field.setAttribute("aria-invalid", "true");
    describe(field, id);
    return false;
  });
  const [invalid] = all(wholeOf(place), "[aria-invalid]", HTMLElement);
  invalid?.focus();
  const alert = place.querySelector(":scope > [role=alert]") ?? at("problem");
  alert.textContent = rest.map(({ text }) => text).join(" ");
}

/** What is being done, by the element that it was asked for with: no second time meanwhile. @type {Set<HTMLElement>} */
const working = new Set();

/** Does it, and says there what went wrong. @param {HTMLElement} place @param {() => unknown} act */
async function run(place, act) {
  if (working.has(place)) return;
  working.add(place);
  place.ariaBusy = "true";
  clear(wholeOf(place));
  at("problem").textContent = "";
  say();
  try {
    await act();
  } catch (error) {
    report(place, error);
  } finally {
    working.delete(place);
    place.ariaBusy = null;
  }
}

// --- The API ---

/** @type {Session | undefined} */
let session;

/**
 * One request, and the JSON of its answer. Throws a Problem for any that is no success.
 * @template T
 * @param {string} method @param {string} path @param {Body} [body] @param {string} [token]
 * @returns {Promise<T>}
 */
async function send(method, path, body, token) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (HAS_COOKIE) headers["x-refresh-token"] = "cookie";
  if (body) headers["content-type"] = "application/json";
  if (token) headers["authorization"] = `Bearer ${token}`;
  const response = await fetch(path, { method, headers, body: body ? JSON.stringify(body) : null }).catch(
    () => {
      throw new Problem("There was no answer. Check your connection, then try again.");
    },
  );
  const isJson = response.headers.get("content-type")?.includes("json");
  const text = await response.text();
  const answer = isJson && text ? JSON.parse(text) : {};
  if (response.ok) return answer;
  // An access token that is over. Another 401 is about what was sent, such as a wrong password.
  if (response.headers.get("www-authenticate")?.includes("invalid_token")) answer.code = "invalid_token";
  const wait = Number(response.headers.get("retry-after") ?? Number.NaN);
  throw new Problem(Number.isNaN(wait) ? answer : { ...answer, wait });
}

/** @type {Promise<Session> | undefined} */
let resuming;

/** Goes on with the session: with its refresh token, or with the cookie's. */
async function resume() {
  const token = session?.refresh_token;
  resuming ??= send("POST", "/v1/sessions/refresh", token === undefined ? {} : { refresh_token: token });
  try {
    session = await resuming;
  } finally {
    resuming = undefined;
  }
}

/** A limit that has room again within so many seconds is waited for: what the page reads by itself counts, too. */
const SHORT_WAIT_S = 2;

/**
 * A request of who is signed in. It is sent again when the access token was over, when the API first wants to know that it
 * is still the same person, and when a limit of the plan was reached that has room again soon.
 * @template T
 * @param {string} method @param {string} path @param {Body} [body]
 * @returns {Promise<T>}
 */
async function ask(method, path, body) {
  const tried = new Set();
  for (;;) {
    try {
      return await send(method, path, body, session?.access_token);
    } catch (error) {
      if (!(error instanceof Problem) || tried.has(error.code)) throw error;
      tried.add(error.code);
      if (error.code === "invalid_token") await resumeOrLeave();
      else if (error.code === "step_up_required") await stepUp();
      else if (error.code === "quota_exceeded" && waitOf(error) <= SHORT_WAIT_S) await pause(waitOf(error));
      else throw error;
      if (!session) throw error;
    }
  }
}

/** After how many seconds the request may be sent again. @param {Problem} problem */
const waitOf = ({ document: { wait } }) => wait ?? Infinity;

/** @param {number} seconds */
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Goes on with the session, if it has not been ended. */
async function resumeOrLeave() {
  try {
    await resume();
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "unauthenticated") throw error;
    leave("You were signed out. Sign in again.");
  }
}

/** @param {string} notice */
function leave(notice) {
  session = undefined;
  factors = [];
  shownSupport = "";
  show("sign-in", notice);
}

// --- Passkeys ---

/**
 * What a browser says of a passkey that was not used or made: mostly that somebody has cancelled it. `domain` is where passkeys
 * work: a page elsewhere, or at an IP address, cannot use them.
 * @param {unknown} error @param {string} [domain] @returns {never}
 */
function refuse(error, domain) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "InvalidStateError") throw new Problem("This device has a passkey for your account already.");
  if (name === "SecurityError" && domain)
    throw new Problem(`Passkeys work at ${domain}, and this page is at ${location.hostname}. Open it there.`);
  throw new Problem("The passkey was not used. Try again.");
}

/** @param {Credential | null} credential */
const asJson = (credential) =>
  credential instanceof PublicKeyCredential ? credential.toJSON() : refuse(undefined);

/** @param {PublicKeyCredentialRequestOptionsJSON} options */
async function usePasskey(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return asJson(await navigator.credentials.get({ publicKey }).catch((error) => refuse(error, options.rpId)));
}

/** @param {PublicKeyCredentialCreationOptionsJSON} options */
async function makePasskey(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return asJson(
    await navigator.credentials.create({ publicKey }).catch((error) => refuse(error, options.rp.id)),
  );
}

/** A passkey's answer to a new challenge of the API's. */
async function passkeyProof() {
  /** @type {Challenge} */
  const { challenge, options } = await send("POST", "/v1/passkey-challenges");
  return { challenge, response: await usePasskey(options) };
}

// --- To a session ---

/** What the API asked for after the password. @type {ProblemDocument} */
let asked = {};
/** The token of the link that led here. */
let linkToken = "";

/** Begins a session, or shows what the API asks for first. @param {Promise<Session>} answer */
async function begin(answer) {
  try {
    await enter(await answer);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "second_factor_required") {
      asked = error.document;
      show("factor");
      offer(at("factor"), asked.methods ?? []);
    } else if (error.code === "second_factor_enrolment_required") {
      asked = error.document;
      show("enrol");
    } else throw error;
  }
}

/** Has the session of an answer, if there is one, and shows its recovery codes, or else the account. @param {Partial<Session>} answer */
async function enter({ recovery_codes: codes, ...rest }, notice = "") {
  if (rest.access_token !== undefined) session = /** @type {Session} */ (rest);
  asked = {};
  if (codes) {
    at("recovery-codes").textContent = codes.join("\n");
    show("recovery");
  } else await home(notice);
}

/** The tenants to choose from, which the API names when an account is in several. @param {unknown} error */
function offerTenants(error) {
  const tenants = error instanceof Problem ? error.document.tenants : undefined;
  const [choice] = all(at("which-tenant"), "select", HTMLSelectElement);
  if (tenants === undefined || !choice) return;
  choice.replaceChildren(...tenants.map(({ slug, name }) => new Option(`${name} (${slug})`, slug)));
  choice.disabled = at("which-tenant").hidden = false;
}

/** The tenant that was chosen, if there was a choice. */
function chosenTenant() {
  const [choice] = all(at("which-tenant"), "select:enabled", HTMLSelectElement);
  return choice ? { tenant: choice.value } : {};
}

/** Whether an earlier session has been looked for: a cookie may have one. */
let hasLooked = false;

/** Shows the account of who is signed in, or how to sign in. */
async function home(notice = "") {
  if (!session && HAS_COOKIE && !hasLooked) {
    hasLooked = true;
    await resume().catch((error) => {
      // Whoever is not signed in yet does not have to know.
      if (!(error instanceof Problem) || error.code !== "unauthenticated") throw error;
    });
  }
  if (!session) {
    at("which-tenant").hidden = true;
    for (const each of all(at("which-tenant"), "select", HTMLSelectElement)) each.disabled = true;
    return show("sign-in", notice);
  }
  const { user, tenant } = session;
  /** @type {Me} */
  const me = await ask("GET", "/v1/me").catch((error) => {
    // A deployment may let nobody do anything before: what the session says is enough to ask for the link again.
    if (!(error instanceof Problem) || error.code !== "email_not_verified") throw error;
    return { user: { ...user, email_verified: false }, tenant, other_tenants: [] };
  });
  if (!session) return;
  showWho(me);
  show("account", notice);
  await Promise.all([showFactors(), showSessions(), showSupport()]).catch((error) =>
    report(document.body, error),
  );
}

// --- The account ---

/** Whether the account has no address: whoever reads that mailbox has taken it, and with it the password. */
let isDisplaced = false;

/** @param {Me} me */
function showWho({ user, tenant, other_tenants: others }) {
  isDisplaced = user.email.endsWith("@displaced.invalid");
  const address = isDisplaced ? "" : user.email;
  /** @type {[string, string][]} */
  const facts = [
    ["Email", user.email_verified ? `${address} (confirmed)` : address || "None"],
    ["Workspace", tenant.name],
    ["Role", tenant.role],
  ];
  at("who").replaceChildren(
    ...facts.map(([term, text]) => make("div", {}, make("dt", {}, term), make("dd", {}, text))),
  );
  at("no-address").hidden = !isDisplaced;
  at("own").hidden = isDisplaced;
  at("unverified").hidden = isDisplaced || user.email_verified !== false;
  for (const each of all(at("account"), "[autocomplete=username]", HTMLInputElement))
    each.defaultValue = address;
  at("tenants").hidden = others.length === 0;
  at("tenant-list").replaceChildren(
    ...others.map(({ slug, name, role }) =>
      row(name, role, ["Switch", async () => begin(ask("POST", "/v1/sessions/switch", { tenant: slug }))]),
    ),
  );
}

/**
 * An entry of a list, with buttons.
 * @param {string} name @param {string} more @param {[label: string, act: () => unknown][]} buttons
 */
function row(name, more, ...buttons) {
  const item = make("li", {}, make("p", {}, make("b", {}, name), make("small", {}, more)));
  const side = make("div", { className: "row" });
  for (const [label, act] of buttons) {
    const button = make(
      "button",
      { type: "button", className: "quiet", ariaLabel: `${label}: ${name}` },
      label,
    );
    button.addEventListener("click", () => void run(item, act));
    side.append(button);
  }
  item.append(side, make("p", { className: "fault", role: "alert" }));
  return item;
}

/** @param {string} instant */
const timeOf = (instant) =>
  new Date(instant).toLocaleString(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });

/** @type {Factor[]} */
let factors = [];

async function showFactors() {
  /** @type {{ data: Factor[] } | undefined} */
  const answer = await ask("GET", "/v1/me/factors").catch((error) => {
    // A session that an identity provider vouched for has none here.
    if (error instanceof Problem && error.code !== "invalid_token") return undefined;
    throw error;
  });
  at("factors").hidden = !answer;
  at("own").hidden = !answer || isDisplaced;
  factors = answer?.data ?? [];
  at("no-factors").hidden = factors.length > 0;
  at("new-recovery").hidden = factors.length === 0;
  at("factor-list").replaceChildren(
    ...factors.map(({ id, type, name, last_used_at: used }) => {
      const kind = type === "passkey" ? "Passkey" : "Authenticator app";
      const item = row(
        name,
        `${kind}, ${used ? `last used ${timeOf(used)}` : "not used yet"}`,
        ["Rename", async () => renameFactor(id, name)],
        ["Remove", async () => removeFactor(id, name)],
      );
      item.id = id;
      return item;
    }),
  );
}

/** Opens a dialog; true when its button was pressed, false when it was left. @param {HTMLDialogElement} dialog */
function confirmed(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** @param {string} id @param {string} name */
async function renameFactor(id, name) {
  const dialog = dialogAt("rename");
  const [field] = all(dialog, "input", HTMLInputElement);
  if (!field) return;
  field.value = name;
  if (!(await confirmed(dialog))) return;
  await ask("PATCH", `/v1/me/factors/${id}`, { name: field.value });
  await showFactors();
  at(id).querySelector("button")?.focus();
  say(`It is called ${field.value} now.`, "#factors");
}

/** @param {string} id @param {string} name */
async function removeFactor(id, name) {
  at("remove-title").textContent = `Remove ${name}?`;
  at("remove-last").hidden = factors.length > 1;
  const answer = confirmed(dialogAt("remove"));
  for (const each of all(at("remove"), "[data-close]", HTMLElement)) each.focus();
  if (!(await answer)) return;
  await ask("DELETE", `/v1/me/factors/${id}`);
  await showFactors();
  at("factors-title").focus();
  say(`${name} is removed.`, "#factors");
}

/** @param {string} code */
const countryOf = (code) =>
  /^[A-Z]{2}$/.test(code) ? (new Intl.DisplayNames(LANGUAGE, { type: "region" }).of(code) ?? code) : code;

/** Where the list of sessions goes on. @type {string | undefined} */
let nextSessions;

/** @param {string} [cursor] */
async function showSessions(cursor) {
  const query = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
  /** @type {{ data: Listed[], next_cursor: string | null }} */
  const page = await ask("GET", `/v1/sessions${query}`);
  const rows = page.data.map(({ id, current, device, country, last_used_at }) => {
    const where = country ? `, ${countryOf(country)}` : "";
    const name = device || "Unknown browser";
    if (current) return row(name, `This browser${where}`);
    return row(name, `Last used ${timeOf(last_used_at)}${where}`, [
      "Sign out",
      async () => {
        await ask("DELETE", `/v1/sessions/${id}`);
        await showSessions();
        at("sessions-title").focus();
        say(`${name} is signed out.`, "#sessions");
      },
    ]);
  });
  const list = at("session-list");
  if (cursor === undefined) list.replaceChildren(...rows);
  else {
    list.append(...rows);
    // The button may go.
    rows[0]?.setAttribute("tabindex", "-1");
    rows[0]?.focus();
  }
  at("more-sessions").hidden = page.next_cursor === null;
  nextSessions = page.next_cursor ?? undefined;
}

// --- Support: the people who run the service, where the workspace lets them in ---

/** How often it is looked who is in, where somebody may be. */
const SUPPORT_EVERY_MS = 10_000;
/** @type {Record<string, string>} */
const SUPPORT_MODES = {
  off: "The people who run this service see nothing of your workspace.",
  ask: "The people who run this service see nothing of your workspace until an owner lets them in.",
  on: "The people who run this service may look into your workspace. You see here who does.",
};
let supportMode = "off";
/** What is shown: it is made anew when it is another one, so that nobody loses their place in it. */
let shownSupport = "";

/** Shows who asks to look in, and who is in. */
async function showSupport() {
  /** @type {[{ mode: string }, { data: Support[] }] | undefined} */
  const answers = await Promise.all([
    ask("GET", "/v1/tenant/support-access"),
    ask("GET", "/v1/tenant/support-sessions"),
  ]).catch((error) => {
    // A deployment may let nobody do anything before their address is confirmed.
    if (error instanceof Problem && error.code === "email_not_verified") return undefined;
    throw error;
  });
  const role = session?.tenant.role;
  at("support").hidden = !answers;
  if (!answers) return;
  const [{ mode }, { data }] = answers;
  const open = data.filter(({ status }) => status !== "ended");
  at("support").hidden = mode === "off" && role !== "owner";
  const found = JSON.stringify([role, mode, open]);
  if (found === shownSupport) return;
  shownSupport = found;
  supportMode = mode;
  at("support-mode").textContent = SUPPORT_MODES[mode] ?? "";
  at("support-change").hidden = role !== "owner";
  for (const option of all(at("support"), "option", HTMLOptionElement))
    option.selected = option.defaultSelected = option.value === mode;
  at("support-list").replaceChildren(...open.map((each) => supportRow(each, role)));
}

/** @param {Support} of @param {string | undefined} role */
function supportRow({ id, status, operator: { name }, reason, minutes, write, expires_at }, role) {
  const may = write ? "to read and change" : "to read";
  const what =
    status === "asked"
      ? `Asks to look in for ${durationOf(minutes * 60)}, ${may}: ${reason}`
      : `Is in until ${timeOf(expires_at ?? "")}, ${may}: ${reason}`;
  /** @param {string} then @param {() => Promise<unknown>} act @returns {() => Promise<void>} */
  const doing = (then, act) => async () => {
    await act();
    await showSupport();
    at("support-title").focus();
    say(`${name} ${then}.`, "#support");
  };
  const approve = doing("is let in", () => ask("POST", `/v1/tenant/support-sessions/${id}/approve`));
  const end = doing("is out", () => ask("DELETE", `/v1/tenant/support-sessions/${id}`));
  /** @type {[string, () => Promise<void>][]} */
  const buttons = [];
  if (status === "asked" && role === "owner") buttons.push(["Let in", approve]);
  if (role === "owner" || role === "admin") buttons.push([status === "asked" ? "Refuse" : "End", end]);
  return row(name, what, ...buttons);
}

setInterval(() => {
  if (!session || document.hidden || at("account").hidden || supportMode === "off") return;
  // It is tried again in a moment.
  showSupport().catch(() => undefined);
}, SUPPORT_EVERY_MS);

// --- Second factors ---

/** Confirms an authenticator app by its code. @type {(proof: Body) => Promise<unknown>} */
let confirmApp = () => Promise.resolve();

/** Has a factor confirmed that was just made: a passkey at once, an app when its code is there. @param {Enrolment} made @param {(proof: Body) => Promise<Partial<Session>>} confirm */
async function enrol(made, confirm) {
  const notice = "It is added. You use it when you sign in next.";
  if (made.options) return enter(await confirm({ response: await makePasskey(made.options) }), notice);
  at("app-secret").textContent = made.secret ?? "";
  at("app-uri").setAttribute("href", made.uri ?? "");
  confirmApp = async (proof) => enter(await confirm(proof), notice);
  return show("app");
}

/** Ends the wait for a proof. @type {(proof?: Problem) => void} */
let endStep = () => undefined;

/** Asks for a fresh proof of who it is. Throws when the dialog is left without one. */
function stepUp() {
  if (isDisplaced && factors.length === 0)
    throw new Problem("Your account has no password yet. Add an email address and a password first.");
  offerSteps();
  dialogAt("step-up").showModal();
  /** @type {Promise<void>} */
  const proven = new Promise((resolve, reject) => {
    endStep = (refused) => (refused ? reject(refused) : resolve());
  });
  return proven;
}

/** Offers the proofs that the API takes: of whoever has a second factor, that one alone. */
function offerSteps() {
  const types = factors.map(({ type }) => type);
  offer(at("step-up"), types.length > 0 ? [...types, "recovery_code"] : ["password"]);
  at("step-up-why").textContent =
    types.length > 0
      ? "This change takes your second step again. Your password is not enough for it."
      : "This change takes your password again.";
}

/** @param {Body} proof */
async function prove(proof) {
  /** @type {Partial<Session>} */
  const answer = await ask("POST", "/v1/sessions/current/step-up", proof);
  if (answer.access_token !== undefined) session = /** @type {Session} */ (answer);
  endStep();
  dialogAt("step-up").close();
}

/** The same by the password. Whoever has added a second factor since, elsewhere, is asked for that. @param {Body} proof */
async function proveByPassword(proof) {
  try {
    await prove(proof);
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "wrong_factor") throw error;
    await showFactors();
    offerSteps();
    at("step-up-title").focus();
  }
}

// --- What the forms do, by their data-act ---

/** @type {Record<string, (body: Body) => Promise<unknown>>} */
const ACTS = {
  "sign-in": async (body) => begin(send("POST", "/v1/sessions", body)).catch(refuseSignIn),
  passkey: async () =>
    begin(
      passkeyProof().then((proof) => send("POST", "/v1/sessions/passkey", { ...proof, ...chosenTenant() })),
    ).catch(refuseSignIn),
  "sign-up": async (body) => {
    /** @type {Session} */
    const answer = await send("POST", "/v1/signup", body);
    if (answer.access_token !== undefined) return enter(answer);
    return lookForMail(`We sent a mail to ${body["email"]}. Open its link within 24 hours to finish.`);
  },
  forgot: async ({ email }) => {
    await send("POST", "/v1/password-resets", { email });
    lookForMail(
      `We sent a mail to ${email}. If there is an account, it has a link that works for 30 minutes.`,
    );
  },
  reset: async (body) => {
    await follow("/v1/password-resets/confirm", body);
    done("You have a new password", "You were signed out everywhere. Sign in with it.", "Sign in");
  },
  verification: async (body) => {
    await follow("/v1/email-verifications/confirm", body);
    done("Your address is confirmed", "That was all.");
  },
  signup: async (body) => {
    await follow("/v1/email-verifications/confirm", body);
    done("Your account is ready", "Sign in with your email address and password.", "Sign in");
  },
  "email-change": async (body) => {
    await follow("/v1/email-changes/confirm", body);
    done("Your address is changed", "You sign in with the new one from now on.");
  },
  "email-undo": async (body) => {
    await follow("/v1/email-changes/undo", body);
    done(
      "Your old address is back",
      "You were signed out everywhere. If it was not you who changed it, somebody knows your password: set a new one.",
      "Set a new password",
      "#forgot",
    );
  },
  invitation: async (body) =>
    begin(follow("/v1/invitations/accept", body)).catch((error) => {
      const [fieldset] = all(at("invitation"), "fieldset:disabled", HTMLFieldSetElement);
      const isAsked = error instanceof Problem && error.errors.some(({ pointer }) => pointer === "/password");
      if (!fieldset || !isAsked) throw error;
      fieldset.hidden = fieldset.disabled = false;
      fieldset.querySelector("input")?.focus();
      say("Choose a password for your account.", "#invitation");
    }),

  "factor-code": async (body) =>
    begin(send("POST", "/v1/sessions/factor", { challenge: asked.challenge, ...body })),
  "factor-recovery": async (body) =>
    begin(send("POST", "/v1/sessions/factor", { challenge: asked.challenge, ...body })),
  "factor-passkey": async () => {
    const { challenge, options } = asked;
    if (options)
      await begin(send("POST", "/v1/sessions/factor", { challenge, response: await usePasskey(options) }));
  },
  enrol: async (body) => {
    const { challenge } = asked;
    await enrol(await send("POST", "/v1/sessions/factor/enrolment", { challenge, ...body }), (proof) =>
      send("POST", "/v1/sessions/factor", { challenge, ...proof }),
    );
  },
  "add-factor": async (body) => {
    /** @type {Enrolment} */
    const made = await ask("POST", "/v1/me/factors", body);
    await enrol(made, (proof) => ask("POST", `/v1/me/factors/${made.id}/confirm`, proof));
  },
  app: async (body) => confirmApp(body),
  recovery: async () => {
    at("recovery-codes").textContent = "";
    await home("Two-step sign-in is set up.");
  },
  "new-recovery": async () => enter(await ask("POST", "/v1/me/recovery-codes")),
  "step-up-code": prove,
  "step-up-recovery": prove,
  "step-up-password": proveByPassword,
  "step-up-passkey": async () => prove(await passkeyProof()),

  resend: async () => {
    await ask("POST", "/v1/email-verifications");
    say("The mail is on its way. Look into your spam folder, too.", "#unverified");
  },
  "change-password": async (body) => {
    await ask("POST", "/v1/me/password", body);
    await home("Your password is changed. You are signed out everywhere else.");
  },
  "change-email": async (body) => {
    await ask("POST", "/v1/me/email", body);
    await home(`We sent a mail to ${body["email"]}. Open its link, and it is your address.`);
  },
  "add-email": async (body) => {
    await ask("POST", "/v1/me/email", body);
    await home(
      `We sent a mail to ${body["email"]}. Open its link, and you sign in with this address and password.`,
    );
  },
  "support-mode": async (body) => {
    await ask("PATCH", "/v1/tenant/support-access", body);
    await showSupport();
    at("support-title").focus();
    say("It is saved.", "#support");
  },
  "sign-out": async () => {
    await ask("DELETE", "/v1/sessions/current");
    leave("You are signed out.");
  },
};

/** Does what a link of a mail is for. Throws a Problem. @template T @param {string} path @param {Body} body @returns {Promise<T>} */
const follow = (path, body) => send("POST", path, { token: linkToken, ...body });

/** Says what to do where a link is over, or what it is for cannot be had any more. @param {string} act @param {unknown} error */
function refuseLink(act, error) {
  if (!LINKS.has(act) || !(error instanceof Problem)) throw error;
  const gone = GONE_TEXTS[/^(link|invitation)_gone$/.test(error.code) ? act : `${act} ${error.code}`];
  if (!gone) throw error;
  done("This link does not work any more", ...gone);
}

/** @param {string} text */
const lookForMail = (text) =>
  done(
    "Look for our mail",
    `${text} Nothing there? Look into your spam folder, or ask again in a few minutes.`,
  );

/** @param {unknown} error @returns {never} */
function refuseSignIn(error) {
  offerTenants(error);
  throw error;
}

/** The body that a form's fields make: `tenant/slug` is the member of a member. @param {HTMLFormElement} form @param {HTMLElement | null} submitter */
function bodyOf(form, submitter) {
  /** @type {Record<string, unknown>} */
  const body = {};
  for (const [name, value] of new FormData(form, submitter)) {
    const [first = "", second] = name.split("/");
    // Apps show a code in two halves.
    if (first === "code") body[first] = String(value).replaceAll(/\s/g, "");
    else if (second === undefined) body[first] = value;
    else body[first] = { .../** @type {object} */ (body[first]), [second]: value };
  }
  return body;
}

// --- Where it begins ---

const LINKS = new Set(["verification", "signup", "reset", "email-change", "email-undo", "invitation"]);

/** Shows what the fragment asks for. A link's token leaves the address bar, and so the history, before anything else. */
function route() {
  const [, name = "", token = ""] = /^#([a-z-]+)=?(.*)$/.exec(location.hash) ?? [];
  linkToken = LINKS.has(name) ? token : "";
  if (linkToken !== "") {
    history.replaceState(null, "", location.pathname);
    show(name);
  } else if (name === "sign-up" || name === "forgot") show(name);
  else void run(document.body, begun);
}

/** Shows where somebody is who comes here; how to sign in where that cannot be found out. */
async function begun() {
  try {
    await home();
  } catch (error) {
    if (all(document, ".view:not([hidden])", HTMLElement).length === 0) show("sign-in");
    throw error;
  }
}

for (const form of document.forms) {
  const name = form.dataset["act"] ?? "";
  const act = ACTS[name];
  if (!act) continue;
  form.append(make("p", { className: "fault", role: "alert" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(form, () => act(bodyOf(form, event.submitter)).catch((error) => refuseLink(name, error)));
  });
}
for (const [index, hint] of all(document, "label + small", HTMLElement).entries()) {
  const field = hint.previousElementSibling?.querySelector("input");
  if (!field) continue;
  hint.id = field.dataset["hint"] = `hint-${index}`;
  describe(field, "");
}
// Removed, not hidden: Enter in a field presses the first button of its form.
if (!HAS_PASSKEYS) for (const each of all(document, "[data-passkey]", HTMLElement)) each.remove();
for (const each of all(document, "[data-close]", HTMLElement))
  each.addEventListener("click", () => each.closest("dialog")?.close());
for (const each of all(document, "[data-copy]", HTMLElement))
  each.addEventListener("click", () => void run(each, async () => copy(each.dataset["copy"] ?? "")));
const more = at("more-sessions");
more.addEventListener("click", () => void run(more, async () => showSessions(nextSessions)));
at("step-up").addEventListener("close", () => {
  for (const form of all(at("step-up"), "form", HTMLFormElement)) {
    clear(form);
    form.reset();
  }
  endStep(new Problem("Nothing was changed."));
});
// A link to where one is already is no change of the fragment.
for (const each of all(document, "a[href^='#']", HTMLAnchorElement))
  each.addEventListener("click", () => {
    if (each.hash === location.hash) route();
  });

const [tenantName] = all(at("sign-up"), "[name='tenant/name']", HTMLInputElement);
const [tenantSlug] = all(at("sign-up"), "[name='tenant/slug']", HTMLInputElement);
tenantName?.addEventListener("input", () => {
  const words =
    tenantName.value
      .normalize("NFKD")
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? [];
  // Until somebody writes another one.
  if (tenantSlug) tenantSlug.defaultValue = words.join("-").slice(0, 63);
});

addEventListener("hashchange", route);
route();
