import { html, raw } from "hono/html";

/** A field of a form. Its name is the JSON pointer to its value in the request, without the first slash. */
export const field = (label: string, name: string, attributes: string, hint = "") => html`
  <label>
    <span>${label}</span>
    <input name="${name}" ${raw(attributes)} />
  </label>
  ${hint && html`<small>${hint}</small>`}
`;

export const email = (label = "Email", autocomplete = "username") =>
  field(label, "email", `type="email" autocomplete="${autocomplete}" required maxlength="254"`);

export const password = (label = "Password", name = "password") =>
  field(label, name, `type="password" autocomplete="current-password" required`);

export const newPassword = (label = "New password") =>
  field(
    label,
    "password",
    `type="password" autocomplete="new-password" required minlength="8"`,
    "8 characters or more. A few words in a row are good.",
  );

export const code = (label: string) =>
  field(label, "code", `inputmode="numeric" autocomplete="one-time-code" autocapitalize="off" required`);

export const recoveryCode = () =>
  field(
    "Recovery code",
    "recovery_code",
    `autocomplete="off" autocapitalize="off" spellcheck="false" required`,
  );

/** What a factor is called. */
export const factorName = (hint = "") =>
  field("Name", "name", `autocomplete="off" required maxlength="100"`, hint);

/** Where a notice is read: a screen reader tells of what is put in. It takes room of its own, and covers nothing. */
export const status = () => html`<p class="notice" role="status"></p>`;

/** One view; account.client.js shows one at a time, by its id. */
export const view = (id: string, title: string, body: unknown) =>
  html`<section id="${id}" class="view" aria-labelledby="${id}-title" hidden>
    <h1 id="${id}-title" tabindex="-1">${title}</h1>
    ${body}
  </section>`;
