import * as v from "valibot";
import { settings } from "../env.ts";
import { isFreeSlug, Slug } from "../values.ts";

const BASE = settings.BASE_DOMAIN && `.${settings.BASE_DOMAIN}`;

/** What stands before the base domain in a URL's host; undefined for a host that is not under it. */
export function labelUnder(url: string): string | undefined {
  if (!BASE) return undefined;
  // A trailing dot is the root of DNS, not part of the name.
  const host = new URL(url).hostname.replace(/\.+$/, "");
  return host.endsWith(BASE) ? host.slice(0, -BASE.length) : undefined;
}

/** The slug that no tenant's host may have, as it is the API's own host; undefined when that is under another domain. */
export const API_SLUG = labelUnder(settings.ISSUER);

/** The slug of a new tenant, or a new slug: no reserved one. Who has such a slug by now keeps it. */
export const NewSlug = v.pipe(
  Slug,
  v.check((slug) => isFreeSlug(slug) && slug !== API_SLUG, "a slug that is not reserved"),
);
