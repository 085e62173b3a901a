import type { Context } from "hono";
import { html } from "hono/html";
import * as v from "valibot";
import { factory } from "../context.ts";
import { operation } from "../openapi/operation.ts";
import { answerPage } from "../edge/small-page.ts";
import { valid } from "../http/valid.ts";
import { PROBLEMS, type ProblemCode } from "../problem.ts";

const tag = "Platform";
const CODES = Object.keys(PROBLEMS) as ProblemCode[];
const ByCode = v.object({ code: v.picklist(CODES) });

type Text = { title: string; text: string; content: ReturnType<typeof html> };
const answer = (c: Context, { text, ...page }: Text) =>
  answerPage(c, page, "text/plain", () => c.text(`${page.title}\n\n${text}\n`));

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
      answer(c, {
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
      return answer(c, {
        title: titleOf(code),
        text: help,
        content: html`<p>${help}</p>
          <p>Its code is <code>${code}</code>. These are <a href="/problems/">all problems</a>.</p>`,
      });
    },
  );
