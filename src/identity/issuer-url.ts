import { settings } from "../env.ts";

const own = new URL(settings.ISSUER);

/** A DNS name of two labels at least; the last one begins with a letter, so that it is no IPv4 address. */
const PUBLIC_NAME = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Names that stand for something inside a machine or network (RFC 6761, 6762, 8375, 9476, and by custom). */
const INSIDE = /(^|\.)(localhost|localdomain|local|internal|intranet|private|corp|home|lan|alt|onion|arpa)$/;

/**
 * Whether the Worker may fetch this URL for a tenant: https on the usual port, from a host with a public name, spelled
 * in the one way that every parser reads the same. Never an address, this API itself, or anything that carries
 * credentials. An origin of LOCAL_ISSUERS may be fetched as well.
 */
export function isFetchable(text: string): boolean {
  const url = URL.parse(text);
  // A second spelling (an encoded host, a decimal address, a port that goes without saying) is refused as such.
  if (!url || (url.href !== text && url.href !== `${text}/`)) return false;
  if (url.origin === own.origin || url.username || url.password || url.hash) return false;
  if (settings.LOCAL_ISSUERS.includes(url.origin)) return true;
  const { protocol, hostname, port } = url;
  if (hostname === own.hostname || hostname.length > 253) return false;
  return protocol === "https:" && port === "" && PUBLIC_NAME.test(hostname) && !INSIDE.test(hostname);
}

/** Whether a tenant may name this as an issuer: a URL to fetch from, with neither query nor fragment (OIDC Core, 2). */
export const isIssuerUrl = (text: string): boolean => isFetchable(text) && !text.includes("?");
