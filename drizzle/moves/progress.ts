import type { Progress } from "./move.ts";

/** How often a line is printed where nobody watches, and where somebody does. */
const LINE_MS = 2000;
const TICK_MS = 250;

const DOING: Record<Progress["phase"], string> = {
  preparing: "preparing the target",
  copying: "copying",
  comparing: "comparing",
  switching: "switching over",
};

/** Shows how far a job is: in one line that is written over and over at a terminal, in plain lines elsewhere. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream;
  readonly #startedAt = performance.now();
  #startedWith: number | undefined;
  #shownAt = -Infinity;
  #phase = "";
  #isOpen = false;

  constructor(out: NodeJS.WriteStream = process.stderr) {
    this.#out = out;
  }

  show(progress: Progress): void {
    const now = performance.now();
    this.#startedWith ??= progress.rows;
    const isNew = progress.phase !== this.#phase;
    if (!isNew && now - this.#shownAt < (this.#out.isTTY ? TICK_MS : LINE_MS)) return;
    this.#phase = progress.phase;
    this.#shownAt = now;
    const line = this.#lineOf(progress, now);
    this.#out.write(this.#out.isTTY ? `\r\u001B[K· ${line}` : `· ${line}\n`);
    this.#isOpen = this.#out.isTTY;
  }

  /** Prints a line of its own. */
  say(line: string): void {
    this.close();
    this.#out.write(`· ${line}\n`);
  }

  close(): void {
    if (this.#isOpen) this.#out.write("\n");
    this.#isOpen = false;
  }

  #lineOf({ phase, position, rows, bytes, total }: Progress, now: number): string {
    if (phase !== "copying") return DOING[phase];
    const perSecond = (rows - (this.#startedWith ?? 0)) / Math.max((now - this.#startedAt) / 1000, 0.001);
    const left = total === undefined || perSecond === 0 ? undefined : Math.max(0, total - rows) / perSecond;
    return [
      `${DOING[phase]}${position ? ` ${position.table}` : ""}: ${grouped(rows)}${total === undefined ? "" : ` of ${grouped(total)}`} rows`,
      `${(bytes / 1e6).toFixed(1)} MB`,
      `${grouped(Math.round(perSecond))} rows/s`,
      ...(left === undefined ? [] : [`${durationOf(left)} left`]),
    ].join(", ");
  }
}

const grouped = (count: number) => count.toLocaleString("en-US");

/** Seconds, in words. */
const durationOf = (seconds: number): string => {
  const whole = Math.ceil(seconds);
  return whole < 90 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
};
