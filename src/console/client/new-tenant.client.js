import { may, send } from "./api.client.js";
import { choice, empty, field, h, say } from "./elements.client.js";
import { named } from "./figures.client.js";
import { formOf } from "./form.client.js";
import { go } from "./frame.client.js";
import { PLANS } from "./setup.client.js";

const TITLE = "Create a tenant";

/** @returns {import("./frame.client.js").View} */
export function newTenantView() {
  if (!may("createTenant"))
    return { title: TITLE, nodes: [h("h1", {}, TITLE), empty("Your role does not allow this")] };
  const name = h("input", { name: "name", required: true, maxlength: 100, autocomplete: "off" });
  const slug = h("input", {
    name: "slug",
    required: true,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  name.addEventListener("input", () => {
    const words =
      name.value
        .normalize("NFKD")
        .toLowerCase()
        .match(/[a-z0-9]+/g) ?? [];
    // Until somebody writes another one.
    slug.defaultValue = words.join("-").slice(0, 63);
  });
  const form = formOf({
    look: "card narrow",
    fields: [
      field("Name", name),
      field("Slug", slug, "Its short name in addresses: small letters, digits and hyphens."),
      field(
        "Plan",
        choice(
          { name: "plan" },
          Object.keys(PLANS).map((plan) => [plan, named(plan)]),
        ),
      ),
      field(
        "Email of the first owner",
        h("input", { name: "owner_email", type: "email", required: true, autocomplete: "off" }),
        "They are sent an invitation.",
      ),
      field(
        "Reason",
        h("input", { name: "reason", maxlength: 500, autocomplete: "off" }),
        "If there is one to keep.",
      ),
    ],
    buttons: [
      h("button", {}, "Create the tenant"),
      h("a", { href: "#/tenants", class: "button quiet" }, "Cancel"),
    ],
    act: async ({ reason, ...given }) => {
      /** @type {{ id: string }} */
      const { id } = await send("POST", "/v1/operator/tenants", { ...given, ...(reason && { reason }) });
      go(`/tenants/${id}`);
      say(`${given["name"]} was created, and ${given["owner_email"]} invited.`);
    },
  });
  return { title: TITLE, nodes: [h("h1", {}, TITLE), form] };
}
