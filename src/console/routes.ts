import * as v from "valibot";
import { factory } from "../context.ts";
import { settings } from "../env.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { answerScriptedPage } from "../edge/scripted-page.ts";
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
    (c) => answerScriptedPage(c, consolePage(settings.API_NAME)),
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
