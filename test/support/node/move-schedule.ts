import { nextTick } from "node:process";

// What decides, in a model of many processes, which of them takes the next step: chance, from a seed that can be used again.

/** Chance that is the same for the same seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1);
  }

  /** A number from 0 up to, but not, 1. */
  roll(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** An integer from 0 up to, but not, this one. */
  below(most: number): number {
    return Math.floor(this.roll() * most);
  }

  /** True once in so many times. */
  oneIn(times: number): boolean {
    return this.roll() * times < 1;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("Nothing to pick from.");
    return item;
  }
}

/**
 * What takes steps. An orphan is the server's part of something whose client has crashed: each of its steps is still done,
 * late, or fails. What is dead takes none any more.
 */
export type Process = { name: string; speed: number; state: "alive" | "orphan" | "dead" };

/** What an orphan's step fails with: the server has noticed that its client is gone. */
class Disconnected extends Error {}

type Waiting = { process: Process; label: string; go: () => void; fail: (error: Error) => void };
type Timer = { at: number; ring: () => void };
type Fate = { step: number; happen: () => void };

/** More than any schedule takes that ends. */
const MAX_STEPS = 20_000;
const SPEEDS = [1, 1, 0.4, 0.05];
const LEAPS_MS = [300, 1000, 3000, 11_000];

/** Lets processes take one step at a time, in an order and at times that the dice decide. */
export class Schedule {
  readonly dice: Dice;
  /** In ms, as every clock of the model. */
  now = 1_000_000;
  /** Nothing goes wrong while this is set, no time is skipped, and nobody is slow. */
  isCalm = false;
  /** What was done, while it is of interest. */
  trace: string[] | undefined;
  #steps = 0;
  #failure: Error | undefined;
  readonly #processes: Process[] = [];
  readonly #ready: Waiting[] = [];
  readonly #timers = new Set<Timer>();
  #fates: Fate[] = [];

  constructor(seed: number, isTraced: boolean) {
    this.dice = new Dice(seed);
    this.trace = isTraced ? [] : undefined;
  }

  process(name: string): Process {
    const process: Process = { name, speed: this.dice.pick(SPEEDS), state: "alive" };
    this.#processes.push(process);
    return process;
  }

  /** Starts a process; what it throws ends the schedule. */
  spawn(work: () => Promise<void>): Promise<void> {
    return work().catch((error: unknown) => this.fail(error));
  }

  fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
  }

  /** Returns when it is this process's turn. */
  step(process: Process, label: string): Promise<void> {
    return new Promise((go, fail) => {
      if (process.state !== "dead") this.#ready.push({ process, label, go, fail });
    });
  }

  pause(process: Process, ms: number): Promise<void> {
    return new Promise((go, fail) => {
      const ring = () => {
        if (process.state !== "dead") this.#ready.push({ process, label: "goes on", go, fail });
      };
      this.#timers.add({ at: this.now + ms, ring });
    });
  }

  /** Calls back after so long, unless the returned function was called before. */
  after(ms: number, ring: () => void): () => void {
    const timer = { at: this.now + ms, ring };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Has something happen before the step after so many more. */
  destine(steps: number, happen: () => void): void {
    this.#fates.push({ step: this.#steps + steps, happen });
  }

  /** Skips some time. */
  leap(): void {
    this.now += this.dice.pick(LEAPS_MS);
  }

  note(line: string): void {
    this.trace?.push(`${this.#steps} ${this.now - 1_000_000} ms: ${line}`);
  }

  /** The process takes no step that it has asked for, and none any more. */
  kill(process: Process): void {
    process.state = "dead";
    for (let at = this.#ready.length - 1; at >= 0; at--)
      if (this.#ready[at]?.process === process) this.#ready.splice(at, 1);
  }

  /** Has what the process waits for come so much later. */
  delay(process: Process, ms: number): void {
    const late = this.#ready.filter((waiting) => waiting.process === process);
    for (const waiting of late) this.#ready.splice(this.#ready.indexOf(waiting), 1);
    this.after(ms, () => this.#ready.push(...late));
  }

  /** Goes on until no process has anything left to do. Throws what one of them has failed with. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        let isOver = false;
        try {
          isOver = !this.#next();
        } catch (error) {
          reject(error);
          return;
        }
        if (isOver) resolve();
        else queueMicrotask(() => nextTick(turn));
      };
      // A tick from a microtask comes after the last microtask: when all that the step has set off is done.
      queueMicrotask(() => nextTick(turn));
    });
  }

  /** Has one process take its step; false when none wants to. */
  #next(): boolean {
    if (this.#failure) throw this.#failure;
    if (++this.#steps > MAX_STEPS) throw new Error("It does not end.");
    if (!this.isCalm) this.#meddle();
    this.now += this.dice.below(8);
    this.#ring();
    if (this.#ready.length === 0) {
      if (this.#timers.size === 0) return false;
      this.now = Math.min(...[...this.#timers].map(({ at }) => at));
      this.#ring();
      return true;
    }
    const at = this.#choose();
    const chosen = this.#ready[at];
    const last = this.#ready.pop();
    if (!chosen || !last) return true;
    if (chosen !== last) this.#ready[at] = last;
    const isLost = chosen.process.state === "orphan" && this.dice.oneIn(3);
    this.trace?.push(
      `${this.#steps} ${this.now - 1_000_000} ms: ${chosen.process.name} ${chosen.label}${isLost ? " is lost" : ""}`,
    );
    if (isLost) chosen.fail(new Disconnected());
    else chosen.go();
    return true;
  }

  #meddle(): void {
    if (this.dice.oneIn(16)) this.dice.pick(this.#processes).speed = this.dice.pick(SPEEDS);
    if (this.dice.oneIn(250)) this.leap();
    if (this.#fates.length === 0) return;
    const due = this.#fates.filter(({ step }) => step <= this.#steps);
    if (due.length === 0) return;
    this.#fates = this.#fates.filter(({ step }) => step > this.#steps);
    for (const { happen } of due) happen();
  }

  #ring(): void {
    for (const timer of this.#timers)
      if (timer.at <= this.now) {
        this.#timers.delete(timer);
        timer.ring();
      }
  }

  /** Who is slow is passed over, most of the times. */
  #choose(): number {
    for (let time = 0; time < 12; time++) {
      const at = this.dice.below(this.#ready.length);
      const speed = this.#ready[at]?.process.speed ?? 1;
      if (this.isCalm || speed === 1 || this.dice.roll() < speed) return at;
    }
    return this.dice.below(this.#ready.length);
  }
}
