import type { Policy } from "../../src/policy.ts";
import { Ledger, type Entry, type Row } from "../../src/tenant/limits/ledger.ts";
import { mostInAny } from "./ideal-limits.ts";

export const minute = (limit: number): Policy => ({ name: "minute", limit, window: 60 });
export const month = (limit: number): Policy => ({ name: "month", limit, window: "month" });

type Hit = { at: number; units: number; plan: Policy[] };
type Waiter = Hit & { mark: number };

/** A tenant's object and its storage: a row is on disk for sure, and perhaps another is on its way. */
export class StoredTenant {
  ledger: Ledger;
  now: number;
  disk: Row | undefined;
  writing: Row | undefined;
  waiters: Waiter[] = [];
  /** Decided and answered, in the order of the answers. */
  readonly answered: Hit[] = [];
  /** When rows were handed out, in ms. */
  readonly rows: number[] = [];
  /** Whether storage confirms each row at once. */
  readonly prompt: boolean;

  constructor(now: number, prompt: boolean) {
    this.now = now;
    this.prompt = prompt;
    this.ledger = new Ledger(undefined, now);
  }

  /** Lets time pass; the object's timer asks for the idle row. */
  pass(ms: number): void {
    const end = this.now + ms;
    const idle = this.ledger.idleIn(this.now);
    if (idle <= ms) {
      this.now += idle;
      this.#write();
    }
    this.now = end;
  }

  hit(plan: Policy[], units: number): Entry {
    const entry = this.ledger.decide(plan, units, this.now);
    if (entry.decision.outcome === "admitted") {
      const hit = { at: this.now, units, plan, mark: entry.mark };
      if (entry.wait === this.ledger.covers(entry.mark)) throw new Error("wait contradicts covers()");
      if (entry.wait) this.waiters.push(hit);
      else this.answered.push(hit);
    }
    this.#write();
    return entry;
  }

  confirm(): void {
    if (!this.writing) return;
    this.disk = this.writing;
    this.writing = undefined;
    this.ledger.confirmed();
    this.answered.push(...this.waiters.filter(({ mark }) => this.ledger.covers(mark)));
    this.waiters = this.waiters.filter(({ mark }) => !this.ledger.covers(mark));
    this.#write();
  }

  /** The write fails, and so do the requests that wait; yet the row may be on disk. */
  fail(survives: boolean): void {
    if (!this.writing) return;
    if (survives) this.disk = this.writing;
    this.writing = undefined;
    this.ledger.failed(this.now);
    this.waiters = this.waiters.filter(({ mark }) => this.ledger.covers(mark));
  }

  /** The object starts anew from what is on disk; returns the units that it counts for what it forgot. */
  restart(survives: boolean): number {
    if (survives && this.writing) this.disk = this.writing;
    this.writing = undefined;
    this.waiters = [];
    this.ledger = new Ledger(structuredClone(this.disk), this.now);
    return this.disk?.reserve ?? 0;
  }

  #write(): void {
    this.writing ??= this.#due();
    if (this.prompt) this.confirm();
  }

  #due(): Row | undefined {
    const row = this.ledger.due(this.now);
    if (row) this.rows.push(this.now);
    return structuredClone(row);
  }

  /** The most rows in any half-open minute. */
  get rowsPerMinute(): number {
    return mostInAny(
      60,
      this.rows.map((at) => ({ at, units: 1 })),
    );
  }
}
