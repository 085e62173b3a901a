import { stateOf } from "../../../src/lifecycle/end.ts";
import { abandon, move, Superseded } from "../../../drizzle/moves/move.ts";
import { Control, ModelControl, TenantObject } from "./move-control.ts";
import { drawOp, drawRead, fill } from "./move-draws.ts";
import { ModelEnd, type Sizes } from "./move-end.ts";
import { judge } from "./move-verdict.ts";
import { COMMITS, Mover, type Crash } from "./move-mover.ts";
import { Site } from "./move-postgres.ts";
import { Requests } from "./move-requests.ts";
import { MIGRATED, rowOf, Truth, type Op, type Rules } from "./move-rows.ts";
import { Schedule, type Process } from "./move-schedule.ts";

// A tenant that works while it is moved, and all that may come between: the protocol of drizzle/moves is real, and whom it
// works with are models of theirs.

/** Steps before which a mover crashes more often, so that they are done late. */
const CRITICAL = [
  "sets logged",
  "sets loading",
  "sets frozen",
  "sets open",
  "sets closed",
  COMMITS,
  COMMITS,
  "loads rows",
  "removes rows",
  "commits what loads rows",
  "commits what removes rows",
  "commits what sets closed",
];

/** When a mover has crashed and nobody resumes, a write is admitted within 10 s, and what one takes that is tried twice a second. */
const HELD_UP_MS = 10_700;
/** Attempts at a job after which nothing goes wrong any more, and after which it has to be over. */
const CALM_AFTER = 3;
const MAX_ATTEMPTS = 8;

type Kind = "move" | "abandon";
type Job = ReturnType<Control["begin"]>;

/** One schedule: all that happens in it follows from the seed. */
class Model {
  readonly #schedule: Schedule;
  readonly #sites: readonly [Site, Site];
  readonly #control: Control;
  readonly #object: TenantObject;
  readonly #requests: Requests;
  readonly #truth = new Truth();
  readonly #rules: Rules;
  readonly #sizes: Sizes;
  readonly #operator: Process;
  readonly #others: readonly string[];
  /** Attempts that work, and those that have crashed. */
  readonly #working = new Set<Mover>();
  readonly #crashed = new Set<Mover>();
  #hasMigrated = false;
  #isOver = false;
  #probes = 0;
  #news = 0;

  constructor(schedule: Schedule) {
    const { dice } = schedule;
    this.#schedule = schedule;
    this.#sites = [new Site("one", schedule), new Site("two", schedule)];
    this.#control = new Control(this.#sites[0]);
    this.#object = new TenantObject(this.#control, schedule);
    this.#rules = { cascades: dice.oneIn(2) };
    this.#sizes = { page: dice.pick([1, 2, 3, 100]), changes: dice.pick([1, 2, 4, 100]) };
    this.#requests = new Requests(schedule, this.#object, this.#truth, this.#rules);
    this.#operator = schedule.process("operator");
    fill(dice, [this.#sites[0].share.rows, this.#truth]);
    this.#others = this.#sites.map(({ other }) => {
      fill(dice, [other.rows]);
      return other.rows.digest();
    });
  }

  /** Has everything happen. Throws what must not have happened. */
  async run(): Promise<void> {
    const { dice } = this.#schedule;
    const clients = Array.from({ length: 2 + dice.below(2) }, (_, at) => `client ${at + 1}`);
    this.#destine();
    const all = [() => this.#operate(), ...clients.map((name) => () => this.#work(name))];
    for (const work of all) void this.#schedule.spawn(work);
    await this.#schedule.run();
    this.#schedule.isCalm = true;
    void this.#schedule.spawn(() => this.#probe(this.#schedule.now + HELD_UP_MS));
    await this.#schedule.run();
    judge(this.#control, this.#sites, this.#truth);
    for (const [at, { other }] of this.#sites.entries())
      if (other.rows.digest() !== this.#others[at]) throw new Error("The other tenant's rows have changed.");
  }

  /** What else is to happen, and when. */
  #destine(): void {
    const { dice } = this.#schedule;
    const sometimes = (times: number, happen: () => void) => {
      if (dice.oneIn(times)) this.#schedule.destine(dice.below(400), happen);
    };
    for (const site of this.#sites)
      sometimes(8, () => {
        this.#schedule.note(`Postgres crashes at ${site.name}`);
        site.crash();
      });
    sometimes(4, () => {
      this.#schedule.note("the object crashes");
      this.#object.crash();
    });
    sometimes(4, () => void this.#schedule.spawn(() => this.#migrate()));
    sometimes(3, () => void this.#schedule.spawn(() => this.#tell()));
  }

  /** A client: it asks for something again when it was refused, and when it did not hear of it. */
  async #work(name: string): Promise<void> {
    const { dice } = this.#schedule;
    const client = this.#schedule.process(name);
    for (let count = 1; count <= 7 && !this.#isOver; count++) {
      await this.#schedule.pause(client, dice.below(200));
      if (dice.oneIn(4)) {
        await this.#requests.read(client, drawRead(dice));
        continue;
      }
      const op = drawOp(dice, `${name.at(-1)}.${count}`);
      for (let time = 1; time <= 3; time++) {
        const outcome = await this.#requests.write(client, op);
        if (outcome === "done" && !dice.oneIn(12)) break;
        if (outcome === "refused") await this.#schedule.pause(client, dice.below(1500));
      }
    }
  }

  /** The operator: has the tenant moved, and sees to it that what has begun comes to an end. */
  async #operate(): Promise<void> {
    const { dice } = this.#schedule;
    for (let rounds = dice.oneIn(2) ? 1 : 2; rounds > 0; rounds--) {
      await this.#schedule.step(this.#operator, "begins a job");
      let job: Job | undefined = this.#control.begin(this.#otherThan(this.#control.home.at));
      for (let attempt = 1; job; attempt++) {
        if (attempt > MAX_ATTEMPTS) throw new Error("The job does not end.");
        if (attempt > CALM_AFTER) this.#schedule.isCalm = true;
        const isFirst = attempt === 1 && !dice.oneIn(10);
        const hasCrashed = await this.#attempt(job, isFirst ? "move" : this.#kind());
        if (hasCrashed && dice.oneIn(2)) await this.#leaveAlone();
        else if (dice.oneIn(2)) await this.#schedule.pause(this.#operator, dice.below(2000));
        await this.#schedule.step(this.#operator, "takes the job over");
        job = this.#control.takeOver();
      }
    }
    this.#isOver = true;
  }

  #kind(): Kind {
    return this.#schedule.dice.oneIn(3) ? "abandon" : "move";
  }

  /** Works on the job; returns when the attempt has ended: true if it has crashed. */
  #attempt(job: Job, kind: Kind): Promise<boolean> {
    const { dice } = this.#schedule;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const mover: Mover = new Mover(this.#schedule, job.token, this.#crash(), () => {
      this.#working.delete(mover);
      this.#crashed.add(mover);
      for (const site of this.#sites) if (site.migrating === mover.client) site.migrating = undefined;
      resolve(true);
    });
    this.#working.add(mover);
    void this.#schedule.spawn(async () => {
      await this.#try(job, kind, mover);
      this.#working.delete(mover);
      resolve(false);
    });
    if (dice.oneIn(6))
      this.#schedule.destine(dice.below(250), () => void this.#schedule.spawn(() => this.#overtake()));
    return promise;
  }

  /** Anywhere, or where it matters most. */
  #crash(): Crash | undefined {
    const { dice } = this.#schedule;
    if (dice.oneIn(2)) return undefined;
    return dice.oneIn(2)
      ? { named: undefined, times: 1 + dice.below(130) }
      : { named: dice.pick(CRITICAL), times: dice.pick([1, 1, 1, 2, 3, 4]) };
  }

  async #try({ source, target, epoch, progress }: Job, kind: Kind, mover: Mover): Promise<void> {
    const ends = {
      source: new ModelEnd(source, mover, this.#sizes, this.#rules),
      target: new ModelEnd(target, mover, this.#sizes, this.#rules),
    };
    const around = {
      now: () => this.#schedule.now,
      pause: (ms: number) => this.#schedule.pause(mover.client, ms),
      pace: async () => undefined,
      say: (line: string) => this.#schedule.note(line),
    };
    const control = new ModelControl(this.#control, this.#schedule, mover, epoch);
    this.#schedule.note(`mover ${mover.token} begins to ${kind}`);
    try {
      await { move, abandon }[kind]({ ...ends, epoch, progress, control, around });
    } catch (error) {
      this.#schedule.note(`mover ${mover.token} ends with ${String(error)}`);
      if (!this.#mayEndWith(error)) throw error;
    }
  }

  /** Whether an attempt may end like this, for others to go on. */
  #mayEndWith(error: unknown): boolean {
    const state = stateOf(error);
    if (error instanceof Superseded) return true;
    if (state !== undefined) return /^(PW006|55P03|57P01|40P01)$/.test(state);
    const { message } = error as Error;
    return (
      message === "The connection has failed." ||
      (this.#hasMigrated && /differ|is not the same/.test(message))
    );
  }

  /** Somebody else takes the job over, while the operator's attempt may be at work. */
  async #overtake(): Promise<void> {
    const process = this.#schedule.process("other operator");
    await this.#schedule.step(process, "takes the job over");
    const job = this.#control.takeOver();
    if (job) await this.#attempt(job, this.#kind());
  }

  /** After a crash nobody resumes: the tenant's writes are admitted again all the same. */
  async #leaveAlone(): Promise<void> {
    if (this.#working.size > 0 || this.#schedule.isCalm) return;
    this.#schedule.isCalm = true;
    const isUnderWay = () => [...this.#crashed].some(({ underWay }) => underWay > 0);
    while (isUnderWay()) await this.#schedule.step(this.#operator, "waits");
    const until = this.#schedule.now + HELD_UP_MS;
    await this.#schedule.pause(this.#operator, this.#schedule.dice.below(10_000));
    await this.#probe(until);
    this.#schedule.isCalm = false;
  }

  /** Throws when no write is admitted by this time. */
  async #probe(until: number): Promise<void> {
    const id = `probe ${(this.#probes += 1)}`;
    const op: Op = { kind: "create", table: "parents", id, ref: id, value: "" };
    while ((await this.#requests.write(this.#operator, op)) !== "done") {
      if (this.#schedule.now > until) throw new Error("The tenant's writes are refused for too long.");
      await this.#schedule.pause(this.#operator, 500);
    }
  }

  /** Something changes in the control plane, of which the courier tells the site. */
  async #tell(): Promise<void> {
    const courier = this.#schedule.process("courier");
    this.#control.change();
    const value = `${(this.#news += 1)}`;
    for (let time = 1; time <= 4; time++) {
      const op: Op = { kind: "receive", table: "keys", id: "received", ref: "", value };
      if (time === 1) await this.#object.load().catch(() => undefined);
      if ((await this.#requests.writeAt(this.#object.record, courier, op)) === "done") return;
      await this.#schedule.pause(courier, 1000);
    }
  }

  /** A migration goes from site to site. It changes rows, of which the change log does not hear. */
  async #migrate(): Promise<void> {
    const { dice } = this.#schedule;
    const migrator = this.#schedule.process("migrator");
    this.#hasMigrated = true;
    for (const site of dice.oneIn(2) ? this.#sites : this.#sites.toReversed()) {
      for (;;) {
        await this.#schedule.step(migrator, `would migrate ${site.name}`);
        site.migrating ??= migrator;
        // It waits for whoever writes.
        if (site.migrating === migrator && site.share.rowLocks.size === 0) break;
        await this.#schedule.pause(migrator, 50);
      }
      this.#schedule.note(`${site.name} is migrated`);
      site.version += 1;
      this.#change(site);
      await this.#schedule.step(migrator, "ends");
      if (site.migrating === migrator) site.migrating = undefined;
      await this.#schedule.pause(migrator, dice.below(300));
    }
  }

  /** What a migration does to the tenant's rows at the site. */
  #change(site: Site): void {
    const { at: home, epoch } = this.#control.home;
    const other = this.#otherThan(home);
    const isClosed = home.share.fence?.mode === "closed";
    const ahead = other.share.fence;
    if (!isClosed && ahead?.mode === "open" && ahead.epoch === epoch + 1) this.#truth.isBlurred = true;
    const isHome = site === (isClosed ? other : home);
    for (const shelf of isHome ? [site.share.rows, this.#truth] : [site.share.rows])
      for (const table of ["parents", "children"] as const)
        for (const { id, ref, version, value } of shelf.all(table))
          shelf.put(table, rowOf(id, ref, version, value + MIGRATED));
  }

  #otherThan(site: Site): Site {
    const [one, two] = this.#sites;
    return site === one ? two : one;
  }
}

/** What a schedule has done that it must not; undefined if nothing. With a trace, of every step before that. */
export async function faultOf(seed: number, { isTraced } = { isTraced: false }): Promise<string | undefined> {
  const schedule = new Schedule(seed, isTraced);
  try {
    await new Model(schedule).run();
    return undefined;
  } catch (error) {
    return [...(schedule.trace ?? []), error instanceof Error ? error.stack : String(error)].join("\n");
  }
}
