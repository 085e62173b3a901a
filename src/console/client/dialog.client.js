import { field, h, newId, say } from "./elements.client.js";
import { formOf } from "./form.client.js";
import { renew } from "./frame.client.js";

/**
 * What is asked before something is done: `typed` has to be typed word for word, and `act` returns what to say once it is
 * done, or what to show in the dialog.
 * @typedef {import("./elements.client.js").Child} Child
 * @typedef {{ title: string, button: string, text?: Child[], fields?: Child[], typed?: string, danger?: boolean,
 *   check?: (given: Record<string, string>) => import("./form.client.js").Fault[],
 *   act: (given: Record<string, string>) => Promise<string | HTMLElement> }} Question
 */

const MAX_REASON = 500;

/** Asks in a dialog, with a reason, and does it. The focus goes back to where it was. @param {Question} question */
export function ask({ title, button, text = [], fields = [], typed, danger = false, check, act }) {
  const heading = h("h2", { id: newId("dialog") }, title);
  const opener = document.activeElement instanceof HTMLElement ? document.activeElement.id : "";
  /** What to say of what was done; undefined while nothing is. @type {string | undefined} */
  let done;
  const close = () => dialog.close();
  const form = formOf({
    fields: [
      ...text.map((each) => (typeof each === "string" ? h("p", {}, each) : each)),
      ...fields,
      field(
        "Reason",
        h("textarea", { name: "reason", rows: 2, required: true, maxlength: MAX_REASON }),
        "Kept in the operators' events and in the tenant's audit trail.",
      ),
      typed === undefined
        ? null
        : field(
            `Type “${typed}” to confirm`,
            h("input", { name: "typed", autocomplete: "off", autocapitalize: "off", spellcheck: "false" }),
          ),
    ],
    buttons: [
      h("button", { class: danger && "danger" }, button),
      h("button", { type: "button", class: "quiet", click: close }, "Cancel"),
    ],
    check: (given) => [
      ...(typed === undefined || given["typed"] === typed
        ? []
        : [{ pointer: "/typed", detail: `This is not “${typed}”.` }]),
      ...(check?.(given) ?? []),
    ],
    act: async (given) => {
      const result = await act(given);
      done = typeof result === "string" ? result : "";
      if (typeof result === "string") return close();
      const finished = h("button", { type: "button", click: close }, "Done");
      form.replaceWith(result, h("div", { class: "row" }, finished));
      finished.focus();
    },
  });
  const dialog = h("dialog", { "aria-labelledby": heading.id }, heading, form);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (done === undefined) return document.getElementById(opener)?.focus();
    const told = done;
    // Said once it can be seen, so that nobody goes on with what was there before.
    void renew(opener).then(() => say(told));
  });
  document.body.append(dialog);
  dialog.showModal();
}
