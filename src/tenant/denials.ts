import { BoundedMap } from "../bounded-map.ts";
import type { Decision } from "./limits.ts";

export type Refusal = Extract<Decision, { outcome: "refused" }>;
/** A refusal that the object decided between `askedAt` and `answeredAt`, both in ms. */
export type Denial = { askedAt: number; answeredAt: number; refusal: Refusal };

/** Tenants whose denials are remembered in one isolate. Forgetting one costs a call to the object, nothing else. */
const MAX_TENANTS = 10_000;

/** A denial is asked for again after this time, so that a plan that was raised meanwhile is soon noticed. */
const MAX_AGE_MS = 10_000;

/**
 * The refusals that tenants' objects have given, for as long as they are sure to stand: an object promised that
 * nothing of that cost passes before an instant, so until then there is no need to ask it again.
 */
export class Denials {
  /** By tenant, and by the cost that was refused: one of the few that routes have. */
  readonly #byTenant = new BoundedMap<string, Map<number, Denial>>(MAX_TENANTS);

  /** Whether there is nothing to recall, of any tenant. */
  get none(): boolean {
    return this.#byTenant.size === 0;
  }

  /** Remembers a refusal of `cost` units, which was asked for and answered at these times, in ms. */
  remember(tenantId: string, cost: number, refusal: Refusal, askedAt: number, answeredAt: number): void {
    const denials = this.#byTenant.get(tenantId) ?? new Map<number, Denial>();
    this.#byTenant.set(tenantId, denials.set(cost, { askedAt, answeredAt, refusal }));
  }

  /** What was remembered, as long as the object would repeat it at `now`, in ms; undefined when only it can tell. */
  recall(tenantId: string, cost: number, now: number): Denial | undefined {
    const denials = this.#byTenant.get(tenantId);
    const denial = denials?.get(cost);
    if (!denial) return undefined;
    const { askedAt, refusal } = denial;
    // Until the earlier of the instants that the object may have named: nothing is refused that could pass.
    if (now >= askedAt && now < askedAt + Math.min(refusal.retryAfterMs, MAX_AGE_MS)) return denial;
    denials?.delete(cost);
    if (denials?.size === 0) this.#byTenant.delete(tenantId);
    return undefined;
  }
}

/**
 * The refusal that the object would give at `now`, in ms. A client is told the later one of the instants that the
 * object may have named, so that waiting until then is enough.
 */
export function refusalAt({ answeredAt, refusal }: Denial, now: number): Refusal {
  const passed = Math.max(0, now - answeredAt);
  return {
    ...refusal,
    retryAfterMs: refusal.retryAfterMs - passed,
    standings: refusal.standings.map((standing) =>
      Object.assign({}, standing, { resetMs: Math.max(0, standing.resetMs - passed) }),
    ),
  };
}
