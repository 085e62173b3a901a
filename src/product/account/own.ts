import { html } from "hono/html";
import { code, email, factorName, newPassword, password, recoveryCode, status, view } from "./parts.ts";
import { enrolment } from "./second-step.ts";

const factors = () => html`
  <div id="factors" hidden>
    <h2 id="factors-title" tabindex="-1">Two-step sign-in</h2>
    <p id="no-factors">
      You sign in with your password alone. Add a passkey or an authenticator app, and a stolen password is
      not enough.
    </p>
    ${status()}
    <ul id="factor-list" class="rows"></ul>
    <details>
      <summary>Add a passkey or an app</summary>
      ${enrolment("add-factor")}
    </details>
    <form method="post" data-act="new-recovery" id="new-recovery" hidden>
      <button class="quiet">Make new recovery codes</button>
      <small>Those that you have do not work any more then.</small>
    </form>
  </div>
`;

const passwordAndAddress = () => html`
  <div id="own">
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
        ${password("Password now", "current_password")} ${newPassword()}
        <button>Change the password</button>
      </form>
    </details>
    <details>
      <summary>Change your email address</summary>
      <form method="post" data-act="change-email">
        <p>We send a mail to the new address. Open its link, and you sign in with it.</p>
        ${email("New email address", "email")} ${password()}
        <button>Change the address</button>
      </form>
    </details>
  </div>
`;

const support = () => html`
  <div id="support" hidden>
    <h2 id="support-title" tabindex="-1">Support</h2>
    <p id="support-mode"></p>
    ${status()}
    <ul id="support-list" class="rows"></ul>
    <details id="support-change">
      <summary>Change who may look in</summary>
      <form method="post" data-act="support-mode">
        <label>
          <span>The people who run this service may look in</span>
          <select name="mode">
            <option value="off">Never</option>
            <option value="ask">When an owner lets them in</option>
            <option value="on">Without asking</option>
          </select>
        </label>
        <button>Save</button>
      </form>
    </details>
  </div>
`;

const dialogs = () => html`
  <dialog id="rename" aria-labelledby="rename-title">
    <form method="dialog">
      <h2 id="rename-title">Rename</h2>
      ${factorName()}
      <div class="row">
        <button value="yes">Rename</button><button type="button" class="quiet" data-close>Cancel</button>
      </div>
    </form>
  </dialog>
  <dialog id="remove" aria-labelledby="remove-title">
    <form method="dialog">
      <h2 id="remove-title">Remove it?</h2>
      <p>You cannot sign in with it after that.</p>
      <p id="remove-last">
        It is your last one. Your password alone signs you in then, and your recovery codes go.
      </p>
      <div class="row">
        <button value="yes">Remove</button>
        <button type="button" class="quiet" data-close>Cancel</button>
      </div>
    </form>
  </dialog>
  <dialog id="step-up" aria-labelledby="step-up-title" aria-describedby="step-up-why">
    <h2 id="step-up-title" tabindex="-1">Is it still you?</h2>
    <p id="step-up-why" aria-live="polite"></p>
    <form method="post" data-act="step-up-passkey" data-method="passkey">
      <button>Use a passkey</button>
    </form>
    <form method="post" data-act="step-up-code" data-method="totp">
      ${code("Code from your authenticator app")}
      <button>Use the code</button>
    </form>
    <form method="post" data-act="step-up-password" data-method="password">
      ${password()}
      <button>Use the password</button>
    </form>
    <details data-method="recovery_code">
      <summary>Use a recovery code</summary>
      <form method="post" data-act="step-up-recovery">
        ${recoveryCode()}
        <button>Use the recovery code</button>
      </form>
    </details>
    <button type="button" class="quiet" data-close>Cancel</button>
  </dialog>
`;

/** The account of who is signed in. */
export const ownViews = () => html`
  ${view(
    "account",
    "Your account",
    html`<dl id="who"></dl>
      <form method="post" data-act="resend" id="unverified" hidden>
        <p>Confirm your email address: open the link in the mail that we sent to it.</p>
        <button class="quiet">Send the link again</button>
        ${status()}
      </form>
      <form method="post" data-act="add-email" id="no-address" hidden>
        <p>
          Your account has no email address: the one that it had belongs to somebody else, who has shown that
          they read its mail. Add one of your own, to be able to sign in again.
        </p>
        ${email("Your email address")} ${newPassword("Choose a password")}
        <button>Add the address</button>
      </form>
      <div id="tenants" hidden>
        <h2>Other workspaces</h2>
        <ul id="tenant-list" class="rows"></ul>
      </div>
      ${factors()} ${passwordAndAddress()} ${support()}
      <div id="sessions">
        <h2 id="sessions-title" tabindex="-1">Where you are signed in</h2>
        ${status()}
        <ul id="session-list" class="rows"></ul>
        <button type="button" id="more-sessions" class="quiet" hidden>Show more</button>
      </div>
      <form method="post" data-act="sign-out"><button class="quiet">Sign out</button></form>`,
  )}
  ${dialogs()}
`;
