import { CANNOT_FOLLOW, SUPERSEDED, type FenceMode } from "../../../src/lifecycle/end.ts";
import { Shelf, type Row, type TableName, type View } from "./move-rows.ts";
import type { Process, Schedule } from "./move-schedule.ts";

// A Postgres as far as a move depends on it: read committed, the advisory lock, the locks of rows, and what the functions of
// drizzle/site/0008_fence_functions.sql do.

/** What Postgres refuses something with, by its SQLSTATE. */
export class Refusal extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

const CRASHED = "57P01";
const LOCK_TIMEOUT = "55P03";
const DEADLOCK = "40P01";
export const MOVED = "PW003";
const HELD = "PW004";
export const OTHER_EPOCH = "PW005";

/** How long a writer waits for the tenant's lock, and whoever sets its fence. */
const WRITER_WAITS_MS = 2000;
const FLIP_WAITS_MS = 500;

export type Fence = { mode: FenceMode; epoch: number; token: number; until: number };
export type Entry = { id: string; table: TableName; key: string };
/** As whom a transaction is: a request in an epoch, or an attempt at a job. */
export type Context = { epoch: number } | { token: number };
type Lock = "shared" | "alone";
type Turn = { tx: Tx; lock: Lock; grant: () => void; refuse: (error: Error) => void };

/** What a site has of one tenant, as committed. */
export class Share {
  readonly rows = new Shelf();
  fence: Fence | undefined;
  readonly log = new Map<string, Entry>();
  readonly rowLocks = new Map<string, Tx>();
  readonly sharing = new Set<Tx>();
  alone: Tx | undefined;
  queue: Turn[] = [];

  /** Gives the advisory lock to those whose turn it is, first come first served. */
  grant(): void {
    for (let next = this.queue[0]; next && !this.alone; next = this.queue[0]) {
      if (next.lock === "alone" && this.sharing.size > 0) return;
      if (next.lock === "alone") this.alone = next.tx;
      else this.sharing.add(next.tx);
      this.queue.shift();
      next.grant();
    }
  }
}

export class Site {
  readonly name: string;
  readonly schedule: Schedule;
  /** Of the tenant that is moved; nobody moves the other. */
  readonly share = new Share();
  readonly other = new Share();
  /** How often it has crashed. */
  crashes = 0;
  /** Migrations that it has. */
  version = 1;
  /** Who holds the lock of migrations. */
  migrating: Process | undefined;
  #entries = 0;

  constructor(name: string, schedule: Schedule) {
    this.name = name;
    this.schedule = schedule;
  }

  nextEntry(): string {
    this.#entries += 1;
    return `${this.name} ${this.#entries}`;
  }

  /** Aborts every transaction and drops every connection. What was committed stays. */
  crash(): void {
    this.crashes += 1;
    this.migrating = undefined;
    const { share } = this;
    const open = new Set([
      ...share.sharing,
      ...share.rowLocks.values(),
      ...(share.alone ? [share.alone] : []),
    ]);
    for (const { refuse } of share.queue.splice(0)) refuse(new Refusal(CRASHED));
    for (const tx of open) tx.end();
  }
}

/** What current_tenant_id() refuses a request with. */
export function admit(fence: Fence | undefined, context: Context, isReadOnly: boolean, at: number): void {
  if ("token" in context) {
    if (fence?.token !== context.token) throw new Refusal(SUPERSEDED);
    return;
  }
  if (fence?.mode === "loading" || (fence?.epoch ?? 1) !== context.epoch) throw new Refusal(OTHER_EPOCH);
  if (fence?.mode === "closed") throw new Refusal(MOVED);
  if (fence?.mode === "frozen" && fence.until > at && !isReadOnly) throw new Refusal(HELD);
}

/** Whether set_fence() lets the mode follow what was before. */
function mayFollow(
  mode: FenceMode,
  was: Fence | undefined,
  token: number,
  epoch: number,
  at: number,
): boolean {
  const isLapsed = was?.mode === "frozen" && was.until <= at;
  const isOwn = was?.token === token;
  const isSame = was?.epoch === epoch;
  const isAtWork = isSame && (was.mode === "open" || was.mode === "logged" || was.mode === "frozen");
  const follows: Record<FenceMode, boolean> = {
    logged: !was || isAtWork,
    frozen: isOwn && isSame && (was.mode === "logged" || was.mode === "frozen") && !isLapsed,
    closed: isOwn && (was.mode === "loading" || (was.mode === "frozen" && isSame && !isLapsed)),
    loading: !was || was.mode === "closed" || was.mode === "loading" || (was.mode === "open" && isSame),
    open: (isOwn && was.mode === "loading") || isAtWork,
  };
  return follows[mode];
}

/** A transaction for the tenant, in read committed: each statement sees what is committed when it begins, and its own writes. */
export class Tx implements View {
  readonly #site: Site;
  readonly #share: Share;
  readonly #process: Process;
  readonly #crashes: number;
  readonly context: Context;
  readonly #writes = new Map<string, { table: TableName; id: string; row: Row | undefined }>();
  readonly #logged: Entry[] = [];
  readonly #forgotten: string[] = [];
  readonly #locks: string[] = [];
  #fence: Fence | undefined;
  #waiting: (() => void)[] = [];
  #waitsFor: Tx | undefined;

  constructor(site: Site, process: Process, context: Context) {
    this.#site = site;
    this.#share = site.share;
    this.#process = process;
    this.#crashes = site.crashes;
    this.context = context;
  }

  /** Waits for its turn. Throws when Postgres has crashed meanwhile. */
  async step(label: string): Promise<void> {
    await this.#site.schedule.step(this.#process, `${label} at ${this.#site.name}`);
    this.#check();
  }

  #check(): void {
    if (this.#crashes !== this.#site.crashes) throw new Refusal(CRASHED);
  }

  /** Begins a statement: in its snapshot, the fence lets it pass. */
  verify(isReadOnly = false): void {
    admit(this.#share.fence, this.context, isReadOnly, this.#site.schedule.now);
  }

  /** Takes the tenant's advisory lock, after those who wait for it already. */
  async lock(lock: Lock): Promise<void> {
    const share = this.#share;
    const turn = Promise.withResolvers<void>();
    const waiting = { tx: this, lock, grant: turn.resolve, refuse: turn.reject };
    share.queue.push(waiting);
    share.grant();
    if (!share.queue.includes(waiting)) return;
    this.#site.schedule.note(`${this.#process.name} waits for the lock at ${this.#site.name}`);
    const cancel = this.#site.schedule.after(lock === "alone" ? FLIP_WAITS_MS : WRITER_WAITS_MS, () => {
      if (!share.queue.includes(waiting)) return;
      share.queue = share.queue.filter((each) => each !== waiting);
      share.grant();
      turn.reject(new Refusal(LOCK_TIMEOUT));
    });
    await turn.promise.finally(cancel);
  }

  /** Locks rows and names, which may be others after the wait for somebody else's. The fence is not looked at again. */
  async hold(names: () => readonly string[]): Promise<void> {
    for (;;) {
      const wanted = names();
      const holder = wanted
        .map((name) => this.#share.rowLocks.get(name))
        .find((tx) => tx !== undefined && tx !== this);
      if (!holder) {
        for (const name of wanted) this.#share.rowLocks.set(name, this);
        this.#locks.push(...wanted);
        return;
      }
      for (let next: Tx | undefined = holder; next; next = next.#waitsFor)
        if (next === this) throw new Refusal(DEADLOCK);
      this.#waitsFor = holder;
      await new Promise<void>((resolve) => holder.#waiting.push(resolve));
      this.#waitsFor = undefined;
      this.#check();
    }
  }

  get(table: TableName, id: string): Row | undefined {
    const written = this.#writes.get(`${table} ${id}`);
    return written ? written.row : this.#share.rows.get(table, id);
  }

  all(table: TableName): Row[] {
    const rows = this.#share.rows.all(table);
    const written = [...this.#writes.values()].filter((write) => write.table === table);
    if (written.length === 0) return rows;
    const left = rows.filter(({ id }) => !this.#writes.has(`${table} ${id}`));
    return [...left, ...written.flatMap(({ row }) => row ?? [])].sort((one, two) =>
      one.id < two.id ? -1 : 1,
    );
  }

  put(table: TableName, row: Row): void {
    this.#write(table, row.id, row);
  }

  drop(table: TableName, id: string): void {
    if (this.get(table, id)) this.#write(table, id, undefined);
  }

  /** As the trigger log_row() does after it. */
  #write(table: TableName, id: string, row: Row | undefined): void {
    this.#writes.set(`${table} ${id}`, { table, id, row });
    const mode = this.#share.fence?.mode;
    if (mode === "logged" || mode === "frozen") this.enter(table, id);
  }

  /** Makes an entry in the change log. */
  enter(table: TableName, key: string): void {
    this.#logged.push({ id: this.#site.nextEntry(), table, key });
  }

  entries(): readonly Entry[] {
    return [...this.#share.log.values()];
  }

  forget(ids: readonly string[]): void {
    this.#forgotten.push(...ids);
  }

  /** As set_fence() does. */
  async setFence(mode: FenceMode, epoch: number, heldMs: number): Promise<FenceMode | ""> {
    await this.lock("alone");
    const { fence: was, log } = this.#share;
    const { now } = this.#site.schedule;
    const token = "token" in this.context ? this.context.token : 0;
    if (was && was.token > token) throw new Refusal(SUPERSEDED);
    if (!mayFollow(mode, was, token, epoch, now)) throw new Refusal(CANNOT_FOLLOW);
    this.#fence = { mode, epoch, token, until: mode === "frozen" ? now + heldMs : 0 };
    if (mode === "open") this.forget([...log.keys()]);
    this.#site.schedule.note(`${this.#site.name}: ${was?.mode ?? ""} -> ${mode} ${epoch} by ${token}`);
    return was?.mode ?? "";
  }

  commit(): void {
    const { rows, log } = this.#share;
    for (const { table, id, row } of this.#writes.values())
      if (row) rows.put(table, row);
      else rows.drop(table, id);
    for (const id of this.#forgotten) log.delete(id);
    for (const entry of this.#logged) log.set(entry.id, entry);
    if (this.#fence) this.#share.fence = this.#fence;
    this.end();
  }

  /** Gives its locks back, whether it is committed or not. */
  end(): void {
    const share = this.#share;
    for (const name of this.#locks) if (share.rowLocks.get(name) === this) share.rowLocks.delete(name);
    for (const proceed of this.#waiting.splice(0)) proceed();
    share.sharing.delete(this);
    if (share.alone === this) share.alone = undefined;
    share.queue = share.queue.filter(({ tx }) => tx !== this);
    share.grant();
  }
}
