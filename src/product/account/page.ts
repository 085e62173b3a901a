import { html, raw } from "hono/html";
import source from "./account.client.js" with { type: "text" };
import stylesheet from "./account.client.css" with { type: "text" };

/** Without what is for whoever reads the file, a sixth of what would be sent. */
const script = source.replaceAll(/^ *\/\*\*[^]*?\*\/\n/gm, "");

/** `name` is the product's; `nonce` is the Content-Security-Policy's. */
type Page = { name: string; nonce: string };

/** A field of a form. Its name is the JSON pointer to its value in the request, without the first slash. */
const field = (label: string, name: string, attributes: string, hint = "") => html`
  <label>
    <span>${label}</span>
    <input name="${name}" ${raw(attributes)} />
  </label>
  ${hint && html`<small>${hint}</small>`}
`;

const email = () => field("Email", "email", `type="email" autocomplete="username" required`);
const password = (name = "password") =>
  field("Password", name, `type="password" autocomplete="current-password" required`);
const newPassword = (label = "New password") =>
  field(
    label,
    "password",
    `type="password" autocomplete="new-password" required minlength="8"`,
    "8 characters or more. A few words in a row are good.",
  );
const code = (label: string, attributes = "") =>
  field(
    label,
    "code",
    `inputmode="numeric" autocomplete="one-time-code" autocapitalize="off" required ${attributes}`,
  );
const recoveryCode = () =>
  field(
    "Recovery code",
    "recovery_code",
    `autocomplete="off" autocapitalize="off" spellcheck="false" required`,
  );

/** One view; account.client.js shows one at a time, by its id. */
const view = (id: string, title: string, body: unknown) =>
  html`<section id="${id}" class="view" aria-labelledby="${id}-title" hidden>
    <h1 id="${id}-title" tabindex="-1">${title}</h1>
    ${body}
  </section>`;

/** A link from a mail does nothing until its button is pressed: programs that look for malware open links, too. */
const confirmation = (id: string, title: string, text: string, button: string) =>
  view(
    id,
    title,
    html`<p>${text}</p>
      <form method="post" data-act="${id}"><button>${button}</button></form>`,
  );

/** What signing in and joining by an invitation may ask for next. */
const secondFactor = () => html`
  ${view(
    "factor",
    "Second step",
    html`<p>One more step: show that it is you.</p>
      <form method="post" data-act="factor-passkey" data-method="passkey">
        <button>Use a passkey</button>
      </form>
      <form method="post" data-act="factor-code" data-method="totp">
        ${code("Code from your authenticator app")}
        <button>Use the code</button>
      </form>
      <details data-method="recovery_code">
        <summary>Use a recovery code</summary>
        <form method="post" data-act="factor-recovery">
          ${recoveryCode()}
          <button>Use the recovery code</button>
        </form>
      </details>
      <p class="links"><a href="#sign-in">Start again</a></p>`,
  )}
  ${view(
    "enrol",
    "Add a second step",
    html`<p id="enrol-why">
        This tenant asks its members for more than a password. Choose how you will sign in.
      </p>
      ${enrolment("enrol")}
      <p class="links"><a href="#sign-in">Start again</a></p>`,
  )}
  ${view(
    "app",
    "Add an authenticator app",
    html`<p>
        Open <a id="app-uri" href="#app">this link</a> on a device with an authenticator app, or type the
        secret into the app.
      </p>
      <pre id="app-secret" class="secret" tabindex="0" aria-label="Secret"></pre>
      <p class="row">
        <button type="button" class="quiet" data-copy="app-secret">Copy the secret</button>
        <button type="button" class="quiet" data-copy="app-uri">Copy the link</button>
      </p>
      <form method="post" data-act="app">
        ${code("The code that the app shows")}
        <button>Confirm</button>
      </form>
      <p class="links"><a href="#sign-in">Cancel</a></p>`,
  )}
  ${view(
    "recovery",
    "Your recovery codes",
    html`<p>
        Each of them signs you in once, without your second factor. Keep them where you keep your passwords:
        they are not shown again.
      </p>
      <pre id="recovery-codes" class="secret" tabindex="0" aria-label="Recovery codes"></pre>
      <form method="post" data-act="recovery">
        <div class="row">
          <button type="button" class="quiet" data-copy="recovery-codes">Copy the codes</button>
          <button>I have kept them</button>
        </div>
      </form>`,
  )}
`;

const enrolment = (act: string) => html`
  <form method="post" data-act="${act}">
    ${field("Name", "name", `autocomplete="off" required maxlength="100"`, "So that you know it again, such as “Work laptop”.")}
    <div class="row">
      <button name="type" value="passkey" data-passkey>Add a passkey</button>
      <button name="type" value="totp" class="quiet">Add an authenticator app</button>
    </div>
  </form>
`;

const signedIn = () => html`
  ${view(
    "account",
    "Your account",
    html`<dl id="who"></dl>
      <form method="post" data-act="resend" id="unverified" hidden>
        <p>Your email address is not confirmed yet. Look for the mail with the link.</p>
        <button class="quiet">Send the link again</button>
      </form>
      <div id="tenants" hidden>
        <h2>Other tenants</h2>
        <ul id="tenant-list" class="rows"></ul>
      </div>
      <div id="factors" hidden>
        <h2 id="factors-title" tabindex="-1">Second factors</h2>
        <p id="no-factors">
          You sign in with your password alone. Add a passkey or an authenticator app, and a stolen password
          is not enough.
        </p>
        <ul id="factor-list" class="rows"></ul>
        <details>
          <summary>Add one</summary>
          ${enrolment("add-factor")}
        </details>
        <form method="post" data-act="new-recovery" id="new-recovery" hidden>
          <button class="quiet">Make new recovery codes</button>
        </form>
      </div>
      <h2>Password and address</h2>
      <details>
        <summary>Change your password</summary>
        <form method="post" data-act="change-password">
          <input
            name=""
            type="email"
            autocomplete="username"
            class="unseen"
            tabindex="-1"
            aria-hidden="true"
            readonly
          />
          ${field("Password now", "current_password", `type="password" autocomplete="current-password" required`)}
          ${newPassword()}
          <button>Change the password</button>
        </form>
      </details>
      <details>
        <summary>Change your email address</summary>
        <form method="post" data-act="change-email">
          ${field("New email address", "email", `type="email" autocomplete="email" required`)} ${password()}
          <button>Change the address</button>
        </form>
      </details>
      <h2 id="sessions-title" tabindex="-1">Your sessions</h2>
      <ul id="session-list" class="rows"></ul>
      <button type="button" id="more-sessions" class="quiet" hidden>Show more</button>
      <form method="post" data-act="sign-out"><button class="quiet">Sign out</button></form>`,
  )}
  <dialog id="rename" aria-labelledby="rename-title">
    <form method="dialog">
      <h2 id="rename-title">Rename</h2>
      ${field("Name", "name", `autocomplete="off" required maxlength="100"`)}
      <div class="row">
        <button value="yes">Rename</button><button type="button" class="quiet" data-close>Cancel</button>
      </div>
    </form>
  </dialog>
  <dialog id="remove" aria-labelledby="remove-title">
    <form method="dialog">
      <h2 id="remove-title">Remove this factor?</h2>
      <p>You cannot sign in with <b id="remove-name"></b> after that.</p>
      <div class="row">
        <button value="yes">Remove</button><button type="button" class="quiet" data-close>Cancel</button>
      </div>
    </form>
  </dialog>
  <dialog id="step-up" aria-labelledby="step-up-title">
    <h2 id="step-up-title">Is it still you?</h2>
    <p>This is a change that needs a fresh proof.</p>
    <form method="post" data-act="step-up-passkey" data-method="passkey"><button>Use a passkey</button></form>
    <form method="post" data-act="step-up" data-method="totp">
      ${code("Code from your authenticator app")}
      <button>Use the code</button>
    </form>
    <form method="post" data-act="step-up" data-method="password">
      ${password()}
      <button>Use the password</button>
    </form>
    <details data-method="recovery_code">
      <summary>Use a recovery code</summary>
      <form method="post" data-act="step-up">
        ${recoveryCode()}
        <button>Use the recovery code</button>
      </form>
    </details>
    <button type="button" class="quiet" data-close>Cancel</button>
  </dialog>
`;

/** The page at /account: all its views. Without its script it shows none of them. */
export const accountPage = ({ name, nonce }: Page) =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${name}</title>
        <link rel="icon" href="data:," />
        <style nonce="${nonce}">
          ${raw(stylesheet)}
        </style>
      </head>
      <body>
        <header>${name}</header>
        <noscript><p>This page needs JavaScript.</p></noscript>
        <main>
          <p id="problem" role="alert"></p>
          <p id="notice" role="status"></p>
          ${view(
            "sign-in",
            "Sign in",
            html`<form method="post" data-act="sign-in">
                ${email()} ${password()}
                <label id="which-tenant" hidden>
                  <span>Tenant</span>
                  <select name="tenant" disabled></select>
                </label>
                <button>Sign in</button>
              </form>
              <form method="post" data-act="passkey" data-passkey>
                <button class="quiet">Sign in with a passkey</button>
              </form>
              <p class="links">
                <a href="#forgot">Forgot your password?</a> <a href="#sign-up">Sign up</a>
              </p>`,
          )}
          ${view(
            "sign-up",
            "Sign up",
            html`<form method="post" data-act="sign-up">
                ${email()} ${newPassword("Password")}
                ${field("Name of your tenant", "tenant/name", `autocomplete="organization" required maxlength="200"`, "Such as your company or team.")}
                ${field("Slug", "tenant/slug", `autocomplete="off" autocapitalize="off" spellcheck="false" required`, "Its short name in addresses: small letters, digits and hyphens.")}
                <button>Sign up</button>
              </form>
              <p class="links"><a href="#sign-in">Sign in instead</a></p>`,
          )}
          ${view(
            "forgot",
            "Forgot your password?",
            html`<p>You get a mail with a link to choose a new one.</p>
              <form method="post" data-act="forgot">
                ${email()}
                <button>Send the link</button>
              </form>
              <p class="links"><a href="#sign-in">Back</a></p>`,
          )}
          ${view(
            "reset",
            "Choose a new password",
            html`<form method="post" data-act="reset">
              ${newPassword()}
              <button>Set the password</button>
            </form>`,
          )}
          ${confirmation("verification", "Confirm your email address", "Press the button if you asked for the mail that led you here.", "Confirm the address")}
          ${confirmation("signup", "Finish signing up", "Press the button if you signed up with the address that the mail went to.", "Finish")}
          ${confirmation("email-change", "Confirm your new email address", "Press the button, and you sign in with the new address from now on.", "Use the new address")}
          ${confirmation("email-undo", "Keep your old email address", "If it was not you who changed the address of your account, take the change back.", "Undo the change")}
          ${view(
            "invitation",
            "You are invited",
            html`<p>Accept the invitation to become a member.</p>
              <form method="post" data-act="invitation">
                <fieldset id="invitation-password" hidden disabled>
                  ${newPassword("Choose a password")}
                </fieldset>
                <button>Accept</button>
              </form>`,
          )}
          ${view(
            "done",
            "Done",
            html`<p id="done-text"></p>
              <p class="links"><a href="#sign-in">Go on</a></p>`,
          )}
          ${secondFactor()} ${signedIn()}
        </main>
        <script type="module" nonce="${nonce}">
          ${raw(script)};
        </script>
      </body>
    </html>`;
