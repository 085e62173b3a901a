import { registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { unstable_readConfig } from "wrangler";
import { makeDatabaseUrls, makeSecrets } from "../../drizzle/variables.ts";

const root = join(import.meta.dirname, "../..");

/** The OpenAPI document as the Worker serves it, without a server, a database or a secret that is worth anything. */
export async function readDocument(): Promise<string> {
  const env = {
    ...unstable_readConfig({ config: join(root, "wrangler.toml") }, { hideWarnings: true }).vars,
    ...(await makeSecrets()),
    ...makeDatabaseUrls("localhost"),
    ISSUER: "https://api.example.com",
  };
  const stub = `export const env = ${JSON.stringify(env)};
    export class DurableObject {} export class NonRetryableError extends Error {} export const waitUntil = () => undefined;`;
  const isRuntimes = (specifier: string) => specifier.startsWith("cloudflare:");
  registerHooks({
    resolve: (specifier, context, next) =>
      isRuntimes(specifier)
        ? { url: specifier, format: "module", shortCircuit: true }
        : next(specifier, context),
    load: (url, context, next) =>
      isRuntimes(url) ? { format: "module", source: stub, shortCircuit: true } : next(url, context),
  });
  Object.assign(globalThis, { Cloudflare: { compatibilityFlags: {} } });
  // Named so that the checker does not read them: they are the Worker's, and this is Node's.
  const source = (name: string) => pathToFileURL(join(root, "src", name)).href;
  const { app } = (await import(source("app.ts"))) as { app: unknown };
  const { documentOf } = (await import(source("openapi/document.ts"))) as {
    documentOf: (of: unknown) => Promise<string>;
  };
  return documentOf(app);
}
