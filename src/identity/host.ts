import { settings } from "../env.ts";

const API_HOST = new URL(settings.ISSUER).hostname;
const BASE = `.${settings.BASE_DOMAIN}`;

/**
 * The tenant that a URL's host names, `<slug>.<BASE_DOMAIN>`, by its slug; undefined for the API's own and any other
 * host. It is the client's word: it may narrow what a credential opens, and never opens anything.
 */
export function slugOfHost(url: string): string | undefined {
  if (!settings.BASE_DOMAIN) return undefined;
  const { hostname } = new URL(url);
  return hostname.endsWith(BASE) && hostname !== API_HOST ? hostname.slice(0, -BASE.length) : undefined;
}
