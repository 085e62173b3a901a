import { endsAt, me, send } from "./api.client.js";
import { facts, field, h, say, section } from "./elements.client.js";
import { clock, named } from "./figures.client.js";
import { formOf } from "./form.client.js";

const MIN_PASSWORD = 8;
const MAX_PASSWORD = 256;

/** @param {string} name @param {string} autocomplete */
const passwordField = (name, autocomplete) =>
  h("input", { name, type: "password", autocomplete, required: true, maxlength: MAX_PASSWORD });

/** Who is signed in, until when, and how they change their password. @returns {import("./frame.client.js").View} */
export function selfView() {
  const operator = me();
  const title = "You";
  const form = formOf({
    look: "stack",
    fields: [
      field("Password now", passwordField("current_password", "current-password")),
      field(
        "New password",
        passwordField("password", "new-password"),
        `At least ${MIN_PASSWORD} characters.`,
      ),
      field("New password again", passwordField("again", "new-password")),
      field(
        "Code",
        h("input", {
          name: "code",
          inputmode: "numeric",
          autocomplete: "one-time-code",
          autocapitalize: "off",
          required: true,
        }),
        "From your authenticator app: one that you have not used yet.",
      ),
    ],
    buttons: [h("button", {}, "Change the password")],
    check: ({ password, again }) =>
      password === again ? [] : [{ pointer: "/again", detail: "This is not the same." }],
    act: async ({ current_password, password, code }) => {
      const proof = { current_password, code: code?.replaceAll(/\s/g, "") };
      await send("POST", "/v1/operator/me/password", { ...proof, password });
      form.reset();
      say("Your password is changed. Your other sessions have ended, and your access to tenants.");
    },
  });
  return {
    title,
    nodes: [
      h("h1", {}, title),
      h(
        "div",
        { class: "stack narrow" },
        section(
          "Signed in",
          facts([
            ["Email", operator?.email],
            ["Role", named(operator?.role ?? "")],
            ["Until", clock(new Date(endsAt()).toISOString())],
          ]),
        ),
        section("Password", form),
      ),
    ],
  };
}
