import { DurableObject } from "cloudflare:workers";
import { BoundedMap } from "../bounded-map.ts";
import { FIRST_EPOCH, type Home } from "../db/places.ts";
import type { Decision, Policy, Standing } from "../policy.ts";
import { admits, type Access, type TenantStatus } from "../tenant-states.ts";
import { Alarm } from "./alarm.ts";
import { Courier } from "./courier.ts";
import { Credentials, type Proof } from "./credentials.ts";
import { KeyUsage } from "./key-usage.ts";
import { Ledger, type Row } from "./limits/ledger.ts";
import { commitMove, loadTenant, type News } from "./news.ts";
import { homeOf, policiesOf, type EdgeRecord, type KeyRecord } from "./record.ts";
import { Usage, type Notes, type StoredUsage } from "./usage.ts";
import { sendUsage, warningOf } from "./usage-flush.ts";

/** How old the tenant's record may grow while requests come in. */
const RECORD_REFRESH_MS = 300_000;

/** How soon a re-reading that failed is tried again. */
const RECORD_RETRY_MS = 10_000;

/** How soon the tenant's home is looked for again, when it was not found to be elsewhere. */
const RELOCATION_RETRY_MS = 1000;

/** Usage is sent to Postgres so often at most; after a failure twice as late each time, up to ten minutes. */
const FLUSH_MS = 60_000;
const MAX_FLUSH_MS = 600_000;

/** What was stored longer ago is stored again before it is sent. So a flush adds no row to those of a busy tenant. */
const FRESH_MS = 15_000;

/** Calls whose answers are kept, for one that is made again because its answer was lost. */
const REMEMBERED_CALLS = 64;

/** What a request asks of its tenant: so many units, for what it is to the tenant, on the strength of this credential. */
export type Demand = readonly [cost: number, access: Access, ...proof: Proof];

/**
 * May a request pass, by its credential, the tenant's status and its limits? An unknown key is also `revoked`. `key` is
 * set when an API key was shown, `home` when the tenant's content is not where most tenants' is.
 */
export type Admission =
  | { refused?: never; decision: Decision; key?: Pick<KeyRecord, "id" | "scopes">; home?: Home }
  | { refused: TenantStatus | "unknown" | "revoked" };

/** What is stored of the limits, and the usage beside it, in one row: it costs no row of its own. */
type StoredRow = Row & { readonly usage?: StoredUsage };

/** The answers to a call's requests, in their order, with the tenant's slug; none, and why, when it could not be decided. */
export type Answers = { admissions: Admission[]; failed?: string } & Partial<Pick<EdgeRecord, "slug">>;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * What a call has come to. With `tells`, a failure is returned as a text: the runtime logs what a method throws, and not as
 * JSON. A Worker from before a deploy does not set `tells`, and would take a text for success.
 */
const outcomeOf = <T>(work: Promise<T>, tells: boolean): Promise<T | string> =>
  tells ? work.catch(textOf) : work;

/**
 * One tenant's single authority at the edge, named by the tenant's id: its status, its credentials and its exact limits.
 * Postgres is the system of record for the first two; the counters live here alone, and Postgres gets copies of the usage.
 */
export class Tenant extends DurableObject<Env> {
  #ledger: Ledger;
  readonly #credentials: Credentials;
  readonly #keyUsage: KeyUsage;
  readonly #courier: Courier;
  readonly #alarm: Alarm;
  #usage: Usage;
  #storedAt = -Infinity;
  #failedFlushes = 0;
  readonly #recent = new BoundedMap<string, Promise<string>>(REMEMBERED_CALLS);
  /** The outbox entries up to this one are in force here. */
  #confirmed: number;
  #record: EdgeRecord | undefined;
  #policies: readonly Policy[] = [];
  /** None while that is where most tenants' content is. */
  #home: Home | undefined;
  #refreshedAt = -Infinity;
  #loading: Promise<News | undefined> | undefined;
  #refreshing: Promise<void> | undefined;
  #relocating: Promise<void> | undefined;
  #relocatedAt = -Infinity;
  #write: Promise<boolean> | undefined;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const row = ctx.storage.kv.get<StoredRow>("limits");
    this.#ledger = new Ledger(row, Date.now());
    this.#usage = new Usage(row?.usage, Date.now());
    this.#alarm = new Alarm(ctx.storage, () => this.#usage.wrote(1));
    this.#credentials = new Credentials(ctx.storage);
    this.#keyUsage = new KeyUsage(ctx.id.name ?? "");
    this.#courier = new Courier(ctx.id.name ?? "", ctx.storage, this.#alarm, {
      now: () => this.#homeForNews(),
      findHome: (epoch, isClosed) => this.#relocate(epoch, isClosed),
    });
    this.#confirmed = ctx.storage.kv.get<number>("confirmed") ?? 0;
    const record = ctx.storage.kv.get<EdgeRecord>("record");
    if (record) this.#take(record);
    // Stores the state after a crash even if nobody calls again.
    this.#watchForIdleness();
  }

  /**
   * Decides on these demands, first come first served. What is admitted is counted, and only that: exactly, also
   * across a crash. A call with the id of a recent one is that one again, and gets its answers. They are Answers in
   * JSON: as objects, the runtime would take longer to pass them on than the object to decide. `notes` are what the caller
   * alone knows of earlier requests. Never throws: see outcomeOf().
   */
  admit(callId: string, demands: Demand[], notes?: Notes): Promise<string> {
    const known = this.#recent.get(callId);
    if (known) return known;
    const answers = this.#decide(demands, notes).catch((error: unknown) =>
      JSON.stringify({ admissions: [], failed: textOf(error) } satisfies Answers),
    );
    this.#recent.set(callId, answers);
    return answers;
  }

  async #decide(demands: Demand[], notes: Notes | undefined): Promise<string> {
    const isSupport = demands.some(([, , ...proof]) => proof.length === 4);
    if (isSupport) await this.#catchUp();
    else if (Date.now() - this.#refreshedAt > RECORD_REFRESH_MS) {
      const refreshed = this.#refresh();
      // With any record a request need not wait for a newer one; a key, only once the keys were read.
      const isKey = this.#confirmed === 0 && demands.some(([, , ...proof]) => proof.length === 1);
      if (!this.#record || isKey) await refreshed;
    }
    if (!this.#record) {
      const admissions = demands.map((): Admission => ({ refused: "unknown" }));
      return JSON.stringify({ admissions } satisfies Answers);
    }
    const { slug, status } = this.#record;

    // From here to the last decision nothing is awaited: no other request comes between.
    const now = Date.now();
    let waitFor = 0;
    let [requests, refusals, units] = [0, 0, 0];
    const keys: [id: string, units: number][] = [];
    const admissions = demands.map(([cost, access, ...proof]): Admission => {
      const credential = this.#credentials.judge(proof, now);
      if (!credential) return { refused: "revoked" };
      if (!admits(status, access)) return { refused: status };
      const { decision, mark, wait } = this.#ledger.decide(this.#policies, cost, now);
      if (wait) waitFor = mark;
      const isAdmitted = decision.outcome === "admitted";
      if (isAdmitted) {
        requests += 1;
        units += cost;
      } else refusals += 1;
      const admission = { decision, ...(this.#home && { home: this.#home }) };
      if (credential === true) return admission;
      this.#keyUsage.note(credential.id, now);
      keys.push([credential.id, isAdmitted ? cost : 0]);
      return { ...admission, key: { id: credential.id, scopes: credential.scopes } };
    });
    this.#writeDueRow();
    if (waitFor > 0) await this.#covered(waitFor);
    // Only now, as it is answered: what a crash keeps from being answered was never counted.
    this.#usage.count(now, requests, refusals, units);
    for (const [id, spent] of keys) this.#usage.countKey(id, spent);
    if (notes) this.#usage.take(notes, (hash) => this.#credentials.idOfKey(hash), now);
    this.#watchForIdleness();
    return JSON.stringify({ slug, admissions } satisfies Answers);
  }

  /** What is left of each limit now, for whoever only looks: it spends nothing and counts as no request. Null without a tenant. */
  standings(tells = false): Promise<Standing[] | null | string> {
    return outcomeOf(this.#standings(), tells);
  }

  async #standings(): Promise<Standing[] | null> {
    if (!this.#record) await this.#refresh();
    return this.#record ? this.#ledger.standings(this.#policies, Date.now()) : null;
  }

  /**
   * When this returns, all outbox entries up to `head` are stored and enforced: from the news, or from Postgres where the
   * news leave a gap. News that it has already change nothing, however late they arrive. The tenant's site has them too, or
   * gets them when it is in reach again.
   */
  receive(head: number, news?: News, tells = false): Promise<string | void> {
    return outcomeOf(this.#confirm(head, news), tells);
  }

  async #confirm(head: number, news?: News): Promise<void> {
    if (news && news.from <= this.#confirmed + 1) this.#apply(news);
    let newest = news;
    // A second time, as the first may have been a reading that began before.
    for (let tries = 1; tries <= 2 && this.#confirmed < head; tries++) newest = await this.#load();
    if (this.#confirmed < head) throw new Error("the outbox is shorter than its head");
    await this.#courier.deliver(this.#confirmed, newest);
  }

  /**
   * Learns the tenant's record, so that its first request need not wait for it, and what it lacks of the outbox up to
   * `head`. An older record changes nothing.
   */
  async learn(record: EdgeRecord, head: number, tells = false): Promise<string | void> {
    this.#takeNewer(record);
    return outcomeOf(this.#confirm(head), tells);
  }

  /**
   * Where the tenant's content is, after its site has refused this epoch: by the record, which is read again once a second at
   * most. If the site has closed for good, and whoever moved the tenant died before saying so, this says so.
   */
  relocate(epoch: number, isClosed: boolean, tells = false): Promise<Home | string> {
    return outcomeOf(this.#relocate(epoch, isClosed), tells);
  }

  async #relocate(epoch: number, isClosed: boolean): Promise<Home> {
    const known = await this.#homeForNews();
    if (known.epoch > epoch || Date.now() - this.#relocatedAt < RELOCATION_RETRY_MS) return known;
    this.#relocating ??= (async () => {
      try {
        await this.#load();
        if (isClosed && (await this.#homeForNews()).epoch === epoch) {
          await commitMove(this.ctx.id.name ?? "", epoch);
          await this.#load();
        }
        // Such as the move's own entry in the audit trail. Nobody waits for it: the courier may be who asks.
        void this.#courier.deliver(this.#confirmed);
      } finally {
        this.#relocatedAt = Date.now();
        this.#relocating = undefined;
      }
    })();
    await this.#relocating;
    return this.#homeForNews();
  }

  /** Tells the tenant's site what it could not be told before, and Postgres what was used. */
  override async alarm(): Promise<void> {
    const due = await this.#alarm.rang(Date.now());
    await Promise.all([this.#courier.deliver(this.#confirmed), due.has("usage") && this.#flush()]);
  }

  /** Deletes all that is kept here. What is remembered of the tenant's limits and usage is not stored again. */
  async erase(): Promise<void> {
    this.#forget();
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    this.#ledger = new Ledger(undefined, Date.now());
    this.#usage = new Usage(undefined, Date.now());
    await this.#write;
    this.#alarm.forget();
    await this.ctx.storage.deleteAll();
  }

  /** Whether nothing is kept here. */
  async isEmpty(): Promise<boolean> {
    return [...this.ctx.storage.kv.list()].length === 0 && (await this.ctx.storage.getAlarm()) === null;
  }

  /** Does nothing, to tell whether objects answer. */
  async ping(): Promise<void> {}

  #apply(news: News): void {
    if (news.upto <= this.#confirmed) return;
    this.#credentials.learn(news, Date.now());
    if (news.record) this.#takeNewer(news.record);
    this.#confirmed = news.upto;
    // Stored atomically with the news: nothing is awaited in between.
    this.ctx.storage.kv.put("confirmed", this.#confirmed);
  }

  #takeNewer(record: EdgeRecord): void {
    if (this.#record && this.#record.version >= record.version) return;
    this.#take(record);
    this.ctx.storage.kv.put("record", record);
  }

  #take(record: EdgeRecord): void {
    this.#record = record;
    this.#policies = policiesOf(record);
    const home = homeOf(record);
    this.#home = record.site || home.epoch !== FIRST_EPOCH ? home : undefined;
  }

  /** Where the courier brings the news: as the newest record that is known here says. */
  async #homeForNews(): Promise<Home> {
    if (!this.#record) await this.#load();
    if (!this.#record) throw new Error("the tenant is not there");
    return homeOf(this.#record);
  }

  /**
   * Reads what Postgres says of the tenant by now, for an operator whom it has let in: what ends that in Postgres alone, such as
   * an operator's removal by the command line, is in force at their next request. Fails where that cannot be known.
   */
  async #catchUp(): Promise<void> {
    // A reading that began before may have missed it.
    await this.#loading?.catch(() => undefined);
    const news = await this.#load();
    void this.#courier.deliver(this.#confirmed, news);
  }

  /** Re-reads what Postgres says of the tenant, once at a time. Fails only when there is no record to go on with. */
  #refresh(): Promise<void> {
    this.#refreshing ??= (async () => {
      try {
        const news = await this.#load();
        void this.#courier.deliver(this.#confirmed, news);
      } catch (error) {
        if (!this.#record) throw error;
        // Retry in 10 s, not on every request: that would not help a database that is down.
        this.#refreshedAt = Date.now() - RECORD_REFRESH_MS + RECORD_RETRY_MS;
        console.error({
          message: "tenant record not refreshed",
          tenant: this.#record.id,
          cause: String(error),
        });
      } finally {
        this.#refreshing = undefined;
      }
    })();
    return this.#refreshing;
  }

  /** Reads the tenant's record, its keys and its outbox from Postgres, once at a time; returns the last page of its news. */
  #load(): Promise<News | undefined> {
    this.#loading ??= (async () => {
      try {
        for (;;) {
          const { isWhole, news } = await this.#loadPage();
          if (isWhole) return news;
        }
      } finally {
        this.#loading = undefined;
      }
    })();
    return this.#loading;
  }

  /** `isWhole`: nothing is left to read. */
  async #loadPage(): Promise<{ isWhole: boolean; news?: News }> {
    const asked = this.#confirmed;
    const known = await loadTenant(this.ctx.id.name ?? "", asked, this.#courier.delivered);
    // Unknown tenant: retry in 10 s, not on every request.
    this.#refreshedAt = Date.now() - (known ? 0 : RECORD_REFRESH_MS - RECORD_RETRY_MS);
    if (!known) {
      this.#forget();
      return { isWhole: true };
    }
    const { tenant, keys, news } = known;
    // News arrived during the reading: its keys may be older than they say.
    if (this.#confirmed !== asked) return { isWhole: this.#confirmed >= news.head };
    if (news.head < asked) {
      // The database was restored from a backup. What it says holds, although it is older: all of it is read.
      this.#forget();
      return { isWhole: false };
    }
    this.#credentials.replaceKeys(keys);
    this.#takeNewer(tenant);
    this.#apply(news);
    return { isWhole: news.upto === news.head, news };
  }

  /** Has nothing any more of what Postgres said of the tenant. What was revoked stays so. */
  #forget(): void {
    this.#courier.forget();
    this.#confirmed = 0;
    this.#record = undefined;
    this.#credentials.replaceKeys([]);
    for (const name of ["confirmed", "record"]) this.ctx.storage.kv.delete(name);
  }

  /** Writes the row that the ledger or the usage wants on disk, if any, and the next one when that is done. */
  #writeDueRow(): void {
    const now = Date.now();
    const row = this.#ledger.due(now) ?? (this.#usage.idleIn(now) === 0 ? this.#ledger.extra() : undefined);
    if (row) this.#write = this.#writeRow(row);
    else this.#watchForIdleness();
  }

  /** Whether the row reached the disk. A failure leaves the next attempt to the next request. */
  async #writeRow(row: Row): Promise<boolean> {
    const own = this.#usage;
    own.wrote(1);
    const usage = own.snapshot();
    try {
      // Unconfirmed, so that no answer which the last row covers waits for this one; sync() tells when it is on disk.
      const stored: StoredRow = { ...row, usage };
      const written = this.ctx.storage.put("limits", stored, { allowUnconfirmed: true });
      await Promise.all([written, this.#askToFlush(FLUSH_MS)]);
      await this.ctx.storage.sync();
    } catch (error) {
      console.error({ message: "limits not written", tenant: this.ctx.id.name, cause: String(error) });
      this.#ledger.failed(Date.now());
      own.failed();
      this.#watchForIdleness();
      return false;
    } finally {
      this.#write = undefined;
    }
    this.#ledger.confirmed();
    own.confirmed(usage);
    this.#storedAt = Date.now();
    this.#writeDueRow();
    return true;
  }

  /** Returns when a crash could no longer lose the units up to this mark. Throws when they could not be written. */
  async #covered(mark: number): Promise<void> {
    while (!this.#ledger.covers(mark))
      if (!(await this.#write)) throw new Error("the limits could not be written");
  }

  /** Has the exact state written a few seconds after the last hit, before the object is put to sleep. */
  #watchForIdleness(): void {
    if (this.#idleTimer !== undefined) return;
    const now = Date.now();
    const idleIn = Math.min(this.#ledger.idleIn(now), this.#usage.idleIn(now));
    if (idleIn === Infinity) return;
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined;
      this.#writeDueRow();
    }, idleIn);
  }

  #askToFlush(inMs: number): Promise<void> {
    return this.#alarm.ask("usage", Date.now() + inMs);
  }

  /**
   * Sends Postgres what is on disk of the usage, and it has not: nothing else, so that after a crash the figures here are not
   * behind those there. Never throws.
   */
  async #flush(): Promise<void> {
    const [own, tenantId] = [this.#usage, this.ctx.id.name ?? ""];
    try {
      if (own.isDirty && Date.now() - this.#storedAt > FRESH_MS) await this.#writeExtraRow();
      const news = own.unflushed();
      if (!news) return;
      const head = await sendUsage(tenantId, news, this.#warning());
      own.flushed(news.seq);
      this.#failedFlushes = 0;
      if (head > this.#confirmed) await this.#confirm(head);
      // What was stored meanwhile.
      if (own === this.#usage && own.unflushed()) await this.#askToFlush(FLUSH_MS);
    } catch (error) {
      if (own !== this.#usage) return;
      await this.#askToFlush(Math.min(FLUSH_MS * 2 ** this.#failedFlushes, MAX_FLUSH_MS));
      this.#failedFlushes += 1;
      if (this.#failedFlushes === 1)
        console.error({ message: "usage not sent", tenant: tenantId, cause: String(error) });
    }
  }

  async #writeExtraRow(): Promise<void> {
    await this.#write;
    const row = this.#ledger.extra();
    if (row) this.#write = this.#writeRow(row);
    await this.#write;
  }

  /** How much of the month's limit is used, if that is worth a warning. */
  #warning() {
    const now = Date.now();
    return this.#record && warningOf(this.#ledger.standings(this.#policies, now), now);
  }
}
