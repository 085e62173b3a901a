import { type Home, type TenantObject } from "./move-control.ts";
import { MOVED, OTHER_EPOCH, Refusal, Tx } from "./move-postgres.ts";
import { imagesOf, locksOf, perform, type Op, type Rules, type Truth, type View } from "./move-rows.ts";
import type { Process, Schedule } from "./move-schedule.ts";

/** What a client hears of a request: it is done, refused with 503 or by a broken connection, or the answer was lost. */
export type Outcome = "done" | "refused" | "lost";

/** A request had another answer than it would have had without a move. */
class WrongAnswer extends Error {}

const codeOf = (error: unknown) => (error instanceof Refusal ? error.code : undefined);

/** The way of a request through the Worker: src/db/client.ts. */
export class Requests {
  readonly #schedule: Schedule;
  readonly #object: TenantObject;
  readonly #truth: Truth;
  readonly #rules: Rules;

  constructor(schedule: Schedule, object: TenantObject, truth: Truth, rules: Rules) {
    this.#schedule = schedule;
    this.#object = object;
    this.#truth = truth;
    this.#rules = rules;
  }

  /** Asks the object where the content is, writes there, and once more where it is then if it has been moved. */
  async write(client: Process, op: Op): Promise<Outcome> {
    await this.#schedule.step(client, "asks the object");
    return this.writeAt(this.#object.record, client, op);
  }

  writeAt(home: Home, client: Process, op: Op): Promise<Outcome> {
    return this.#send(client, home, (at) => this.#transact(at, client, op));
  }

  /** Reads one row of each table, or all rows. */
  async read(client: Process, id: string | undefined): Promise<Outcome> {
    await this.#schedule.step(client, "asks the object");
    return this.#send(client, this.#object.record, async ({ at, epoch }) => {
      const tx = new Tx(at, client, { epoch });
      await tx.step(id === undefined ? "lists" : `reads ${id}`);
      tx.verify(true);
      this.#compare(id === undefined ? "the list" : id, seen(tx, id), seen(this.#truth, id));
    });
  }

  async #send(client: Process, home: Home, work: (at: Home) => Promise<void>): Promise<Outcome> {
    try {
      await work(home).catch(async (error: unknown) => {
        const code = codeOf(error);
        if (code !== MOVED && code !== OTHER_EPOCH) throw error;
        const found = await this.#object.relocate(home.epoch, code === MOVED);
        if (found.epoch === home.epoch) throw error;
        await work(found);
      });
      if (this.#schedule.isCalm || !this.#schedule.dice.oneIn(20)) return "done";
      this.#schedule.note(`${client.name} does not hear of it`);
      return "lost";
    } catch (error) {
      const code = codeOf(error);
      if (code === undefined) throw error;
      this.#schedule.note(`${client.name} is refused with ${code}`);
      return "refused";
    }
  }

  async #transact({ at, epoch }: Home, client: Process, op: Op): Promise<void> {
    const tx = new Tx(at, client, { epoch });
    try {
      await tx.step("begins to write");
      await tx.lock("shared");
      await tx.step(`does ${Object.values(op).join(" ")}`);
      tx.verify();
      await tx.hold(() => locksOf(tx, op));
      const answer = perform(tx, op, this.#rules);
      // What it has seen may change as soon as nothing keeps it locked; what it has written may not until it commits.
      if (answer.isDone) {
        await tx.step("commits");
        tx.commit();
      }
      this.#compare(`${op.kind} ${op.id}`, answer.text, perform(this.#truth, op, this.#rules).text);
    } finally {
      tx.end();
    }
  }

  #compare(what: string, answer: string, truth: string): void {
    if (!this.#truth.agrees(answer, truth))
      throw new WrongAnswer(`${what}: it answers ${answer}, and should ${truth}`);
  }
}

/** What a read shows: rows with this id, or all. */
const seen = (view: View, id: string | undefined): string =>
  (["parents", "children"] as const)
    .map((table) => imagesOf(id === undefined ? view.all(table) : [view.get(table, id) ?? []].flat()))
    .join();
