import type { Standing } from "../policy.ts";

// Structured fields (RFC 9651), written out: a policy's name is restricted to what needs no escaping.

/** `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11: `q` cost units in `w` s. `now`, in ms, is for months. */
export function rateLimitPolicy(standings: readonly Standing[], now: number): string {
  return standings
    .map(
      ({ name, limit, window }) => `"${name}";q=${limit};w=${window === "month" ? monthLength(now) : window}`,
    )
    .join(", ");
}

/** `RateLimit` of the same draft: `r` cost units remain, and more come back in `t` seconds. */
export function rateLimit(standings: readonly Standing[]): string {
  return standings
    .map(({ name, remaining, resetMs }) => `"${name}";r=${remaining};t=${Math.ceil(resetMs / 1000)}`)
    .join(", ");
}

/** `Retry-After` in whole seconds: waiting so long is enough. */
export const retryAfter = ({ retryAfterMs }: { retryAfterMs: number }) =>
  String(Math.ceil(retryAfterMs / 1000));

/** The seconds of the UTC month that `now`, in ms, lies in. */
function monthLength(now: number): number {
  const date = new Date(now);
  return 86_400 * new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
}
