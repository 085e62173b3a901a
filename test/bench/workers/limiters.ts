import { neon, neonConfig } from "@neondatabase/serverless";
import { DurableObject, env } from "cloudflare:workers";
import { counts, limitedApp, POLICY, type Limiter, type Verdict } from "./limited.ts";

type Bound = {
  LIMITER: string;
  LIMITER_DATABASE_URL: string;
  NEON_FETCH_ENDPOINT: string;
  MEMORY: DurableObjectNamespace<MemoryWindow>;
  STORED: DurableObjectNamespace<StoredLog>;
};
const bound = env as unknown as Bound;
const SPAN = POLICY.window * 1000;

/** A fixed window counted in memory alone: what a crash or an eviction forgets was never spent. */
export class MemoryWindow extends DurableObject<Env> {
  #endsAt = -Infinity;
  #used = 0;

  hit(): Verdict {
    const now = Date.now();
    if (now >= this.#endsAt) {
      this.#endsAt = (Math.floor(now / SPAN) + 1) * SPAN;
      this.#used = 0;
    }
    const admitted = this.#used < POLICY.limit;
    if (admitted) this.#used += 1;
    return { admitted, remaining: POLICY.limit - this.#used, resetMs: this.#endsAt - now };
  }
}

/** An exact sliding log, in memory and with a stored row for each request, on disk before the answer leaves. */
export class StoredLog extends DurableObject<Env> {
  readonly #sql: SqlStorage;
  readonly #times: number[];
  #oldest = 0;
  #cleanedAt = Date.now();

  constructor(ctx: DurableObjectState, own: Env) {
    super(ctx, own);
    this.#sql = ctx.storage.sql;
    this.#sql.exec("create table if not exists admitted (at integer not null)");
    const rows = this.#sql.exec<{ at: number }>("select at from admitted order by at").toArray();
    this.#times = rows.map(({ at }) => at);
  }

  hit(): Verdict {
    const now = Math.max(Date.now(), this.#times.at(-1) ?? 0);
    while (now - (this.#times[this.#oldest] ?? Infinity) >= SPAN) this.#oldest += 1;
    if (now - this.#cleanedAt >= SPAN) this.#clean(now);
    const admitted = this.#times.length - this.#oldest < POLICY.limit;
    if (admitted) {
      this.#times.push(now);
      // The output gate keeps the answer until this is on disk.
      counts.rows += this.#sql.exec("insert into admitted values (?)", now).rowsWritten;
    }
    return {
      admitted,
      remaining: POLICY.limit - (this.#times.length - this.#oldest),
      resetMs: (this.#times[this.#oldest] ?? now) + SPAN - now,
    };
  }

  #clean(now: number): void {
    this.#cleanedAt = now;
    this.#times.splice(0, this.#oldest);
    this.#oldest = 0;
    counts.rows += this.#sql.exec("delete from admitted where at <= ?", now - SPAN).rowsWritten;
  }
}

/** A counter row of a fixed window in Postgres, one statement a request; a refusal writes nothing. */
function counterRow(): Limiter {
  neonConfig.fetchEndpoint = bound.NEON_FETCH_ENDPOINT;
  const sql = neon(bound.LIMITER_DATABASE_URL);
  return async (tenantId) => {
    const now = Date.now();
    const began = Math.floor(now / SPAN) * SPAN;
    const [row] = await sql`
      insert into limiter_counters as c (tenant_id, began, used) values (${tenantId}, ${began}, 1)
      on conflict (tenant_id) do update set
        used = case when c.began = excluded.began then c.used + 1 else 1 end,
        began = excluded.began
      where c.began <> excluded.began or c.used < ${POLICY.limit}
      returning used`;
    if (row) counts.rows += 1;
    const used = row ? Number(row["used"]) : POLICY.limit;
    return { admitted: row !== undefined, remaining: POLICY.limit - used, resetMs: began + SPAN - now };
  };
}

const LIMITERS: Record<string, () => Limiter> = {
  memory: () => (tenantId) => bound.MEMORY.getByName(tenantId).hit(),
  stored: () => (tenantId) => bound.STORED.getByName(tenantId).hit(),
  postgres: counterRow,
  // Not a limiter: what refusing would cost after the same way to it.
  none: () => async () => ({ admitted: false, remaining: 0, resetMs: SPAN }),
};
const make = LIMITERS[bound.LIMITER];
if (!make) throw new Error(`There is no limiter ${bound.LIMITER}.`);

export default limitedApp(make());
