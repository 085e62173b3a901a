import type { Policy } from "../policy.ts";

/**
 * What each plan allows: cost units (1 a request unless a route says otherwise) in any `window` of that many
 * seconds, or in a UTC calendar month. A tenant's own limits, set by an operator, go before these. Before you remove a
 * plan, move its tenants to another one: a tenant whose plan is not here gets 503.
 */
export const PLAN_POLICIES = {
  solo: [
    { name: "second", limit: 20, window: 1 },
    { name: "minute", limit: 300, window: 60 },
    { name: "month", limit: 100_000, window: "month" },
  ],
  startup: [
    { name: "second", limit: 100, window: 1 },
    { name: "minute", limit: 3_000, window: 60 },
    { name: "month", limit: 5_000_000, window: "month" },
  ],
  enterprise: [
    { name: "second", limit: 1_000, window: 1 },
    { name: "minute", limit: 30_000, window: 60 },
  ],
} as const satisfies Record<string, readonly Policy[]>;

/** The plan of a tenant that has just signed up. */
export const SIGNUP_PLAN: keyof typeof PLAN_POLICIES = "solo";

/** For how many days each plan's tenants keep their audit trail; null for ever. */
export const PLAN_AUDIT_DAYS: Record<keyof typeof PLAN_POLICIES, number | null> = {
  solo: 90,
  startup: 365,
  enterprise: null,
};
