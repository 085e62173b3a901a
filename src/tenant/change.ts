import { sql } from "drizzle-orm";
import { query } from "../db/query.ts";
import type { Batch, Builder, Results, TenantDb } from "../tenant-db.ts";
import { newsOf, readNews } from "./news.ts";
import { tellTenant } from "./stub.ts";

const lock = query((db) => db.execute(sql`select lock_outbox(current_tenant_id())`));

/**
 * One change of a tenant's control plane: the queries in one transaction. Only one change of a tenant runs at a time.
 * Returns when the tenant's object has confirmed all that was changed up to then, by this request or an earlier one. The
 * tenant's site has been told by then, or is told when it is in reach again. So a request whose answer was lost is simply
 * sent again, though it finds nothing to do. Throws `unavailable` when the object does not confirm.
 */
export async function change<B extends Batch>(
  db: TenantDb,
  tenantId: string,
  queries: (q: Builder) => B,
): Promise<Results<B>> {
  const done = await db.write((q) => ({
    "": lock({}),
    ...queries(q),
    news: newsOf({ after: 0 }),
  }));
  await tellTenant(tenantId, readNews(done.news));
  return done;
}
