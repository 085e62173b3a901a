import type { Context } from "hono";
import type { Edge } from "../context.ts";

const MAX_USER_AGENT = 200;

/** The client's IPv4 address, or the first half of its IPv6 address: the client may choose the second half freely. */
export function networkOf(c: Context<Edge>): string {
  const address = c.req.header("cf-connecting-ip") ?? "unknown";
  if (!address.includes(":")) return address;
  const [head = [], tail = []] = address.split("::").map((groups) => groups.split(":").filter(Boolean));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => "0");
  return [...head, ...zeros, ...tail].slice(0, 4).join(":");
}

/** From where a session is started. Cloudflare says the country; elsewhere it is not known. */
export function fromOf(c: Context<Edge>): { userAgent: string; country: string | null } {
  const country = c.req.raw.cf?.country;
  return { userAgent: userAgent(c), country: typeof country === "string" ? country : null };
}

/** The client's User-Agent, by which a user tells their sessions apart; never cut in the middle of a character. */
export const userAgent = (c: Context<Edge>) =>
  (c.req.header("user-agent") ?? "").slice(0, MAX_USER_AGENT).replace(/[\uD800-\uDBFF]$/, "");
