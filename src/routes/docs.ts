import * as v from "valibot";
import { factory } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operation } from "../openapi/operation.ts";
import { answerAsset } from "../http/asset.ts";
import { valid } from "../http/valid.ts";
import { settings } from "../env.ts";
import { docsPage } from "./docs-page.ts";

const tag = "Platform";

const ByFile = v.object({ file: v.picklist(["page.js", "scalar.js"]) });

/** Where people read and try the API. */
export const docsRoutes = factory
  .createApp()
  .get(
    "/",
    operation("getDocs", {
      summary: "This page, to read and try the API",
      tag,
      answers: { 200: ["text/html"] },
      token: false,
    }),
    (c) => {
      const nonce = crypto.randomUUID();
      c.header("Cache-Control", "no-store");
      // Nothing from elsewhere, and of what is here only what the page itself names.
      c.header(
        "Content-Security-Policy",
        `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; ` +
          "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      );
      return c.html(docsPage({ name: settings.API_NAME, nonce }));
    },
  )
  .get(
    "/:file",
    floodGuard,
    operation("getDoc", {
      summary: "A script of the page at /docs",
      tag,
      answers: { 200: ["text/javascript"], 304: null },
      token: false,
      problems: ["not_found"],
    }),
    valid("param", ByFile),
    (c) => answerAsset(c, `/docs/${c.req.valid("param").file}`),
  );
