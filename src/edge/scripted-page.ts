import type { Context } from "hono";
import { html } from "hono/html";

type Html = ReturnType<typeof html>;

/** A page that its script makes. Its files are paths of this origin. */
type Page = {
  title: string;
  script: string;
  stylesheet?: string;
  /** What else is in its head, under the nonce of this answer. */
  head?: (nonce: string) => Html;
  body: Html;
  /** Whether its script makes markup of text. By default the browser lets no text become markup. */
  makesMarkup?: boolean;
};

/**
 * Answers a page that runs and loads only what it names itself, by a nonce for this answer alone, and what that imports. It
 * calls this API and nobody else; its forms are sent by its script; nobody keeps it, frames it or learns where it leads.
 */
export function answerScriptedPage(c: Context, page: Page): Response | Promise<Response> {
  const { title, script, stylesheet, head, body, makesMarkup = false } = page;
  const nonce = crypto.randomUUID();
  c.header("Cache-Control", "no-store");
  c.header("Referrer-Policy", "no-referrer");
  c.header("Cross-Origin-Opener-Policy", "same-origin");
  c.header("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
  c.header(
    "Content-Security-Policy",
    `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; ` +
      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
      (makesMarkup ? "" : "; require-trusted-types-for 'script'; trusted-types 'none'"),
  );
  return c.html(
    html`<!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          <title>${title}</title>
          <link rel="icon" href="data:," />
          ${stylesheet && html`<link rel="stylesheet" nonce="${nonce}" href="${stylesheet}" />`}
          <script type="module" nonce="${nonce}" src="${script}"></script>
          ${head?.(nonce)}
        </head>
        ${body}
      </html>`,
  );
}
