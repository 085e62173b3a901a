import { html, raw } from "hono/html";
import { linkViews } from "./links.ts";
import { ownViews } from "./own.ts";
import { email, field, newPassword, password, status, view } from "./parts.ts";
import { secondStepViews } from "./second-step.ts";
import { FIELD_TEXTS, GONE_TEXTS, PROBLEM_TEXTS } from "./texts.ts";

/** Data for the script. Nothing in it ends its element. */
const texts = JSON.stringify({ PROBLEM_TEXTS, FIELD_TEXTS, GONE_TEXTS }).replaceAll("<", "\\u003c");

/** `name` is the product's; `hasCookie` is BROWSER_SESSIONS. */
type Page = { name: string; hasCookie: boolean };

/** What somebody sees who is not signed in. */
const entryViews = () => html`
  ${view(
    "sign-in",
    "Sign in",
    html`<form method="post" data-act="sign-in">
        ${email()} ${password()}
        <label id="which-tenant" hidden>
          <span>Workspace</span>
          <select name="tenant" disabled></select>
        </label>
        <button>Sign in</button>
      </form>
      <form method="post" data-act="passkey" data-passkey>
        <button class="quiet">Sign in with a passkey</button>
      </form>
      <p class="links"><a href="#forgot">Forgot your password?</a> <a href="#sign-up">Sign up</a></p>`,
  )}
  ${view(
    "sign-up",
    "Sign up",
    html`<form method="post" data-act="sign-up">
        ${email()} ${newPassword("Password")}
        ${field("Name of your workspace", "tenant/name", `autocomplete="organization" required maxlength="200"`, "Such as your company or team.")}
        ${field("Short name", "tenant/slug", `autocomplete="off" autocapitalize="off" spellcheck="false" required maxlength="63"`, "For addresses: small letters, digits and hyphens.")}
        <button>Sign up</button>
      </form>
      <p class="links"><a href="#sign-in">Sign in instead</a></p>`,
  )}
  ${view(
    "forgot",
    "Set a new password",
    html`<p>We send you a mail with a link, and you choose a new password there.</p>
      <form method="post" data-act="forgot">
        ${email()}
        <button>Send the link</button>
      </form>
      <p class="links"><a href="#sign-in">Back to sign-in</a></p>`,
  )}
`;

/** The page at /account: all its views. Without its script it shows none of them. */
export const accountPage = ({ name, hasCookie }: Page) => ({
  title: name,
  script: "/account/account.js",
  stylesheet: "/account/account.css",
  body: html`<body ${hasCookie ? raw("data-cookie") : ""}>
    <header>${name}</header>
    <noscript><p>This page needs JavaScript. Switch it on, and load the page again.</p></noscript>
    <main>
      <p id="problem" class="fault" role="alert"></p>
      ${status()} ${entryViews()} ${linkViews()} ${secondStepViews()} ${ownViews()}
    </main>
    <script type="application/json" id="texts">
      ${raw(texts)}
    </script>
  </body>`,
});
