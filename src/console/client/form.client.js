import { Problem } from "./api.client.js";
import { h, newId } from "./elements.client.js";
import { whenAgain } from "./list.client.js";

// Forms: what is wrong is said at the field that it is about, and the first such field gets the focus.

/**
 * `pointer` names a field, as a JSON pointer does.
 * @typedef {import("./elements.client.js").Child} Child
 * @typedef {{ pointer: string, detail: string }} Fault
 * @typedef {{ fields: Child[], buttons: Child[], act: (given: Record<string, string>) => Promise<unknown>,
 *   check?: (given: Record<string, string>) => Fault[], look?: string }} Asked
 */

/** A form that this script sends: once it has all that is required, `act` takes what was given. @param {Asked} asked */
export function formOf({ fields, buttons, act, check = () => [], look }) {
  const problem = h("p", { class: "fault", role: "alert" });
  const form = h(
    "form",
    { method: "post", novalidate: true, class: look },
    ...fields,
    problem,
    h("div", { class: "row" }, ...buttons),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    clear(form);
    const given = Object.fromEntries(
      [...new FormData(form)].map(([name, value]) => [name, String(value).trim()]),
    );
    const faults = [...missing(form), ...check(given)];
    if (faults.length > 0) return tell(form, problem, faults, "");
    form.ariaBusy = "true";
    void act(given)
      .catch((error) => {
        if (!(error instanceof Problem)) console.error(error);
        const { errors, message } = error instanceof Problem ? error : new Problem(-1, {});
        tell(form, problem, errors, [message, whenAgain(error)].filter(Boolean).join(" "));
      })
      .finally(() => {
        form.ariaBusy = null;
      });
  });
  return form;
}

/** What is required and is not there, or not as its field takes it. @param {HTMLFormElement} form */
const missing = (form) =>
  [...form.querySelectorAll("input, textarea, select")].flatMap((control) => {
    const isOne =
      control instanceof HTMLInputElement ||
      control instanceof HTMLTextAreaElement ||
      control instanceof HTMLSelectElement;
    if (!isOne || control.validity.valid) return [];
    return [{ pointer: `/${control.name}`, detail: control.validationMessage }];
  });

/** Takes back what was said of the faults in a form. @param {HTMLFormElement} form */
function clear(form) {
  for (const each of form.querySelectorAll(".fault")) {
    if (each.role === "alert") each.textContent = "";
    else each.remove();
  }
  for (const each of form.querySelectorAll("[aria-invalid]")) {
    each.removeAttribute("aria-invalid");
    describe(each, "");
  }
}

/** Has a field described by its hint, if it has one, and by what is wrong with it. @param {Element} control @param {string} fault */
function describe(control, fault) {
  const hint = document.getElementById(`${control.id}-hint`)?.id ?? "";
  const ids = [fault, hint].filter(Boolean).join(" ");
  if (ids === "") control.removeAttribute("aria-describedby");
  else control.setAttribute("aria-describedby", ids);
}

/** @param {HTMLFormElement} form @param {HTMLElement} problem @param {readonly Fault[]} faults @param {string} message */
function tell(form, problem, faults, message) {
  const rest = faults.filter(({ pointer, detail }) => {
    const control = form.querySelector(`[name="${CSS.escape(pointer.slice(1))}"]`);
    if (!control) return true;
    const said = h("p", { class: "fault", id: newId("fault") }, detail);
    control.after(said);
    control.setAttribute("aria-invalid", "true");
    describe(control, said.id);
    return false;
  });
  const first = form.querySelector("[aria-invalid]");
  if (first instanceof HTMLElement) first.focus();
  if (faults.length > 0 && rest.length === 0) return;
  problem.textContent = [message, ...rest.map(({ detail }) => detail)].filter(Boolean).join(" ");
}
