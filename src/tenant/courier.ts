import { sql } from "drizzle-orm";
import * as v from "valibot";
import { query, type Given } from "../db/query.ts";
import type { Home } from "../db/places.ts";
import type { Alarm } from "./alarm.ts";
import { newsOf, openForObject, readNews, siteMember, type News } from "./news.ts";

/** A site that has not taken the news within this time is out of reach. */
const DELIVERY_TIMEOUT_MS = 2_000;
/** How soon a delivery that failed is tried again; each time twice as late as the time before, up to five minutes. */
const RETRY_MS = 10_000;
const MAX_RETRY_MS = 300_000;

type Page = Pick<News, "from" | "upto" | "entries">;
const Receipt = v.tuple([v.object({ seq: v.number() })]);

const receive = query((db, { from, upto, entries }: Given<Omit<Page, "entries"> & { entries: string }>) =>
  db.execute(sql`select receive(${from}, ${upto}, ${entries}::jsonb)::float8 as seq`),
);
const receiveMembers = query((db, { upto, members }: Given<{ upto: number; members: string }>) =>
  db.execute(sql`select receive_members(${upto}, ${members}::jsonb)`),
);
const allMembers = query((db) =>
  db.execute(sql`
    select coalesce(json_agg(${siteMember}), '[]')::text as members
    from memberships m join users u on u.id = m.user_id`),
);
const AllMembers = v.tuple([v.object({ members: v.string() })]);

/** Where the tenant's content is, as far as is known, and when its site refuses that. */
type Homes = { now: () => Promise<Home>; findHome: (epoch: number, isClosed: boolean) => Promise<Home> };

/**
 * Brings a tenant's site what its control plane has for it: who its members are, and what the audit trail says of the
 * control plane. In the order of the outbox, each entry once. No change waits longer than 2 s for that or fails with it;
 * what could not be delivered is delivered by the object's alarm, also after a crash.
 */
export class Courier {
  readonly #tenantId: string;
  readonly #storage: DurableObjectStorage;
  readonly #alarm: Alarm;
  readonly #homes: Homes;
  /** The outbox entries up to this one are in force at the site. */
  #delivered: number;
  #underWay: Promise<void> = Promise.resolve();
  /** Deliveries that failed since the last one that did not. */
  #failures = 0;

  constructor(tenantId: string, storage: DurableObjectStorage, alarm: Alarm, homes: Homes) {
    this.#tenantId = tenantId;
    this.#storage = storage;
    this.#alarm = alarm;
    this.#homes = homes;
    this.#delivered = storage.kv.get<number>("delivered") ?? 0;
  }

  get delivered(): number {
    return this.#delivered;
  }

  /** Has all entries up to this one delivered, from the news if they have them, one page after the other. Never throws. */
  async deliver(upto: number, news?: News): Promise<void> {
    if (this.#delivered >= upto) return;
    // Before the delivery: if the object crashes during it, the alarm goes on with it.
    await this.#alarm.set("news", Date.now() + RETRY_MS);
    this.#underWay = this.#underWay.then(() => this.#bring(upto, news));
    await this.#underWay;
  }

  /** Forgets what the site has, because the control plane's database was restored from a backup. */
  forget(): void {
    this.#delivered = 0;
    this.#storage.kv.delete("delivered");
  }

  async #bring(upto: number, news: News | undefined): Promise<void> {
    try {
      const until = Date.now() + DELIVERY_TIMEOUT_MS;
      for (let page = news; this.#delivered < upto; page = undefined) {
        if (Date.now() >= until) throw new Error(`not delivered within ${DELIVERY_TIMEOUT_MS} ms`);
        await this.#bringPage(page);
      }
      this.#failures = 0;
      await this.#alarm.clear("news");
    } catch (error) {
      const delay = Math.min(RETRY_MS * 2 ** this.#failures, MAX_RETRY_MS);
      await this.#alarm.set("news", Date.now() + delay);
      this.#failures += 1;
      if (this.#failures > 1) return;
      console.error({ message: "site not told", tenant: this.#tenantId, cause: String(error) });
    }
  }

  async #bringPage(news: News | undefined): Promise<void> {
    const isNext = news && news.from <= this.#delivered + 1 && news.upto > this.#delivered;
    const page = isNext ? news : await this.#read();
    const received = await this.#send(page);
    if (received >= page.from - 1 && received <= page.head) return this.#note(received);
    // News may come late, and then know less than the site.
    if (isNext) return this.#bringPage(undefined);
    // One of the two databases was restored from a backup: the site takes the members as they are, and goes on from here.
    const { all } = await this.#openControl().read({ all: allMembers({}) });
    const [{ members }] = v.parse(AllMembers, all.rows);
    await (await this.#openSite()).write({ "": receiveMembers({ upto: page.from - 1, members }) });
    this.#note(page.from - 1);
  }

  async #read(): Promise<News> {
    const { found } = await this.#openControl().read({ found: newsOf({ after: this.#delivered }) });
    const news = readNews(found);
    if (!news) throw new Error("the tenant is not there");
    return news;
  }

  /** Returns the number of the last entry that is in force at the site. */
  async #send({ from, upto, entries }: Page): Promise<number> {
    const { receipt } = await (
      await this.#openSite()
    ).write({
      receipt: receive({ from, upto, entries: JSON.stringify(entries) }),
    });
    return v.parse(Receipt, receipt.rows)[0].seq;
  }

  #openControl() {
    return openForObject("account", this.#tenantId, DELIVERY_TIMEOUT_MS);
  }

  async #openSite() {
    const { now, findHome } = this.#homes;
    return openForObject("courier", this.#tenantId, DELIVERY_TIMEOUT_MS, { home: await now(), findHome });
  }

  #note(delivered: number): void {
    this.#delivered = delivered;
    this.#storage.kv.put("delivered", delivered);
  }
}
