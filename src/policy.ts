/** At most `limit` cost units in any half-open interval of `window` seconds, or in a UTC calendar month. */
export type Policy = { readonly name: string; readonly limit: number; readonly window: number | "month" };

/** `resetMs`: ms until the next unit comes back, 0 when none is used; for a month, ms until it ends. */
export type Standing = {
  name: string;
  limit: number;
  window: number | "month";
  remaining: number;
  resetMs: number;
};

/**
 * `retryAfterMs` is honest: if nobody else spends, the request is refused at every earlier instant and admitted
 * at exactly that one. "impossible" is a cost above a limit, which no waiting helps.
 */
export type Decision =
  | { outcome: "admitted"; standings: Standing[] }
  | { outcome: "refused"; retryAfterMs: number; violated: string[]; standings: Standing[] }
  | { outcome: "impossible"; violated: string[]; standings: Standing[] };
