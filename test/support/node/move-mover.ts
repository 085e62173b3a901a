import type { Process, Schedule } from "./move-schedule.ts";

/** Where a mover crashes: when it has asked so many times for what is named like this, or for anything. */
export type Crash = { named: string | undefined; times: number };

/** How often time passes while a tenant's writes are held. */
const LAPSES = 12;

export const COMMITS = "commits the move";

/** An attempt: what works on the job, and what it has asked servers to do, which goes on when it crashes. */
export class Mover {
  readonly token: number;
  readonly client: Process;
  readonly server: Process;
  /** Transactions of its that are open at sites. */
  underWay = 0;
  readonly #schedule: Schedule;
  readonly #crash: Crash | undefined;
  readonly #onCrash: () => void;
  #times = 0;

  constructor(schedule: Schedule, token: number, crash: Crash | undefined, onCrash: () => void) {
    this.token = token;
    this.#schedule = schedule;
    this.#crash = crash;
    this.#onCrash = onCrash;
    this.client = schedule.process(`mover ${token}`);
    this.server = schedule.process(`for mover ${token}`);
  }

  /** Hears of each step that a server is asked for, and crashes when its time has come. */
  asked(label: string): void {
    const { dice, isCalm } = this.#schedule;
    if (label === "sets frozen" && dice.oneIn(LAPSES))
      this.#schedule.destine(dice.below(30), () => this.#schedule.leap());
    if (!this.#crash || (this.#crash.named !== undefined && this.#crash.named !== label)) return;
    this.#times += 1;
    if (this.#times !== this.#crash.times || isCalm) return;
    this.#schedule.note(`mover ${this.token} crashes`);
    this.#schedule.kill(this.client);
    this.server.state = "orphan";
    this.server.speed = dice.pick([1, 0.1, 0.002]);
    // So late that others have done it, and gone on.
    if (label === COMMITS && dice.oneIn(2)) this.#schedule.delay(this.server, dice.below(4000));
    this.#onCrash();
  }

  /** Has the server do it; never returns to a client that has crashed. */
  ask<Answer>(label: string, work: () => Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.client.state === "dead") return;
      const ended = (answer: () => void) => {
        if (this.client.state !== "dead") answer();
      };
      work().then(
        (answer) => ended(() => resolve(answer)),
        (error: unknown) => ended(() => reject(error)),
      );
      this.asked(label);
    });
  }
}
