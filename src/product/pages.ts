import * as v from "valibot";
import { factory } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { settings } from "../env.ts";
import { answerAsset } from "../http/asset.ts";
import { valid } from "../http/valid.ts";
import { operation } from "../openapi/operation.ts";
import { accountPage } from "./account/page.ts";

const ByFile = v.object({ file: v.picklist(["account.css", "account.js"]) });

/** The product's own pages. They are mounted at `/`, and take no token: they ask nobody, and what they show calls the API. */
export const productPages = factory
  .createApp()
  .get(
    "/account",
    operation("getAccountPage", {
      summary: "The page where people sign up, sign in and look after their account",
      tag: "Platform",
      answers: { 200: ["text/html"] },
      token: false,
    }),
    (c) => {
      const nonce = crypto.randomUUID();
      c.header("Cache-Control", "no-store");
      c.header("Referrer-Policy", "no-referrer");
      c.header("Cross-Origin-Opener-Policy", "same-origin");
      // Only what the page itself names, and no text ever becomes markup. Its forms are sent by its script alone.
      c.header(
        "Content-Security-Policy",
        `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; ` +
          "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
          "require-trusted-types-for 'script'; trusted-types 'none'",
      );
      return c.html(accountPage({ name: settings.API_NAME, nonce, hasCookie: settings.BROWSER_SESSIONS }));
    },
  )
  .get(
    "/account/:file",
    floodGuard,
    operation("getAccountFile", {
      summary: "A script or stylesheet of the page at /account",
      tag: "Platform",
      answers: { 200: ["text/javascript", "text/css"], 304: null },
      token: false,
      problems: ["not_found"],
    }),
    valid("param", ByFile),
    (c) => answerAsset(c, `/account/${c.req.valid("param").file}`),
  );
