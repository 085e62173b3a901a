import * as v from "valibot";
import { factory } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { answerScriptedPage } from "../edge/scripted-page.ts";
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
    (c) => answerScriptedPage(c, docsPage(settings.API_NAME)),
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
