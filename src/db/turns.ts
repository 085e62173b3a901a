import type { Deadline } from "../deadline.ts";
import { CAN_JOIN } from "../env.ts";
import { within } from "../within.ts";

/** One who is inside, or waits to be let in. */
type Visitor = { readonly deadline: Deadline; enter: () => void };
type Line = { readonly inside: Set<Visitor>; readonly waiting: Visitor[] };

/** Lets at most `max` requests of one name do something at once; the others wait, first come first served. */
export class Turns {
  readonly #max: number;
  // A name is here as long as a request of it is: this is bounded by what is in flight.
  readonly #lines = new Map<string, Line>();

  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Returns once it is the request's turn, with what ends it, for a caller that may do so more than once. A request for
   * which nobody waits any more is passed by. `endsWithClient`: the runtime cuts it off when its client leaves.
   */
  async take(name: string, deadline: Deadline, endsWithClient: boolean): Promise<() => void> {
    let line = this.#lines.get(name);
    if (!line) this.#lines.set(name, (line = { inside: new Set(), waiting: [] }));
    const { inside, waiting } = line;
    const visitor: Visitor = { deadline, enter: () => undefined };
    const leave = () => {
      if (inside.delete(visitor)) this.#letIn(name, line);
    };
    // A request that the runtime cuts off runs only this listener. A listener is costly, so the first half of the places
    // goes without: the other half keeps the line moving, and the deadline frees the rest.
    if (endsWithClient && inside.size >= this.#max / 2) deadline.client?.addEventListener("abort", leave);
    if (inside.size < this.#max || !CAN_JOIN) {
      inside.add(visitor);
      return leave;
    }
    for (const other of inside) if (other.deadline.isOver) inside.delete(other);
    const turn = new Promise<void>((resolve) => (visitor.enter = resolve));
    waiting.push(visitor);
    this.#letIn(name, line);
    // within(), not deadline.within(): without a timer of its own, workerd sometimes ran what follows but none of its I/O.
    await within(deadline.bound(Infinity), turn);
    return leave;
  }

  #letIn(name: string, line: Line): void {
    while (line.inside.size < this.#max) {
      const next = line.waiting.shift();
      if (!next) break;
      if (next.deadline.isOver) continue;
      line.inside.add(next);
      next.enter();
    }
    if (line.inside.size === 0) this.#lines.delete(name);
  }
}
