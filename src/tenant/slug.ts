import * as v from "valibot";
import { settings } from "../env.ts";
import { Slug } from "../values.ts";

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

/** Host labels that are, or may become, the deployment's own, or that programs look up by themselves. */
const RESERVED = new Set(
  (
    "www api app admin operator console docs help support status blog auth login account billing static assets cdn " +
    "dev test staging internal mail smtp imap pop mx ns ns1 ns2 ftp localhost autoconfig autodiscover wpad"
  ).split(" "),
);

/**
 * The slug of a new tenant, or a new slug: no reserved one, and none with hyphens in the third and fourth place, which
 * IDNA gives a meaning (RFC 5891, 4.2.3.1): `xn--…` shows as other letters. Who has such a slug by now keeps it.
 */
export const NewSlug = v.pipe(
  Slug,
  v.check(
    (slug) => !RESERVED.has(slug) && slug !== API_SLUG && !slug.startsWith("--", 2),
    "a slug that is not reserved",
  ),
);
