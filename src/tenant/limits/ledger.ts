import type { Decision, Policy, Standing } from "../../policy.ts";
import { Limits, type LimitsSnapshot } from "./limits.ts";

/**
 * What is stored of a tenant's limits, one row for all policies: everything up to the snapshot is exact, and at
 * most `reserve` units were admitted after it.
 */
export type Row = { readonly snapshot: LimitsSnapshot; readonly reserve: number };

/**
 * A decision and the mark of its units: an admission may be answered once `covers(mark)` holds. `wait` says that
 * it does not hold yet, because the reserve that is on disk is used up.
 */
export type Entry = { decision: Decision; mark: number; wait: boolean };

/**
 * The exact state is written this long after the last unit, before hibernation at 10 s. Below 7.5 s, the rows of a
 * tenant that pauses on purpose (at most 8 such rows a minute, and 8 to wake up) would no longer fit beside RENEWALS.
 */
export const IDLE_MS = 8000;

/** Renewals a minute at most. With 16 rows for pauses and one for the object's alarm: 64 rows a minute, whatever the traffic. */
const RENEWALS = 47;

/** The reserve is this share of what a minute can admit: what a crash may cost a tenant. */
const RESERVES = 32;

/**
 * The limits of one tenant and the protocol that keeps them across a crash: units are admitted only on a reserve
 * that is already on disk, and a restart counts that reserve as spent. Pure: its owner writes the rows that `due()`
 * hands out, one at a time, and says what became of each.
 */
export class Ledger {
  readonly #limits: Limits;
  #opened = 0;
  #policies: readonly Policy[] = [];
  /** Units to reserve with the next row, and units after which that row is due. */
  #reserve: number;
  #renewal = Infinity;

  /** Units admitted since the start of this ledger; each mark is one of its values. */
  #spent = 0;
  /** The mark up to which units survive a crash, by whichever row it leaves on disk. */
  #covered = 0;
  /** The last row known to be on disk: the mark of its snapshot, and its reserve. */
  #stored: { readonly at: number; readonly reserve: number };
  #writing: { readonly at: number; readonly reserve: number; covers: number } | undefined;
  #pausedAt: number;

  /** Goes on from the stored row, whose reserve counts as spent at `now`, in ms: no unit was spent later. */
  constructor(row: Row | undefined, now: number) {
    this.#limits = new Limits(row?.snapshot);
    this.#reserve = row?.reserve ?? 0;
    this.#stored = { at: 0, reserve: this.#reserve };
    this.#pausedAt = now;
    if (this.#reserve > 0) this.#limits.charge(this.#reserve, now);
  }

  /** Decides at `now`, in ms, as `Limits.decide()` does, and counts what it admits at once, answered or not. */
  decide(policies: readonly Policy[], cost: number, now: number): Entry {
    if (policies !== this.#policies) this.#measure(policies);
    const decision = this.#limits.decide(policies, cost, now);
    if (this.#limits.opened !== this.#opened) this.#uncover();
    if (decision.outcome !== "admitted" || cost === 0) return { decision, mark: 0, wait: false };
    this.#spent += cost;
    this.#pausedAt = now;
    return { decision, mark: this.#spent, wait: !this.covers(this.#spent) };
  }

  /** What is left of each policy at `now`, in ms. Spends nothing and never waits. */
  standings(policies: readonly Policy[], now: number): Standing[] {
    return this.#limits.standings(policies, now);
  }

  /** Whether the units up to this mark would be counted after a crash at this moment. */
  covers(mark: number): boolean {
    return mark <= this.#covered;
  }

  /**
   * The row to write at `now`, in ms, if one is due and none is being written. It then counts as being written until
   * `confirmed()` or `failed()`. At most 64 rows in any minute while the policies stay the same and no write fails.
   */
  due(now: number): Row | undefined {
    if (this.#writing) return undefined;
    const unwritten = this.#spent - this.#stored.at;
    const waited = this.#spent > this.#covered;
    // After a change to smaller limits, a crash must not cost a share of the larger ones.
    if (waited || unwritten >= this.#renewal || this.#stored.reserve > this.#reserve)
      return this.#write(this.#reserve);
    return this.idleIn(now) === 0 ? this.#write(0) : undefined;
  }

  /** The row of this moment although none is due, for what is stored beside it; undefined while one is being written. */
  extra(): Row | undefined {
    if (this.#writing) return undefined;
    return this.#write(this.#isExact ? 0 : this.#reserve);
  }

  /** Milliseconds until `due()` hands out the exact state with no reserve; ∞ when that is what the disk holds. */
  idleIn(now: number): number {
    return this.#isExact || this.#writing ? Infinity : Math.max(0, this.#pausedAt + IDLE_MS - now);
  }

  /** The row being written is on disk. Marks that are covered now may be answered; ask `due()` for the next row. */
  confirmed(): void {
    if (!this.#writing) return;
    this.#stored = this.#writing;
    this.#covered = this.#writing.covers;
    this.#writing = undefined;
  }

  /**
   * The row being written may be on disk or not. Requests whose marks are not covered must fail; their units stay
   * counted, since that row may tell of them. `now` is in ms: a failed idle row is tried again after a pause.
   */
  failed(now: number): void {
    this.#writing = undefined;
    this.#pausedAt = now;
  }

  /** Whether the disk holds the exact state. */
  get #isExact(): boolean {
    return this.#stored.reserve === 0 && this.#stored.at === this.#spent;
  }

  /** The row of this moment, with so many units in reserve; it is being written from here on. */
  #write(reserve: number): Row {
    const covers = this.#spent + reserve;
    this.#writing = { at: this.#spent, reserve, covers };
    // A crash leaves this row or the one before: only what both allow may be answered.
    this.#covered = Math.min(this.#covered, covers);
    return { snapshot: this.#limits.snapshot(), reserve };
  }

  /** A row knows nothing of a counter opened after it, so its reserve is void from here on. */
  #uncover(): void {
    this.#opened = this.#limits.opened;
    this.#covered = Math.min(this.#covered, this.#spent);
    if (this.#writing) this.#writing.covers = Math.min(this.#writing.covers, this.#spent);
  }

  /** Sizes the reserve for these policies. */
  #measure(policies: readonly Policy[]): void {
    const most = mostPerMinute(policies);
    this.#policies = policies;
    this.#reserve = Math.floor(most / RESERVES);
    // Strictly more than most / RENEWALS, so that a minute holds no 48 renewals.
    this.#renewal = Math.floor(most / RENEWALS) + 1;
  }
}

/** The most units that the policies admit in any minute: never above the smallest limit of a minute or longer. */
function mostPerMinute(policies: readonly Policy[]): number {
  if (policies.length === 0) throw new RangeError("a ledger needs at least one policy");
  const most = policies.map(({ limit, window }) =>
    window === "month" || window >= 60 ? limit : limit * Math.ceil(60 / window),
  );
  return Math.min(...most);
}
