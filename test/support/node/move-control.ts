import { Superseded, type MoveControl, type Progress } from "../../../drizzle/moves/move.ts";
import { COMMITS, type Mover } from "./move-mover.ts";
import { Refusal, type Site } from "./move-postgres.ts";
import type { Process, Schedule } from "./move-schedule.ts";

/** How soon the tenant's home is looked for again, and how often progress is noted at most. */
const RELOCATION_RETRY_MS = 1000;
const NOTE_MS = 1000;

/** Where the tenant's content is; of a later version, whatever of the tenant's record has changed. */
export type Home = { at: Site; epoch: number; version: number };

type Job = { source: Site; target: Site; epoch: number; token: number; progress: Progress };

/** The control plane of one tenant, and what drizzle/moves/jobs.ts and control.commit_move() do to it. */
export class Control {
  home: Home;
  /** Under way. */
  job: Job | undefined;
  /** Where the last job was to lead, if it was abandoned and no rows may be left there. */
  erased: Site | undefined;
  #token = 0;
  /** No rows were at the target when the job began. */
  #wasEmpty = false;
  /** Where jobs have found the tenant's rows, or brought some. */
  readonly #known = new Set<Site>();
  /** Tokens of attempts whose job was taken over. */
  readonly #superseded = new Set<number>();

  constructor(at: Site) {
    this.home = { at, epoch: 1, version: 1 };
  }

  begin(target: Site): Job {
    const isLeftover = this.#known.has(target);
    const progress: Progress = { phase: "preparing", prepared: false, isLeftover, rows: 0, bytes: 0 };
    this.#known.add(this.home.at);
    this.#token += 1;
    this.erased = undefined;
    this.#wasEmpty = target.share.rows.isEmpty;
    this.job = { source: this.home.at, target, epoch: this.home.epoch, token: this.#token, progress };
    return { ...this.job, progress: { ...progress } };
  }

  /** The job under way as a new attempt, if there is one. */
  takeOver(): Job | undefined {
    const { job } = this;
    if (!job) return undefined;
    this.#superseded.add(job.token);
    job.token = this.#token += 1;
    return { ...job, progress: { ...job.progress } };
  }

  commit(epoch: number): void {
    const { job, home } = this;
    if (!job || job.epoch !== epoch || home.epoch !== epoch) return;
    this.home = { at: job.target, epoch: epoch + 1, version: home.version + 1 };
    this.job = undefined;
  }

  note(token: number, progress: Progress): void {
    if (this.#superseded.has(token)) throw new Superseded();
    if (this.job?.token !== token) return;
    this.job.progress = progress;
    if (progress.prepared) this.#known.add(this.job.target);
  }

  finish(token: number): void {
    if (this.job?.token !== token) return;
    this.erased = this.#wasEmpty || this.job.progress.prepared ? this.job.target : undefined;
    this.job = undefined;
  }

  /** Changes something about the tenant. */
  change(): void {
    this.home = { ...this.home, version: this.home.version + 1 };
  }
}

/** What an attempt asks of the control plane, as JobControl does. */
export class ModelControl implements MoveControl {
  readonly #control: Control;
  readonly #schedule: Schedule;
  readonly #mover: Mover;
  readonly #epoch: number;
  /** 0 as if each page took long, so that an attempt begins behind any of them. */
  readonly #noteMs: number;
  #phase = "";
  #notedAt = -Infinity;

  constructor(control: Control, schedule: Schedule, mover: Mover, epoch: number) {
    this.#control = control;
    this.#schedule = schedule;
    this.#mover = mover;
    this.#epoch = epoch;
    this.#noteMs = schedule.dice.pick([0, NOTE_MS]);
  }

  async note(progress: Progress): Promise<void> {
    const { now } = this.#schedule;
    if (progress.phase === this.#phase && now - this.#notedAt < this.#noteMs) return;
    this.#phase = progress.phase;
    this.#notedAt = now;
    const sent = { ...progress };
    await this.#ask(`notes ${sent.phase}`, () => this.#control.note(this.#mover.token, sent));
  }

  commit(): Promise<void> {
    return this.#ask(COMMITS, () => this.#control.commit(this.#epoch));
  }

  finish(): Promise<void> {
    return this.#ask("finishes the job", () => this.#control.finish(this.#mover.token));
  }

  #ask(label: string, work: () => void): Promise<void> {
    return this.#mover.ask(label, async () => {
      await this.#schedule.step(this.#mover.server, label);
      work();
    });
  }
}

/** The tenant's Durable Object, as far as it knows where the content is: src/tenant/object.ts. One life, up to a crash. */
class Life {
  record: Home;
  readonly process: Process;
  readonly #control: Control;
  readonly #schedule: Schedule;
  readonly #store: (record: Home) => void;
  #relocatedAt = -Infinity;
  #relocating: Promise<void> | undefined;

  constructor(record: Home, control: Control, schedule: Schedule, store: (record: Home) => void) {
    this.record = record;
    this.process = schedule.process("object");
    this.#control = control;
    this.#schedule = schedule;
    this.#store = store;
  }

  async relocate(epoch: number, isClosed: boolean): Promise<Home> {
    const { now } = this.#schedule;
    if (this.record.epoch > epoch || now - this.#relocatedAt < RELOCATION_RETRY_MS) return this.record;
    this.#relocating ??= this.#look(epoch, isClosed);
    await this.#relocating;
    return this.record;
  }

  async #look(epoch: number, isClosed: boolean): Promise<void> {
    try {
      await this.load();
      if (!isClosed || this.record.epoch > epoch) return;
      await this.#schedule.step(this.process, "commits the move");
      this.#control.commit(epoch);
      await this.load();
    } finally {
      this.#relocatedAt = this.#schedule.now;
      this.#relocating = undefined;
    }
  }

  /** Reads the record, and takes it if it is newer by the time that it arrives. */
  async load(): Promise<void> {
    await this.#schedule.step(this.process, "reads the record");
    const { home } = this.#control;
    await this.#schedule.step(this.process, "takes the record");
    if (this.record.version >= home.version) return;
    this.record = home;
    this.#store(home);
  }
}

/** The tenant's Durable Object through all its lives. */
export class TenantObject {
  readonly #control: Control;
  readonly #schedule: Schedule;
  #stored: Home;
  #life: Life;
  /** Hears when this life ends. */
  #ended: (() => void)[] = [];

  constructor(control: Control, schedule: Schedule) {
    this.#control = control;
    this.#schedule = schedule;
    this.#stored = control.home;
    this.#life = this.#begin();
  }

  get record(): Home {
    return this.#life.record;
  }

  /** Throws when the object crashes meanwhile. */
  relocate(epoch: number, isClosed: boolean): Promise<Home> {
    return this.#orCrash(this.#life.relocate(epoch, isClosed));
  }

  load(): Promise<void> {
    return this.#orCrash(this.#life.load());
  }

  /** Forgets all but the stored record; what it has asked of the control plane may still be done. */
  crash(): void {
    const { process } = this.#life;
    process.state = "orphan";
    process.speed = 0.1;
    this.#life = this.#begin();
    for (const end of this.#ended.splice(0)) end();
  }

  #begin(): Life {
    const life: Life = new Life(this.#stored, this.#control, this.#schedule, (record) => {
      if (life === this.#life) this.#stored = record;
    });
    return life;
  }

  #orCrash<Answer>(work: Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#ended.push(() => reject(new Refusal("58000")));
      work.then(resolve, reject);
    });
  }
}
