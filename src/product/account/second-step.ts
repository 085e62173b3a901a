import { html } from "hono/html";
import { code, factorName, recoveryCode, status, view } from "./parts.ts";

/** How a passkey or an app is added. */
export const enrolment = (act: string) => html`
  <form method="post" data-act="${act}">
    ${factorName("So that you know it again, such as “Work laptop”.")}
    <div class="row">
      <button name="type" value="passkey" data-passkey>Add a passkey</button>
      <button name="type" value="totp" class="quiet">Add an authenticator app</button>
    </div>
    <small
      >A passkey is your finger, face or PIN on this device. An app shows a new code every half minute.</small
    >
  </form>
`;

/** What signing in and joining by an invitation may ask for next, and what adding a second step leads to. */
export const secondStepViews = () => html`
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
    html`<p>This workspace asks its members for more than a password. Choose what else you sign in with.</p>
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
      ${status()}
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
        Each code signs you in once when you do not have your second step at hand. Keep them where you keep
        your passwords: they are not shown again.
      </p>
      <pre id="recovery-codes" class="secret" tabindex="0" aria-label="Recovery codes"></pre>
      <form method="post" data-act="recovery">
        <div class="row">
          <button type="button" class="quiet" data-copy="recovery-codes">Copy the codes</button>
          <button>I have kept them</button>
        </div>
        ${status()}
      </form>`,
  )}
`;
