import { sql } from "drizzle-orm";
import * as v from "valibot";
import { openTenantDb, type ForRequest } from "../db/client.ts";
import { edgeRecord, isLiveKey, keyRecord } from "../db/edge-record.ts";
import type { Home } from "../db/places.ts";
import { query, type Given } from "../db/query.ts";
import { Deadline } from "../deadline.ts";
import { EdgeRecord, KeyRecord } from "./record.ts";

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
  /** What the tenant's site is to know, as its receive() takes it. */
  entries: v.array(v.unknown()),
});
export type News = v.InferOutput<typeof News>;

/** A tenant's control plane, or its site, as its own object sees it. What takes longer than `ms` fails. */
export const openForObject = (
  lane: "account" | "courier",
  tenantId: string,
  ms: number,
  at?: { home: Home; findHome: ForRequest["findHome"] & {} },
) =>
  openTenantDb(
    lane,
    tenantId,
    { id: tenantId, as: "object" },
    {
      id: "",
      deadline: new Deadline(undefined, ms),
      onAnswer: () => undefined,
      ...(at && { findHome: at.findHome }),
    },
    at?.home,
  );

/** A member as the site knows them, of the aliases m and u. */
export const siteMember = sql`json_build_object('id', m.user_id, 'email', u.email, 'role', m.role)`;

/** What the tenant's object, or its site, has not confirmed yet after the entry `after`, in one row. */
export const newsOf = query((db, { after }: Given<{ after: number }>) =>
  db.execute(sql`
    with page as (
      select * from outbox where seq > ${after} order by seq limit ${PAGE}
    ), changed as (
      select k.* from api_keys k where ${isLiveKey} and k.id in (select subject from page where kind = 'api_key')
    )
    select json_build_object(
      'from', coalesce((select min(seq) from page), h.head + 1),
      'upto', case when (select count(*) from page) < ${PAGE} then h.head else (select max(seq) from page) end,
      'head', h.head,
      'record', (select ${edgeRecord} from tenants t where exists (select from page where kind = 'tenant')),
      'keys', (select coalesce(json_agg(${keyRecord}), '[]') from changed k),
      'deletedKeys', (select coalesce(json_agg(distinct subject), '[]') from page
        where kind = 'api_key' and subject not in (select id from changed)),
      'floors', (select coalesce(json_agg(json_build_array(subject, version)), '[]')
        from (select subject, max(version) as version from page where kind = 'floor' group by subject) f),
      'entries', (select coalesce(json_agg(json_build_object('seq', e.seq, 'kind', e.kind, 'subject', e.subject,
          'event', e.event, 'member', case e.kind when 'member' then (select ${siteMember} from memberships m
            join users u on u.id = m.user_id where m.user_id = e.subject) end)), '[]')
        from page e where e.kind in ('member', 'audit'))) as news
    from outbox_heads h`),
);
const NewsRow = v.object({ news: News });

/** What newsOf() has found; undefined when there is no such tenant. */
export const readNews = ({ rows }: { rows: unknown[] }): News | undefined =>
  v.parse(v.array(NewsRow), rows)[0]?.news;

const recordOf = query((db) =>
  db.execute(sql`
    select ${edgeRecord} as tenant,
      coalesce((select json_agg(${keyRecord}) from api_keys k where ${isLiveKey}), '[]') as keys
    from tenants t`),
);
const Known = v.object({ tenant: EdgeRecord, keys: v.array(KeyRecord) });

const dropDelivered = query((db, { delivered }: Given<{ delivered: number }>) =>
  db.execute(sql`select drop_outbox(${delivered})`),
);

const commit = query((db, { tenantId, epoch }: Given<{ tenantId: string; epoch: number }>) =>
  db.execute(sql`select commit_move(${tenantId}, ${epoch})`),
);

/**
 * Sends the tenant where its move leads, after its site was closed for good in this epoch and whoever moves it has not said
 * so to the control plane. Does nothing if they have.
 */
export const commitMove = (tenantId: string, epoch: number) =>
  openForObject("account", tenantId, LOAD_TIMEOUT_MS).write({ "": commit({ tenantId, epoch }) });

/**
 * The tenant's record and API keys as Postgres has them now, and the news since the entry that its object has confirmed;
 * what its site has as well is deleted. Undefined when there is no such tenant. Throws when that takes longer than 4 s.
 */
export async function loadTenant(tenantId: string, confirmed: number, delivered: number) {
  // The news are read last: they have what the record and the keys lack by then.
  const { record, news: found } = await openForObject("account", tenantId, LOAD_TIMEOUT_MS).write({
    "": dropDelivered({ delivered: Math.min(confirmed, delivered) }),
    record: recordOf({}),
    news: newsOf({ after: confirmed }),
  });
  const known = v.parse(v.array(Known), record.rows)[0];
  const news = readNews(found);
  return known && news && { ...known, news };
}
