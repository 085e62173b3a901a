import * as v from "valibot";
import { factory } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { answerScriptedPage } from "../edge/scripted-page.ts";
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
    (c) =>
      answerScriptedPage(c, accountPage({ name: settings.API_NAME, hasCookie: settings.BROWSER_SESSIONS })),
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
