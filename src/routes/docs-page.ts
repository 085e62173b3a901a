import { html } from "hono/html";

/** `name` is what the API is called; `nonce` is the Content-Security-Policy's. */
type Page = { name: string; nonce: string };

/** The page at /docs: an empty frame. Its script fills it with the reference, from /openapi.json. */
export const docsPage = ({ name, nonce }: Page) =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta property="csp-nonce" content="${nonce}" />
        <title>${name} API</title>
        <link rel="icon" href="data:," />
        <link rel="preload" as="script" nonce="${nonce}" href="/docs/scalar.js" />
        <script type="module" nonce="${nonce}" src="/docs/page.js"></script>
      </head>
      <body>
        <noscript>
          <p>The reference needs JavaScript. <a href="/openapi.json">openapi.json</a> says the same.</p>
        </noscript>
        <div id="reference"></div>
      </body>
    </html>`;
