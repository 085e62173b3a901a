import { html } from "hono/html";
import * as v from "valibot";
import { factory } from "../context.ts";
import { answerPage } from "../edge/small-page.ts";
import { settings } from "../env.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";

const Home = v.object({
  name: v.string(),
  docs: v.string(),
  openapi: v.string(),
  account: v.string(),
  health: v.string(),
});
nameSchemas({ Home });

/** What somebody finds who opens the API's address: a small page in a browser, and the same as JSON for programs. */
export const homeRoutes = factory.createApp().get(
  "/",
  operation("getHome", {
    summary: "Where to go from here: JSON, or a page for a browser",
    tag: "Platform",
    answers: { 200: [Home, "text/html"] },
    token: false,
  }),
  (c) => {
    const { origin } = new URL(c.req.url);
    const places = {
      name: settings.API_NAME,
      docs: `${origin}/docs`,
      openapi: `${origin}/openapi.json`,
      account: settings.ACCOUNT_URL || `${origin}/account`,
      health: `${origin}/health`,
    };
    const content = html`<p>This address is an API. From here you can go to:</p>
      <ul>
        <li><a href="${places.docs}">the reference</a>, to read every route and try it;</li>
        <li><a href="${places.account}">your account</a>, to sign up, sign in and look after it;</li>
        <li><a href="${places.openapi}">openapi.json</a>, the same reference for programs;</li>
        <li><a href="${places.health}">health</a>: whether the service is up.</li>
      </ul>`;
    return answerPage(c, { title: places.name, content }, "application/json", () => c.json(places));
  },
);
