import { remembers } from "../memory.ts";
import type { Decision } from "../policy.ts";

export type Refusal = Extract<Decision, { outcome: "refused" }>;
/** A refusal that the object decided between `askedAt` and `answeredAt`, both in ms. */
export type Denial = { askedAt: number; answeredAt: number; refusal: Refusal };

/** A denial is asked for again after this time, so that a plan that was raised meanwhile is soon noticed. */
const MAX_AGE_MS = 10_000;

/**
 * The refusals that tenants' objects have given, for as long as they are sure to stand: an object promised that
 * nothing of that cost passes before an instant, so until then there is no need to ask it again.
 */
export class Denials {
  /** By tenant, and by the cost that was refused: one of the few that routes have. */
  readonly #byTenant = remembers<Map<number, Denial>>("denials");

  /** When, in ms, the last of them is over. */
  #until = -Infinity;

  /** Whether there may be anything to recall at `now`, in ms, of any tenant. */
  any(now: number): boolean {
    return now < this.#until;
  }

  /** Remembers a refusal of `cost` units, which was asked for and answered at these times, in ms. */
  remember(tenantId: string, cost: number, refusal: Refusal, askedAt: number, answeredAt: number): void {
    const denials = this.#byTenant.get(tenantId) ?? new Map<number, Denial>();
    const denial = { askedAt, answeredAt, refusal };
    this.#byTenant.set(tenantId, denials.set(cost, denial));
    this.#until = Math.max(this.#until, endOf(denial));
  }

  /** What was remembered, as long as the object would repeat it at `now`, in ms; undefined when only it can tell. */
  recall(tenantId: string, cost: number, now: number): Denial | undefined {
    const denials = this.#byTenant.get(tenantId);
    const denial = denials?.get(cost);
    if (!denial) return undefined;
    if (now >= denial.askedAt && now < endOf(denial)) return denial;
    denials?.delete(cost);
    if (denials?.size === 0) this.#byTenant.delete(tenantId);
    return undefined;
  }
}

/** Until the earlier of the instants that the object may have named: nothing is refused that could pass. */
const endOf = ({ askedAt, refusal }: Denial): number => askedAt + Math.min(refusal.retryAfterMs, MAX_AGE_MS);

/**
 * The refusal that the object would give at `now`, in ms, as far as is known here: not what has come back meanwhile. A
 * client is told the later one of the instants that the object may have named, so that waiting until then is enough.
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
