import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const home = join(root, ".wrangler/home");

/** wrangler's program, for this Node to run. */
export const WRANGLER = join(root, "node_modules/wrangler/bin/wrangler.js");

/**
 * The variables with which wrangler asks nobody for anything, and writes nothing outside the checkout: a home folder
 * may not be writable. So it does not find a login; a binding that only exists remotely needs CLOUDFLARE_API_TOKEN.
 */
export const OFFLINE = {
  HOME: home,
  XDG_CONFIG_HOME: home,
  WRANGLER_SEND_METRICS: "false",
  // The banner would name a newer wrangler, for which it asks npm's registry.
  WRANGLER_HIDE_BANNER: "true",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
};

/** What wrangler is told by those who may start it: else drizzle/wrangler-alone.cjs ends it. */
export const STARTED = { PARTYWALL_STARTS_WRANGLER: "yes" };
