import { html } from "hono/html";

/** The page at /docs of the API of this name. Its script fills it with the reference, from /openapi.json. */
export const docsPage = (name: string) => ({
  title: `${name} API`,
  script: "/docs/page.js",
  head: (nonce: string) =>
    html`<meta property="csp-nonce" content="${nonce}" />
      <link rel="preload" as="script" nonce="${nonce}" href="/docs/scalar.js" />`,
  body: html`<body>
    <noscript>
      <p>The reference needs JavaScript. <a href="/openapi.json">openapi.json</a> says the same.</p>
    </noscript>
    <div id="reference"></div>
  </body>`,
  // Scalar draws code and Markdown as markup.
  makesMarkup: true,
});
