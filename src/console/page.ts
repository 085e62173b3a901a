import { html } from "hono/html";
import { OPERATOR_ROLES, TAKES } from "../operator.ts";
import { PLAN_POLICIES } from "../product/plans.ts";

/** The page at /operator: an empty frame. What it shows comes from the API, once somebody has signed in. */
export const consolePage = (name: string) => ({
  title: `${name} console`,
  script: "/operator/console.js",
  stylesheet: "/operator/console.css",
  head: () => html`<meta name="robots" content="noindex" />`,
  body: html`<body>
    <noscript><p>The console needs JavaScript.</p></noscript>
    <div id="console" data-setup="${JSON.stringify(setupOf(name))}"></div>
    <p id="notice" role="status"></p>
  </body>`,
});

/** What the page cannot ask the API for, without which it would offer what is refused. */
const setupOf = (name: string) => ({ name, plans: PLAN_POLICIES, roles: OPERATOR_ROLES, takes: TAKES });
