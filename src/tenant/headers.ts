import { serializeList } from "structured-headers";
import type { Standing } from "./limits.ts";

/**
 * `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11: one item a policy, `q` and `r` in
 * cost units, `w` and `t` in whole seconds. `now` is in ms and gives a month its length.
 */
export function rateLimitHeaders(standings: readonly Standing[], now: number): Record<string, string> {
  const policy = standings.map(({ name, limit, window }) =>
    item(name, { q: limit, w: window === "month" ? monthLength(now) : window }),
  );
  const left = standings.map(({ name, remaining, resetMs }) =>
    item(name, { r: remaining, t: Math.ceil(resetMs / 1000) }),
  );
  return { "ratelimit-policy": serializeList(policy), ratelimit: serializeList(left) };
}

const item = (name: string, values: Record<string, number>): [string, Map<string, number>] => [
  name,
  new Map(Object.entries(values)),
];

/** The seconds of the UTC month that `now`, in ms, lies in. */
function monthLength(now: number): number {
  const date = new Date(now);
  return 86_400 * new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
}
