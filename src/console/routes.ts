import * as v from "valibot";
import { factory } from "../context.ts";
import { settings } from "../env.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { answerAsset } from "../http/asset.ts";
import { valid } from "../http/valid.ts";
import { operation } from "../openapi/operation.ts";
import { consolePage } from "./page.ts";

const tag = "Operator";
const ByFile = v.object({ file: v.picklist(["console.css", "console.js", "uplot.js"]) });

/** The operators' console. Its routes take no token and ask nobody; what the page shows, it asks /v1/operator for. */
export const consoleRoutes = factory
  .createApp()
  .get(
    "/",
    operation("getConsole", {
      summary: "The page where operators look after tenants",
      tag,
      answers: { 200: ["text/html"] },
      token: false,
    }),
    (c) => {
      const nonce = crypto.randomUUID();
      c.header("Cache-Control", "no-store");
      c.header("Referrer-Policy", "no-referrer");
      c.header("Cross-Origin-Opener-Policy", "same-origin");
      c.header("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
      // Only what the page itself names and what that imports, and no text ever becomes markup. Forms are sent by script alone.
      c.header(
        "Content-Security-Policy",
        `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; ` +
          "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
          "require-trusted-types-for 'script'; trusted-types 'none'",
      );
      return c.html(consolePage({ name: settings.API_NAME, nonce }));
    },
  )
  .get(
    "/:file",
    floodGuard,
    operation("getConsoleFile", {
      summary: "A script or stylesheet of the console",
      tag,
      answers: { 200: ["text/javascript", "text/css"], 304: null },
      token: false,
      problems: ["not_found"],
    }),
    valid("param", ByFile),
    (c) => answerAsset(c, `/operator/${c.req.valid("param").file}`),
  );
