import { sql } from "drizzle-orm";
import { query, type Given } from "../db/query.ts";
import type { AccountDb, Batch, Builder, Results } from "../tenant-db.ts";
import { newsOf, readNews } from "./news.ts";
import { tellTenant } from "./stub.ts";

const lock = query((db, { tenantId }: Given<{ tenantId: string }>) =>
  db.execute(sql`select lock_outbox(${tenantId})`),
);

/**
 * One change of a tenant's control plane: the queries in one transaction. Only one change of a tenant runs at a time.
 * Returns when the tenant's object has confirmed all that was changed up to then, by this request or an earlier one. So a
 * request whose answer was lost is simply sent again, though it finds nothing to do. Throws `unavailable` when the object
 * does not confirm.
 */
export async function change<B extends Batch>(
  db: AccountDb,
  tenantId: string,
  queries: (q: Builder) => B,
): Promise<Results<B>> {
  const done = await db.write((q) => ({
    "": lock({ tenantId }),
    ...queries(q),
    news: newsOf({ tenantId, after: 0 }),
  }));
  await tellTenant(tenantId, readNews(done.news));
  return done;
}
