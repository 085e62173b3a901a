import { sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { GONE, type CredentialNews } from "../tenant/credentials.ts";
import { KeyRecord, keyRecord } from "../tenant/record.ts";

/** Sessions that an issuer vouched for; credentials_changed() has as many keys and members. */
const MAX_ENDED = 1000;

const Floors = v.array(v.tuple([v.string(), v.number()]));
const Ended = v.object({ keys: v.array(KeyRecord), deleted_keys: v.array(v.string()), sessions: Floors });
const Changed = v.object({ members: Floors });

/**
 * What ended or changed in a tenant in the last 15 minutes, for its object: the same for a change, for one that was made
 * before, and for one that found nothing to do. So a request whose answer was lost is simply sent again. Runs in the
 * tenant's context, after the change. membersChanged runs after it, in none.
 */
export const endedLately = (tenantId: string): SQL => sql`
  with lately as (select resource, id from credentials_changed())
  select
    (select coalesce(json_agg(${keyRecord}), '[]') from api_keys k
      where k.tenant_id = ${tenantId} and k.id in (select id from lately)) as keys,
    (select coalesce(json_agg(distinct l.id), '[]') from lately l where l.resource = 'api_keys'
      and not exists (select from api_keys k where k.id = l.id)) as deleted_keys,
    (select coalesce(json_agg(json_build_array(ended.id, ${GONE}::bigint)), '[]') from (select s.id from sessions s
      where s.tenant_id = ${tenantId} and s.revoked_at > now() - interval '15 minutes' and s.issuer_id is not null
      order by s.revoked_at desc limit ${MAX_ENDED}) ended) as sessions,
    set_config('app.changed', (select coalesce(json_agg(distinct l.id), '[]')::text from lately l
      where l.resource = 'memberships'), true)`;

/** The members of endedLately(), with the version that voids their older tokens: one who left is no row of the tenant's. */
export const membersChanged: SQL = sql`
  select coalesce(json_agg(json_build_array(changed.id, coalesce(u.version, ${GONE}::bigint))), '[]') as members
  from json_array_elements_text(current_setting('app.changed')::json) as changed(id)
    left join users u on u.id = changed.id::uuid`;

type Rows = { rows: unknown[] };

/** What both have found, as the tenant's object learns it. */
export function readEnded(ended: Rows, changed: Rows): CredentialNews {
  const [{ keys, deleted_keys, sessions }] = v.parse(v.tuple([Ended]), ended.rows);
  const [{ members }] = v.parse(v.tuple([Changed]), changed.rows);
  return { keys, deletedKeys: deleted_keys, floors: [...members, ...sessions] };
}
