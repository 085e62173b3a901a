import { Problem, send } from "./api.client.js";
import { facts, field, h } from "./elements.client.js";
import { clock, named } from "./figures.client.js";
import { whenAgain } from "./list.client.js";

// An operator's own access to a tenant, in the dialog that asked for it: it is shown as long as that is open, and so is what the
// tenant does with it.

/** How often the API is asked what the tenant has done. */
const LOOK_MS = 3000;

/**
 * @typedef {{ id: string, status: string, expires_at: string | null, end_reason: string | null, access_token?: string,
 *   expires_in?: number }} Support
 */

/** Why it is over, in words. @type {Record<string, string>} */
const ENDS = {
  ended: "It was ended.",
  replaced: "You have asked for another one.",
  mode: "The tenant lets nobody in any more.",
  approver: "Whoever allowed it is no owner any more.",
  operator: "Your own session has ended.",
  tenant_status: "The tenant cannot be used any more.",
  expired: "Its time is over.",
  unanswered: "No owner has answered within a day.",
};

/**
 * Shows the access: its token once there is one, and the next; that an owner has still to allow it; and a way to end it.
 * @param {string} path the tenant's @param {Support} first
 */
export function supportPart(path, first) {
  const own = `${path}/support-sessions/${first.id}`;
  const problem = h("p", { class: "fault", role: "alert" });
  const shown = h("div", { class: "stack", role: "status" });
  const button = h("button", { type: "button", class: "quiet", click: () => attempt(next) });
  const leave = h(
    "button",
    { type: "button", class: "quiet danger", click: () => attempt(end) },
    "End the access",
  );

  let known = first.status;
  /** @param {Support} session */
  const show = ({ status, expires_at, access_token: token, expires_in = 0 }) => {
    known = status;
    button.textContent = status === "asked" ? "See whether an owner has answered" : "Get the next token";
    if (token === undefined)
      return shown.replaceChildren(
        h("p", {}, "An owner of the tenant has been asked. Once they allow it, you get a token here."),
      );
    const until = clock(new Date(Date.now() + expires_in * 1000).toISOString());
    shown.replaceChildren(
      facts([
        ["Access", named(status)],
        ["It ends", expires_at ? clock(expires_at) : "–"],
      ]),
      field(
        "Access token",
        h("textarea", { readonly: true, rows: 4, class: "secret", spellcheck: "false" }, token),
        `For the tenant's own routes, until ${until}. It is not shown again.`,
      ),
    );
  };
  /** @param {string} why */
  const over = (why) => {
    clearInterval(looking);
    problem.textContent = "";
    shown.replaceChildren(h("p", {}, `Your access has ended. ${why}`.trim()));
    button.disabled = leave.disabled = true;
  };
  const next = async () => show(await send("POST", `${own}/token`));
  const end = async () => {
    await send("DELETE", own);
    over("");
  };
  /** Shows what the tenant has done since: let the operator in, or out. */
  const look = async () => {
    if (!part.isConnected) return clearInterval(looking);
    /** @type {Support} */
    const { status, end_reason } = await send("GET", own);
    if (status === "ended") over(ENDS[end_reason ?? ""] ?? "");
    else if (status !== known) await next();
  };
  // What keeps it from being looked up shows at whatever the operator does next.
  const looking = setInterval(() => void look().catch(() => undefined), LOOK_MS);
  /** @param {() => Promise<unknown>} act */
  const attempt = (act) => {
    problem.textContent = "";
    void act().catch((error) => {
      if (!(error instanceof Problem)) console.error(error);
      const message = error instanceof Problem ? error.message : "Something went wrong. Try again.";
      problem.textContent = [message, whenAgain(error)].filter(Boolean).join(" ");
    });
  };
  show(first);
  const part = h("div", { class: "stack" }, shown, problem, h("div", { class: "row" }, button, leave));
  return part;
}
