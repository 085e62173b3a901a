import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** wrangler's program, for this Node to run. */
export const WRANGLER = join(root, "node_modules/wrangler/bin/wrangler.js");

/** The environment in which wrangler asks nobody for anything, and writes nothing outside the checkout. */
export const OFFLINE = {
  ...process.env,
  WRANGLER_SEND_METRICS: "false",
  // The banner would name a newer wrangler, for which it asks npm's registry.
  WRANGLER_HIDE_BANNER: "true",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  // In the home folder by default, which may not be writable.
  WRANGLER_LOG_PATH: join(root, ".wrangler/logs"),
  WRANGLER_REGISTRY_PATH: join(root, ".wrangler/registry"),
};
