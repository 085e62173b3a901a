import { may, send } from "./api.client.js";
import { choice, field, h } from "./elements.client.js";
import { ask } from "./dialog.client.js";
import { menuOf } from "./menu.client.js";
import { named } from "./figures.client.js";
import { PLANS } from "./setup.client.js";
import { supportPart } from "./support.client.js";
import { limitFields, limitsFrom } from "./limit-fields.client.js";

// What an operator can do to a tenant, as its status and the operator's role allow.

/**
 * @typedef {import("./tenant.client.js").Tenant} Tenant
 * @typedef {{ right: string, name: string, when: readonly string[], danger?: boolean,
 *   question: (tenant: Tenant, path: string) => import("./dialog.client.js").Question }} Action
 */

const LIVE = ["active", "read_only", "suspended"];

/** @param {Tenant} tenant @param {string} path @param {string} status @param {{ title: string, button: string, text: string, done: string }} says */
const toStatus = ({ name }, path, status, { title, button, text, done }) => ({
  title: `${title} ${name}?`,
  button,
  text: [text],
  act: async (/** @type {Record<string, string>} */ { reason }) => {
    await send("PATCH", path, { status, reason });
    return `${name} ${done}`;
  },
});

/** @type {readonly Action[]} */
const ACTIONS = [
  {
    right: "changeTenant",
    name: "Suspend",
    when: ["active", "read_only"],
    question: (tenant, path) =>
      toStatus(tenant, path, "suspended", {
        title: "Suspend",
        button: "Suspend",
        text: "From the next request on, all its requests are refused with 403, and nobody can sign in to it.",
        done: "is suspended.",
      }),
  },
  {
    right: "changeTenant",
    name: "Reinstate",
    when: ["read_only", "suspended"],
    question: (tenant, path) =>
      toStatus(tenant, path, "active", {
        title: "Reinstate",
        button: "Reinstate",
        text: "It can be used as before, from the next request on.",
        done: "is active again.",
      }),
  },
  {
    right: "changeTenant",
    name: "Make read only",
    when: ["active", "suspended"],
    question: (tenant, path) =>
      toStatus(tenant, path, "read_only", {
        title: "Make read only:",
        button: "Make read only",
        text: "Requests that change something are refused from the next one on. Its people still sign in and read.",
        done: "is read only.",
      }),
  },
  {
    right: "restoreTenant",
    name: "Restore",
    when: ["closing"],
    question: ({ name }, path) => ({
      title: `Restore ${name}?`,
      button: "Restore",
      text: ["It stays, with the status that it had before it was closed."],
      act: async ({ reason }) => {
        await send("POST", `${path}/restore`, { reason });
        return `${name} is restored.`;
      },
    }),
  },
  {
    right: "changeTenant",
    name: "Change the plan",
    when: LIVE,
    question: ({ name, plan: current }, path) => ({
      title: `The plan of ${name}`,
      button: "Change the plan",
      fields: [
        field(
          "Plan",
          choice(
            { name: "plan" },
            Object.keys(PLANS).map((plan) => [plan, named(plan)]),
            current,
          ),
          "In force from the next request on. What was used already still counts.",
        ),
      ],
      act: async ({ plan, reason }) => {
        await send("PATCH", path, { plan, reason });
        return `${name} is on the plan ${plan}.`;
      },
    }),
  },
  {
    right: "changeTenant",
    name: "Change the limits",
    when: LIVE,
    question: ({ name, limits, plan }, path) => ({
      title: `The limits of ${name}`,
      button: "Change the limits",
      fields: [limitFields(limits, PLANS[plan] ?? [])],
      act: async (given) => {
        await send("PATCH", path, { limits: limitsFrom(given), reason: given["reason"] });
        return `${name} has other limits.`;
      },
    }),
  },
  {
    right: "startExport",
    name: "Export",
    when: [...LIVE, "closing"],
    question: ({ name }, path) => ({
      title: `Export ${name}?`,
      button: "Start an export",
      text: ["The tenant's owners can download the archive, you cannot: it holds their content."],
      act: async ({ reason }) => {
        await send("POST", `${path}/exports`, { reason });
        return `An export of ${name} has begun.`;
      },
    }),
  },
  {
    right: "enterTenant",
    name: "Ask for access",
    when: LIVE,
    question: ({ name }, path) => ({
      title: `Access to ${name}`,
      button: "Ask for access",
      text: [
        "The tenant is shown that you are in, and can end it. Everything that you do there carries your name.",
      ],
      fields: [
        field(
          "For how many minutes",
          h("input", { name: "minutes", type: "number", min: 1, max: 60, value: 30, required: true }),
          "60 at most.",
        ),
        field(
          "What for",
          choice({ name: "write" }, [
            ["", "To read"],
            ["write", "To read and change"],
          ]),
        ),
      ],
      act: async ({ minutes, write, reason }) =>
        supportPart(
          path,
          await send("POST", `${path}/support-sessions`, {
            minutes: Number(minutes),
            write: write !== "",
            reason,
          }),
        ),
    }),
  },
  {
    right: "endSessions",
    name: "End all sessions",
    when: [...LIVE, "closing"],
    question: ({ name }, path) => ({
      title: `End all sessions of ${name}?`,
      button: "End all sessions",
      text: ["Everybody has to sign in again. API keys go on."],
      act: async ({ reason }) => {
        await send("DELETE", `${path}/sessions`, { reason });
        return `All sessions of ${name} have ended.`;
      },
    }),
  },
  {
    right: "closeTenant",
    name: "Close",
    when: LIVE,
    danger: true,
    question: ({ name, slug }, path) => ({
      title: `Close ${name}?`,
      button: "Close the tenant",
      danger: true,
      text: [
        "It can no longer be used, and is erased after the grace period. Until then, it can be restored.",
      ],
      typed: slug,
      act: async ({ reason }) => {
        await send("DELETE", path, { reason });
        return `${name} is closing.`;
      },
    }),
  },
  {
    right: "eraseTenant",
    name: "Erase now",
    when: [...LIVE, "closing"],
    danger: true,
    question: ({ name, slug }, path) => ({
      title: `Erase ${name} now?`,
      button: "Erase for good",
      danger: true,
      text: [
        "All that it has is deleted at once, and nobody can bring it back. A receipt says what was deleted.",
      ],
      typed: slug,
      act: async ({ reason }) => {
        await send("POST", `${path}/erase`, { reason });
        return `${name} is being erased.`;
      },
    }),
  },
];

/** What can be done to a tenant: what is likely as a button, the rest in a menu. @param {Tenant} tenant */
export function actionsOf(tenant) {
  const path = `/v1/operator/tenants/${tenant.id}`;
  const [first, ...rest] = ACTIONS.filter(({ right, when }) => may(right) && when.includes(tenant.status));
  /** @param {Action} action */
  const act = ({ question }) => ask(question(tenant, path));
  if (!first) return [];
  const button = h(
    "button",
    { type: "button", id: "first-action", class: "quiet", click: () => act(first) },
    first.name,
  );
  if (rest.length === 0) return [button];
  return [
    button,
    menuOf(
      "More actions",
      rest.map((action) => ({ ...action, act: () => act(action) })),
    ),
  ];
}
