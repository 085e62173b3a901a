import type { Decision, Policy, Standing } from "../../src/policy.ts";

declare global {
  interface ImportMetaEnv {
    readonly PROPERTY_RUNS?: string;
    /** How much the tests of usage do (docs/usage.md). */
    readonly USAGE_REQUESTS: string;
    readonly USAGE_TENANTS: string;
    readonly USAGE_DAYS: string;
  }
  interface ImportMeta {
    readonly env: ImportMetaEnv;
  }
}

/** How many schedules a property is tried with; more of them: `PROPERTY_RUNS=5000 npm test`. */
export const RUNS = Number(import.meta.env?.PROPERTY_RUNS ?? 300);

type Window = Policy["window"];
type Hit = { at: number; units: number };

/** Midnight UTC of the first day of the month after that of an instant. */
function nextMonth(at: number): number {
  const [year = 0, month = 0] = new Date(at).toISOString().split("-").map(Number);
  const first = month === 12 ? `${year + 1}-01-01` : `${year}-${String(month + 1).padStart(2, "0")}-01`;
  return Date.parse(`${first}T00:00:00Z`);
}

/** When a unit spent at `hit` stops to count. */
const expiry = (window: Window, hit: number): number =>
  window === "month" ? nextMonth(hit) : hit + window * 1000;

/**
 * What the limits must do, written to be read and not to be fast: it keeps every hit. `late` makes it hold each
 * unit that much longer than the window, in ms.
 */
export class IdealLimits {
  #clock = -Infinity;
  readonly #late: (window: number) => number;
  /** By open window; the month is always open. */
  readonly #hits = new Map<Window, Hit[]>([["month", []]]);

  constructor(late: (window: number) => number = () => 0) {
    this.#late = late;
  }

  /** What the ideal answers; nothing is counted before `spend()`. */
  judge(policies: readonly Policy[], cost: number, now: number): Decision {
    this.#tick(policies, now);
    const impossible = policies.filter((policy) => cost > policy.limit);
    if (impossible.length > 0)
      return {
        outcome: "impossible",
        violated: names(impossible),
        standings: this.#standings(policies, now),
      };
    const over = (policy: Policy, at: number): boolean =>
      cost > 0 && this.#used(policy.window, at) + cost > policy.limit;
    const violated = policies.filter((policy) => over(policy, this.#clock));
    if (violated.length === 0) return { outcome: "admitted", standings: this.#standings(policies, now) };
    const instants = policies.flatMap(({ window }) => this.#expiries(window)).sort((a, b) => a - b);
    const fits = instants.find((at) => !policies.some((policy) => over(policy, at))) ?? NaN;
    return {
      outcome: "refused",
      retryAfterMs: fits - now,
      violated: names(violated),
      standings: this.#standings(policies, now),
    };
  }

  /** Judges and, if admitted, spends: what `Limits.decide()` must do. */
  decide(policies: readonly Policy[], cost: number, now: number): Decision {
    const decision = this.judge(policies, cost, now);
    if (decision.outcome !== "admitted") return decision;
    this.spend(cost, now);
    return { outcome: "admitted", standings: this.#standings(policies, now) };
  }

  /** Counts units in every open window. */
  spend(units: number, now: number): void {
    this.#clock = Math.max(this.#clock, now);
    if (units === 0) return;
    for (const [window, hits] of this.#hits) {
      const last = hits.at(-1);
      // What ends at the same instant is one hit: a month would hold thousands.
      if (last && expiry(window, last.at) === expiry(window, this.#clock)) last.units += units;
      else hits.push({ at: this.#clock, units });
    }
  }

  standings(policies: readonly Policy[], now: number): Standing[] {
    this.#tick(policies, now);
    return this.#standings(policies, now);
  }

  /** Opens the windows of the policies, and closes the others once nothing counts. */
  #tick(policies: readonly Policy[], now: number): void {
    this.#clock = Math.max(this.#clock, now);
    for (const { window } of policies) if (!this.#hits.has(window)) this.#hits.set(window, []);
    for (const [window, hits] of this.#hits) {
      const counting = hits.filter(({ at }) => this.#clock < this.#expiry(window, at));
      this.#hits.set(window, counting);
      if (counting.length === 0 && window !== "month" && !policies.some((policy) => policy.window === window))
        this.#hits.delete(window);
    }
  }

  #standings(policies: readonly Policy[], now: number): Standing[] {
    return policies.map(({ name, limit, window }) => {
      const next = window === "month" ? nextMonth(this.#clock) : Math.min(...this.#expiries(window));
      return {
        name,
        limit,
        window,
        remaining: Math.max(0, limit - this.#used(window, this.#clock)),
        resetMs: next === Infinity ? 0 : next - now,
      };
    });
  }

  #used(window: Window, at: number): number {
    let used = 0;
    for (const hit of this.#hits.get(window) ?? []) if (at < this.#expiry(window, hit.at)) used += hit.units;
    return used;
  }

  #expiries(window: Window): number[] {
    return (this.#hits.get(window) ?? []).map(({ at }) => this.#expiry(window, at));
  }

  #expiry(window: Window, hit: number): number {
    return expiry(window, hit) + (window === "month" ? 0 : this.#late(window));
  }
}

const names = (policies: Policy[]): string[] => policies.map(({ name }) => name);

/** The most units in any half-open interval of `window` seconds, or in any UTC month. */
export function mostInAny(window: Window, hits: readonly Hit[]): number {
  let most = 0;
  for (const [index, first] of hits.entries()) {
    let units = 0;
    for (let next = index; next < hits.length; next++) {
      const hit = hits[next];
      if (!hit || hit.at >= expiry(window, first.at)) break;
      units += hit.units;
    }
    most = Math.max(most, units);
  }
  return most;
}
