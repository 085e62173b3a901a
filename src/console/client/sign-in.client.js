import { signIn } from "./api.client.js";
import { field, h } from "./elements.client.js";
import { formOf } from "./form.client.js";
import { enter } from "./frame.client.js";
import { NAME } from "./setup.client.js";

/** Asks who operates: email, password, and the code of their authenticator app. @returns {import("./frame.client.js").View} */
export const signInView = () => ({
  title: "Sign in",
  nodes: [
    h("p", { class: "brand" }, h("b", {}, NAME), " ", h("span", {}, "console")),
    h("h1", {}, "Sign in"),
    h("p", { class: "faint" }, "For the people who operate this deployment."),
    formOf({
      fields: [
        field(
          "Email",
          h("input", { name: "email", type: "email", autocomplete: "username", required: true }),
        ),
        field(
          "Password",
          h("input", {
            name: "password",
            type: "password",
            autocomplete: "current-password",
            required: true,
          }),
        ),
        field(
          "Code",
          h("input", {
            name: "code",
            inputmode: "numeric",
            autocomplete: "one-time-code",
            autocapitalize: "off",
            required: true,
          }),
          "From your authenticator app.",
        ),
      ],
      buttons: [h("button", {}, "Sign in")],
      act: async (given) => {
        // Apps show a code in two halves.
        await signIn({ ...given, code: given["code"]?.replaceAll(/\s/g, "") });
        enter();
      },
    }),
  ],
});
