import { settings } from "../env.ts";

const BASE = settings.BASE_DOMAIN && `.${settings.BASE_DOMAIN}`;

/** What stands before the base domain. A trailing dot, the root of DNS, makes no other host. */
function slugIn(url: string): string | undefined {
  const host = new URL(url).hostname.replace(/\.+$/, "");
  return BASE && host.endsWith(BASE) ? host.slice(0, -BASE.length) : undefined;
}

/** The slug that no tenant's host may have, as it is the API's own host; undefined when that is under another domain. */
export const API_SLUG = slugIn(settings.ISSUER);

/**
 * The tenant that a URL's host names, `<slug>.<BASE_DOMAIN>`, by its slug; undefined for the API's own and any other
 * host. It is the client's word: it may narrow what a credential opens, and never opens anything.
 */
export function slugOfHost(url: string): string | undefined {
  const slug = slugIn(url);
  return slug === API_SLUG ? undefined : slug;
}
