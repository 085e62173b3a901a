import { sql } from "drizzle-orm";
import { query, type Given } from "../db/query.ts";
import { openForObject } from "./news.ts";

/** Uses are written so often at most. */
const INTERVAL_MS = 60_000;
/** The first use after a pause is written this much later, with those that follow it. */
const DELAY_MS = 8_000;

/** A write that takes longer is tried again with the next one. */
const TIMEOUT_MS = 15_000;

const write = query((db, { ats }: Given<{ ats: string }>) =>
  // Rows that somebody is changing are skipped: this neither waits for them nor can it be in a deadlock.
  db.execute(sql`
    with used as (
      select k.id, to_timestamp(at::float8 / 1000) as at
      from json_each_text(${ats}::json) as u(id, at) join api_keys k on k.id = u.id::uuid
      for no key update of k skip locked
    )
    update api_keys k set last_used_at = greatest(k.last_used_at, used.at) from used where k.id = used.id`),
);

/**
 * When each of a tenant's API keys was last used, for people to see which are not. Written to Postgres by itself, for
 * all keys at once, a minute late at most: no request waits for it or fails with it, and a crash may lose a minute.
 */
export class KeyUsage {
  readonly #tenantId: string;
  readonly #unwritten = new Map<string, number>();
  #writtenAt = -Infinity;
  #isDue = false;
  #isFailing = false;

  constructor(tenantId: string) {
    this.#tenantId = tenantId;
  }

  /** Notes that the key of this id was used at `now`, in ms. */
  note(id: string, now: number): void {
    this.#unwritten.set(id, now);
    if (this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => void this.#write(), Math.max(DELAY_MS, this.#writtenAt + INTERVAL_MS - now));
  }

  async #write(): Promise<void> {
    const uses = new Map(this.#unwritten);
    this.#unwritten.clear();
    this.#isDue = false;
    this.#writtenAt = Date.now();
    try {
      const ats = JSON.stringify(Object.fromEntries(uses));
      await openForObject("account", this.#tenantId, TIMEOUT_MS).write({ "": write({ ats }) });
      this.#isFailing = false;
    } catch (error) {
      for (const [id, at] of uses) if (!this.#unwritten.has(id)) this.#unwritten.set(id, at);
      if (this.#isFailing) return;
      this.#isFailing = true;
      console.error({
        message: "use of API keys not written",
        tenant: this.#tenantId,
        cause: String(error),
      });
    }
  }
}
