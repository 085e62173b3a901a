import * as v from "valibot";
import { factory } from "../context.ts";
import { settings } from "../env.ts";
import { valid } from "../http/valid.ts";
import { operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";
import { FILES, VERSION } from "./files.ts";
import { consolePage } from "./page.ts";

const tag = "Operator";
const ByFile = v.object({
  version: v.pipe(v.string(), v.regex(/^[\da-f]{12}$/)),
  file: v.pipe(v.string(), v.regex(/^[a-z-]{1,40}(\.client)?\.(js|css)$/)),
});

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
    (c) => {
      const nonce = crypto.randomUUID();
      c.header("Cache-Control", "no-store");
      c.header("Referrer-Policy", "no-referrer");
      c.header("Cross-Origin-Opener-Policy", "same-origin");
      c.header("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
      // Only what the page itself names and what that imports, and no text ever becomes markup. Forms are sent by script alone.
      c.header(
        "Content-Security-Policy",
        `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; ` +
          "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
          "require-trusted-types-for 'script'; trusted-types 'none'",
      );
      return c.html(consolePage({ name: settings.API_NAME, base: `/operator/${VERSION}/`, nonce }));
    },
  )
  .get(
    "/:version/:file",
    operation("getConsoleFile", {
      summary: "A script or stylesheet of the console",
      tag,
      answers: { 200: ["text/javascript", "text/css"] },
      token: false,
      problems: ["not_found"],
    }),
    valid("param", ByFile),
    (c) => {
      const { version, file } = c.req.valid("param");
      const text = version === VERSION ? FILES.get(file) : undefined;
      if (text === undefined) throw new Problem("not_found");
      c.header("Content-Type", `text/${file.endsWith(".css") ? "css" : "javascript"}; charset=UTF-8`);
      c.header("Cache-Control", "public, max-age=31536000, immutable");
      return c.body(text);
    },
  );
