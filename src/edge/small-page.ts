import { createHash } from "node:crypto";
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { html, raw } from "hono/html";
import { SECURE_HEADERS } from "./gateway.ts";

const STYLE =
  ":root{color-scheme:light dark;background:light-dark(#fff,#121212);font:1rem/1.5 system-ui,sans-serif}body{max-width:40rem;margin:4rem auto;padding:0 1rem}" +
  "a{color:light-dark(#0550ae,#79c0ff)}";
const styleHash = createHash("sha256").update(STYLE).digest("base64");
const CONTENT_SECURITY_POLICY = `${SECURE_HEADERS["Content-Security-Policy"]}; style-src 'sha256-${styleHash}'`;

/** A page without a script. Its title is its heading, too. */
type Page = { title: string; content: ReturnType<typeof html> };

/** Answers the page to those who prefer one, such as browsers, and to all others what `otherwise` does, of this media type. */
export function answerPage(
  c: Context,
  { title, content }: Page,
  type: string,
  otherwise: () => Response,
): Response | Promise<Response> {
  c.header("Vary", "Accept", { append: true });
  c.header("Cache-Control", "public, max-age=3600");
  if (accepts(c, { header: "Accept", supports: ["text/html", type], default: type }) === type)
    return otherwise();
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
          <main>
            <h1>${title}</h1>
            ${content}
          </main>
        </body>
      </html>`,
  );
}
