import type { Policy } from "../../../src/policy.ts";

/** As src/product/plans.ts. Tests name these plans and their limits. */
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

export const SIGNUP_PLAN: keyof typeof PLAN_POLICIES = "solo";

/** For how many days each plan's tenants keep their audit trail; null for ever. */
export const PLAN_AUDIT_DAYS: Record<keyof typeof PLAN_POLICIES, number | null> = {
  solo: 90,
  startup: 365,
  enterprise: null,
};
