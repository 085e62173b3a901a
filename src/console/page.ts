import { html } from "hono/html";
import { OPERATOR_ROLES, TAKES } from "../operator.ts";
import { PLAN_POLICIES } from "../product/plans.ts";

/** `name` is what the API is called; `nonce` is the Content-Security-Policy's. */
type Page = { name: string; nonce: string };

/** The page at /operator: an empty frame. What it shows comes from the API, once somebody has signed in. */
export const consolePage = ({ name, nonce }: Page) =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        <title>${name} console</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" nonce="${nonce}" href="/operator/console.css" />
        <script type="module" nonce="${nonce}" src="/operator/console.js"></script>
      </head>
      <body>
        <noscript><p>The console needs JavaScript.</p></noscript>
        <div id="console" data-setup="${JSON.stringify(setupOf(name))}"></div>
        <p id="notice" role="status"></p>
      </body>
    </html>`;

/** What the page cannot ask the API for, without which it would offer what is refused. */
const setupOf = (name: string) => ({ name, plans: PLAN_POLICIES, roles: OPERATOR_ROLES, takes: TAKES });
