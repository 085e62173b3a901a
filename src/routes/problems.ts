import { createHash } from "node:crypto";
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { html, raw } from "hono/html";
import * as v from "valibot";
import { factory } from "../context.ts";
import { operation } from "../openapi/operation.ts";
import { SECURE_HEADERS } from "../edge/gateway.ts";
import { valid } from "../http/valid.ts";
import { PROBLEMS, type ProblemCode } from "../problem.ts";

const tag = "Platform";
const CODES = Object.keys(PROBLEMS) as ProblemCode[];
const ByCode = v.object({ code: v.picklist(CODES) });

const STYLE =
  ":root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}body{max-width:40rem;margin:4rem auto;padding:0 1rem}";
const styleHash = createHash("sha256").update(STYLE).digest("base64");
const CONTENT_SECURITY_POLICY = `${SECURE_HEADERS["Content-Security-Policy"]}; style-src 'sha256-${styleHash}'`;

type Page = { title: string; text: string; content: ReturnType<typeof html> };

/** Answers a page to those who prefer one, such as browsers, and its text to all others. */
function answerPage(c: Context, { title, text, content }: Page) {
  c.header("Vary", "Accept", { append: true });
  c.header("Cache-Control", "public, max-age=3600");
  const supports = ["text/html", "text/plain"];
  if (accepts(c, { header: "Accept", supports, default: "text/plain" }) === "text/plain")
    return c.text(`${title}\n\n${text}\n`);
  c.header("Content-Security-Policy", CONTENT_SECURITY_POLICY);
  return c.html(
    html`<!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <title>${title}</title>
          ${raw(`<style>${STYLE}</style>`)}
        </head>
        <body>
          <h1>${title}</h1>
          ${content}
        </body>
      </html>`,
  );
}

const titleOf = (code: ProblemCode) => `${PROBLEMS[code].title} (${PROBLEMS[code].status})`;

/** What the `type` of each problem leads to. */
export const problemRoutes = factory
  .createApp()
  .get(
    "/problems/",
    operation("getProblems", {
      summary: "The problems that there are",
      tag,
      answers: { 200: ["text/plain", "text/html"] },
      token: false,
    }),
    (c) =>
      answerPage(c, {
        title: "Problems",
        text: CODES.map((code) => `/problems/${code}  ${titleOf(code)}`).join("\n"),
        content: html`<ul>
          ${CODES.map((code) => html`<li><a href="/problems/${code}">${titleOf(code)}</a></li>`)}
        </ul>`,
      }),
  )
  .get(
    "/problems/:code",
    operation("getProblem", {
      summary: "What a problem means",
      tag,
      answers: { 200: ["text/plain", "text/html"] },
      token: false,
      problems: ["not_found"],
    }),
    valid("param", ByCode),
    (c) => {
      const { code } = c.req.valid("param");
      const { help } = PROBLEMS[code];
      return answerPage(c, {
        title: titleOf(code),
        text: help,
        content: html`<p>${help}</p>
          <p>Its code is <code>${code}</code>. These are <a href="/problems/">all problems</a>.</p>`,
      });
    },
  );
