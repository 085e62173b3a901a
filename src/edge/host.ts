import { API_SLUG, labelUnder } from "../tenant/slug.ts";

/**
 * The tenant that a URL's host names, `<slug>.<BASE_DOMAIN>`, by its slug; undefined for the API's own and any other
 * host. It is the client's word: it may narrow what a credential opens, and never opens anything.
 */
export function slugOfHost(url: string): string | undefined {
  const slug = labelUnder(url);
  return slug === API_SLUG ? undefined : slug;
}
