import { sql, type SQL } from "drizzle-orm";
import type { TenantDb } from "../db/client.ts";
import { keyRecord } from "../tenant/record.ts";
import { SCOPES } from "./caller.ts";

type Queries = Parameters<Parameters<TenantDb["write"]>[0]>[0];

/**
 * Takes from a member's API keys what its role does not allow, as it is now, deletes those left with nothing, and
 * selects the rest.
 */
export function narrowKeys(db: Queries, tenantId: string, userId: string | SQL) {
  const allowed = sql`(${JSON.stringify(SCOPES)}::jsonb -> m.role)`;
  const ofMember = sql`k.tenant_id = ${tenantId} and k.created_by = ${userId}
    and m.tenant_id = k.tenant_id and m.user_id = k.created_by`;
  return [
    db.execute(
      sql`delete from api_keys k using memberships m where ${ofMember} and not ${allowed} ?| k.scopes returning k.id`,
    ),
    db.execute(
      sql`update api_keys k set scopes = array(select scope from unnest(k.scopes) scope where ${allowed} ? scope)
        from memberships m where ${ofMember} and not ${allowed} @> to_jsonb(k.scopes)`,
    ),
    // All of them: the object may not have heard of those that an earlier request narrowed.
    db.execute(sql`select ${keyRecord} as key from api_keys k where k.tenant_id = ${tenantId}
      and k.created_by = ${userId}`),
  ] as const;
}
