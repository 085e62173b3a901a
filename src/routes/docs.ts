import * as v from "valibot";
import swaggerUi from "swagger-ui-dist/package.json" with { type: "json" };
import { factory } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operation } from "../openapi/operation.ts";
import { valid } from "../http/valid.ts";
import { bindings, settings } from "../env.ts";
import { Problem } from "../problem.ts";
import { docsPage } from "./docs-page.ts";

const tag = "Platform";

/** The only files of Swagger UI that are public. Their names tell versions apart, so that each is cached for good. */
const SCRIPT = `swagger-ui-${swaggerUi.version}.js`;
const STYLESHEET = `swagger-ui-${swaggerUi.version}.css`;
const FILES = { [SCRIPT]: "swagger-ui-bundle.js", [STYLESHEET]: "swagger-ui.css" };
const ByFile = v.object({ file: v.picklist(Object.keys(FILES)) });

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
      const { origin } = new URL(c.req.url);
      return c.html(
        docsPage({
          name: settings.API_NAME,
          origin,
          script: `/docs/${SCRIPT}`,
          stylesheet: `/docs/${STYLESHEET}`,
          nonce,
        }),
      );
    },
  )
  .get(
    "/:file",
    floodGuard,
    operation("getDoc", {
      summary: "A script or stylesheet of the page",
      tag,
      answers: { 200: ["text/javascript", "text/css"], 304: null },
      token: false,
      problems: ["not_found"],
    }),
    valid("param", ByFile),
    async (c) => {
      const url = new URL(`/${FILES[c.req.valid("param").file]}`, c.req.url);
      const headers = new Headers();
      const ifNoneMatch = c.req.header("if-none-match");
      if (ifNoneMatch) headers.set("if-none-match", ifNoneMatch);
      // Where wrangler.toml is not in force, as on bare workerd, there are no assets.
      const asset = await bindings.ASSETS?.fetch(url, { headers });
      if (!asset || asset.status >= 400) throw new Problem("not_found");
      for (const name of ["Content-Type", "ETag"]) c.header(name, asset.headers.get(name) ?? undefined);
      c.header("Cache-Control", "public, max-age=31536000, immutable");
      return asset.status === 304 ? c.body(null, 304) : c.body(asset.body ?? "");
    },
  );
