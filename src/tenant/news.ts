import { sql } from "drizzle-orm";
import * as v from "valibot";
import { identityDb, rethrow } from "../db/client.ts";
import { query, type Given } from "../db/query.ts";
import { within } from "../within.ts";
import { EdgeRecord, edgeRecord, isLiveKey, KeyRecord, keyRecord } from "./record.ts";

/** Outbox entries that are read at once. */
const PAGE = 1000;

/** Less than a request waits for its tenant's object, so that this fails before whoever waits for it gives up. */
const LOAD_TIMEOUT_MS = 4_000;

/**
 * The entries `from` to `upto` of a tenant's outbox, which has `head` of them. Each carries the current value. Of two
 * readings the one with the greater `upto` is newer.
 */
export const News = v.object({
  from: v.number(),
  upto: v.number(),
  head: v.number(),
  record: v.nullable(EdgeRecord),
  keys: v.array(KeyRecord),
  deletedKeys: v.array(v.string()),
  /** What bears the id (a user, a session) is void below the version. */
  floors: v.array(v.tuple([v.string(), v.number()])),
});
export type News = v.InferOutput<typeof News>;

/** What the tenant's object has not confirmed yet after the entry `after`, in one row. */
export const newsOf = query((db, { tenantId, after }: Given<{ tenantId: string; after: number }>) =>
  db.execute(sql`
    with page as (
      select * from outbox where tenant_id = ${tenantId} and seq > ${after} order by seq limit ${PAGE}
    ), changed as (
      select k.* from api_keys k where k.tenant_id = ${tenantId} and ${isLiveKey}
        and k.id in (select subject from page where kind = 'api_key')
    )
    select json_build_object(
      'from', coalesce((select min(seq) from page), h.head + 1),
      'upto', case when (select count(*) from page) < ${PAGE} then h.head else (select max(seq) from page) end,
      'head', h.head,
      'record', (select ${edgeRecord} from tenants t where t.id = ${tenantId}
        and exists (select from page where kind = 'tenant')),
      'keys', (select coalesce(json_agg(${keyRecord}), '[]') from changed k),
      'deletedKeys', (select coalesce(json_agg(distinct subject), '[]') from page
        where kind = 'api_key' and subject not in (select id from changed)),
      'floors', (select coalesce(json_agg(json_build_array(subject, version)), '[]')
        from (select subject, max(version) as version from page where kind = 'floor' group by subject) f)) as news
    from outbox_heads h where h.tenant_id = ${tenantId}`),
);

const NewsRow = v.object({ news: News });

/** What newsOf() has found; undefined when there is no such tenant. */
export const readNews = ({ rows }: { rows: unknown[] }): News | undefined =>
  v.parse(v.array(NewsRow), rows)[0]?.news;

const recordOf = query((db, { tenantId }: Given<{ tenantId: string }>) =>
  db.execute(sql`
    select ${edgeRecord} as tenant,
      coalesce((select json_agg(${keyRecord}) from api_keys k where k.tenant_id = t.id and ${isLiveKey}), '[]') as keys
    from tenants t where t.id = ${tenantId}`),
);
const Known = v.object({ tenant: EdgeRecord, keys: v.array(KeyRecord) });

const dropConfirmed = query((db, { tenantId, confirmed }: Given<{ tenantId: string; confirmed: number }>) =>
  // Not in a database that was restored from a backup, where other entries may have these numbers.
  db.execute(sql`delete from outbox where tenant_id = ${tenantId} and seq <= ${confirmed}
    and exists (select from outbox_heads h where h.tenant_id = outbox.tenant_id and h.head >= ${confirmed})`),
);

/**
 * The tenant's record and API keys as Postgres has them now, and the news since the entry that its object has confirmed;
 * what it has confirmed is deleted. Undefined when there is no such tenant. Throws when that takes longer than 4 s.
 */
export async function loadTenant(tenantId: string, confirmed: number) {
  // The news are read last: they have what the record and the keys lack by then.
  const reading = identityDb
    .batch([
      dropConfirmed({ tenantId, confirmed }),
      recordOf({ tenantId }),
      newsOf({ tenantId, after: confirmed }),
    ])
    .catch(rethrow);
  const [, record, found] = await within(LOAD_TIMEOUT_MS, reading);
  const known = v.parse(v.array(Known), record.rows)[0];
  const news = readNews(found);
  return known && news && { ...known, news };
}
