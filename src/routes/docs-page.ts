import { html, raw } from "hono/html";

/** What the page at /docs loads and runs; `nonce` is its Content-Security-Policy's. */
type Page = { name: string; origin: string; script: string; stylesheet: string; nonce: string };

/** The page at /docs: what this is, how to get a token, and the reference, to try. */
export const docsPage = ({ name, origin, script, stylesheet, nonce }: Page) =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${name} API</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" nonce="${nonce}" href="${stylesheet}" />
        <style nonce="${nonce}">
          ${raw(STYLE)}
        </style>
      </head>
      <body>
        <header>
          <h1>${name} API</h1>
          <p>
            A multi-tenant backend: many tenants in one database, each with its own data and within its own
            limits. This page describes every route, and sends real requests to
            <code>${origin}</code>.
          </p>
          <h2>Get a token</h2>
          <p>Sign up once, with a tenant of your own:</p>
          <pre tabindex="0"><code>curl ${origin}/v1/signup -H 'content-type: application/json' \\
  -d '{"email": "you@example.com", "password": "a long passphrase",
       "tenant": {"name": "Acme", "slug": "acme"}}'</code></pre>
          <p>Later, sign in:</p>
          <pre tabindex="0"><code>curl ${origin}/v1/sessions -H 'content-type: application/json' \\
  -d '{"email": "you@example.com", "password": "a long passphrase"}'</code></pre>
          <p>
            Both answer with an <code>access_token</code>, good for a few minutes, and a
            <code>refresh_token</code> to get the next one. Send it with every request:
          </p>
          <pre tabindex="0"><code>curl ${origin}/v1/me -H "authorization: Bearer $TOKEN"</code></pre>
          <p>
            To try the routes below, press <b>Authorize</b> and paste an access token or an API key. It stays
            in this page until you leave it. The same reference for programs is
            <a href="/openapi.json">openapi.json</a>.
          </p>
        </header>
        <div id="reference"><noscript>The reference needs JavaScript.</noscript></div>

        <script nonce="${nonce}" src="${script}"></script>
        <script nonce="${nonce}">
          ${raw(SCRIPT)};
        </script>
      </body>
    </html>`;

const SCRIPT = `
const accessible = () => ({
  wrapComponents: {
    // Each field for a token would take the focus, and the last one get it.
    Input: (Input, { React }) => (props) => React.createElement(Input, { ...props, autoFocus: false }),
    // The field for a body has no name.
    TextArea: (TextArea, { React }) => (props) =>
      React.createElement(TextArea, { "aria-label": "Request body", ...props }),
  },
});
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  plugins: [accessible],
  validatorUrl: null,
});
`;

const STYLE = `
body { margin: 0; font-family: sans-serif; line-height: 1.5; }
body > * { max-width: 1460px; margin: 0 auto; padding: 0 20px; box-sizing: border-box; }
header p { max-width: 44rem; }
header a { color: inherit; }
pre { padding: 12px; border-radius: 4px; overflow-x: auto; background: #8882; }
#reference { padding: 0; }
/* The header says it already, or there is nothing to choose; a button within a button cannot be reached by all. */
.swagger-ui :is(.information-container, .schemes-server-container, .response-col_links),
.swagger-ui .opblock-summary .copy-to-clipboard { display: none !important; }
.swagger-ui .scheme-container { margin: 0; padding: 0 0 20px; box-shadow: none; background: none; }
/* Every problem document looks the same. */
.swagger-ui .responses-table:not(.live-responses-table) > tbody > .response:is([data-code^="4"], [data-code^="5"]) .response-col_description > :not(:first-child) { display: none; }
/* Swagger UI's own colours are in places too faint to read. */
.swagger-ui .opblock .opblock-summary-method, .swagger-ui .btn.execute { color: #000; text-shadow: none; }
.swagger-ui .btn:is(.authorize, .cancel), .swagger-ui .btn.authorize span,
.swagger-ui .header-col { color: CanvasText !important; }
@media (width < 640px) {
  /* Side by side, code and description would have room for a few letters a line. */
  .swagger-ui .responses-table :is(tbody, tr, .response-col_status, .response-col_description) { display: block; width: auto; }
  .swagger-ui .responses-table thead { display: none; }
  .swagger-ui .response-col_status { font-weight: bold; }
}
`;
