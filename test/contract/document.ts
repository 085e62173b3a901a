import { registerHooks } from "node:module";
import { unstable_readConfig } from "wrangler";
import { makeDatabaseUrls, makeSecrets } from "../../drizzle/variables.ts";

const root = new URL("../..", import.meta.url).pathname;

/** The OpenAPI document as the Worker serves it, without a server, a database or a secret that is worth anything. */
export async function readDocument(): Promise<string> {
  const env = {
    ...unstable_readConfig({ config: `${root}wrangler.toml` }, { hideWarnings: true }).vars,
    ...(await makeSecrets()),
    ...makeDatabaseUrls("localhost"),
    ISSUER: "https://api.example.com",
  };
  const source = `export const env = ${JSON.stringify(env)}; export class DurableObject {}`;
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === "cloudflare:workers"
        ? { url: specifier, format: "module", shortCircuit: true }
        : next(specifier, context),
    load: (url, context, next) =>
      url === "cloudflare:workers" ? { format: "module", source, shortCircuit: true } : next(url, context),
  });
  Object.assign(globalThis, { Cloudflare: { compatibilityFlags: {} } });
  // Named so that the checker does not read them: they are the Worker's, and this is Node's.
  const src = new URL("../../src/", import.meta.url).href;
  const { app } = (await import(`${src}app.ts`)) as { app: unknown };
  const { documentOf } = (await import(`${src}http/document.ts`)) as {
    documentOf: (of: unknown) => Promise<string>;
  };
  return documentOf(app);
}
