import { and, eq, sql, type SQL } from "drizzle-orm";
import { alias } from "drizzle-orm/pg-core";
import type { SelectResultFields } from "drizzle-orm/query-builders/select.types";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { ApiKeyScope } from "../authority.ts";
import type { SignedIn } from "../caller.ts";
import { query, type Given, type Id } from "../db/query.ts";
import { apiKeys } from "../db/control.ts";
import { isLiveKey, keyRecord } from "../db/edge-record.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { KeyRecord } from "../tenant/record.ts";
import { isActing, vouchedBy } from "./acting.ts";
import { makeApiKey, repeatableApiKey } from "./api-key.ts";
import { insufficientScope, invalidToken } from "./bearer.ts";

/** Keys that a tenant may have at once, so that its object can hold them all. */
const MAX_LIVE = 100;

export const k = alias(apiKeys, "k");
/** What is shown of a key. */
export const shownKey = {
  id: k.id,
  name: k.name,
  scopes: k.scopes,
  hint: k.hint,
  created_by: k.created_by,
  created_at: k.created_at,
  expires_at: k.expires_at,
  last_used_at: k.last_used_at,
};
const versioned = { ...shownKey, version: k.version };
const record = sql<unknown>`${keyRecord}`;
type Row = SelectResultFields<typeof versioned>;

/** A key just made, with its text, which is shown this once; or made by the same request before. */
export type MadeKey = { row: Row & { key: string }; isRepeat: boolean };

const isKey = (id: Id) => eq(k.id, id);

const byId = query((db, { id }: Given<{ id: string }>) => db.select(versioned).from(k).where(isKey(id)));

/** A key of the tenant. Throws `not_found`. */
export async function findApiKey(db: TenantDb, id: string): Promise<Row> {
  const { found } = await db.read({ found: byId({ id }) });
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

/** Throws `insufficient_scope` for scopes that the maker does not have: a key may never do more than its maker. */
function checkScopes(maker: SignedIn, scopes: readonly ApiKeyScope[]): void {
  const excess = scopes.find((scope) => !maker.scopes.includes(scope));
  if (excess) throw insufficientScope(`The role ${maker.role} does not have the scope ${excess}.`, excess);
}

/** The maker's membership, while they may act. */
const asMaker = (maker: SignedIn) =>
  sql`select a.user_id, ${vouchedBy(maker)} as vouched_by from memberships a where ${isActing(maker)}`;

/** The key that the same request made within a day: the end of its id says which request that was. */
const ofThisRequest = (idEnd: string) =>
  sql`right(k.id::text, ${idEnd.length}) = ${idEnd}
    and k.created_at > now() - interval '24 hours'`;

type NewKey = { name: string; scopes: readonly ApiKeyScope[]; expiresAt: string | null };

/**
 * Makes a key on behalf of its maker: the tenant's object knows it before this returns. With an `Idempotency-Key`, the
 * same request returns the same key for a day. Throws `too_many_api_keys`, `idempotency_key_reused`, and
 * `insufficient_scope` for a scope that the maker does not have.
 */
export async function createApiKey(
  db: TenantDb,
  maker: SignedIn,
  { name, scopes, expiresAt }: NewKey,
  idempotencyKey: string | undefined,
): Promise<MadeKey> {
  checkScopes(maker, scopes);
  const { tenantId } = maker;
  const repeatable =
    idempotencyKey === undefined
      ? undefined
      : repeatableApiKey(
          tenantId,
          JSON.stringify([tenantId, maker.id, idempotencyKey]),
          JSON.stringify([name, scopes, expiresAt]),
        );
  const { id, key } = repeatable ?? { id: uuidv7(), key: makeApiKey(tenantId) };
  const isThis = repeatable ? ofThisRequest(repeatable.idEnd) : isKey(id);
  const { inserted, made, makers } = await change(db, tenantId, (q) => ({
    inserted: q.execute(sql`
      with maker as (${asMaker(maker)})
      insert into api_keys (id, name, scopes, hash, hint, created_by, vouched_by, expires_at)
      select ${id}::uuid, ${name}, ${sql.param(scopes, k.scopes)}::text[],
        ${sql.param(key.hash, k.hash)}::bytea, ${key.hint}, user_id, vouched_by, ${expiresAt}::timestamptz
      from maker where not exists (select from api_keys k where ${isThis}) and (select count(*) from api_keys k where ${isLiveKey}) < ${MAX_LIVE}
      returning 1`),
    made: q.select({ row: versioned, record }).from(k).where(isThis),
    makers: q.execute(asMaker(maker)),
  }));
  if (makers.rows.length === 0) throw invalidToken();
  if (!made[0]) throw new Problem("too_many_api_keys");
  const text = repeatable ? repeatable.textOf(v.parse(KeyRecord, made[0].record)) : key.text;
  if (text === undefined) throw new Problem("idempotency_key_reused");
  return { row: { ...made[0].row, key: text }, isRepeat: inserted.rows.length === 0 };
}

/** Revokes a key, if `only` holds of it, as the tenant's object knows before this returns. */
export async function deleteApiKey(db: TenantDb, tenantId: string, id: string, only?: SQL): Promise<void> {
  const { gone, there } = await change(db, tenantId, (q) => ({
    gone: q
      .delete(apiKeys)
      .where(and(eq(apiKeys.id, id), only))
      .returning({ id: apiKeys.id }),
    there: q.select({ id: k.id }).from(k).where(isKey(id)),
  }));
  if (there.length > 0) throw new Problem("precondition_failed");
  if (gone.length === 0) throw new Problem("not_found");
}

/**
 * Replaces a key, if `only` (If-Match) holds of it. The old one stays valid for `overlapS` seconds. The same rotation
 * again, as after a lost answer, returns the same key. Throws `not_found`, `api_key_expired`,
 * `too_many_api_keys` and `precondition_failed`.
 */
export async function rotateApiKey(
  db: TenantDb,
  maker: SignedIn,
  id: string,
  overlapS: number,
  only?: SQL,
): Promise<Row & { key: string }> {
  const { tenantId } = maker;
  const { key, ...next } = repeatableApiKey(
    tenantId,
    JSON.stringify(["rotation", tenantId, maker.id, id, overlapS]),
    "",
  );
  const isThis = ofThisRequest(next.idEnd);
  const { makers, made, olds } = await change(db, tenantId, (q) => ({
    makers: q.execute(asMaker(maker)),
    // The new one is its maker's, who knows it now, whoever made the old one.
    replaced: q.execute(sql`
      with maker as (${asMaker(maker)}), old as (
        select k.* from api_keys k
        where ${and(isKey(id), only)} and ${isLiveKey}
          and k.scopes <@ ${sql.param([...maker.scopes], k.scopes)}::text[]
      ), made as (
        insert into api_keys (id, name, scopes, hash, hint, created_by, vouched_by, expires_at)
        select ${next.id}::uuid, old.name, old.scopes, ${sql.param(key.hash, k.hash)}::bytea,
          ${key.hint}, maker.user_id, maker.vouched_by, old.expires_at
        from old, maker where not exists (select from api_keys k where ${isThis}) and (select count(*) from api_keys k
          where ${isLiveKey} and (k.id <> ${id} or ${overlapS} > 0)) < ${MAX_LIVE}
        returning 1
      )
      update api_keys k
        set expires_at = least(k.expires_at, date_trunc('milliseconds', now()) + ${overlapS} * interval '1 second')
      from made where ${isKey(id)}`),
    made: q.select({ row: versioned, record }).from(k).where(isThis),
    olds: q
      .select({
        row: versioned,
        is_live: sql<boolean>`${isLiveKey}`,
        matches: sql<boolean>`${only ?? sql`true`}`,
      })
      .from(k)
      .where(isKey(id)),
  }));
  const [old] = olds;
  const [first] = made;
  if (makers.rows.length === 0) throw invalidToken();
  if (!old) throw new Problem("not_found");
  const text = first && next.textOf(v.parse(KeyRecord, first.record));
  if (first && text !== undefined) return { ...first.row, key: text };
  checkScopes(maker, old.row.scopes);
  if (!old.matches) throw new Problem("precondition_failed");
  throw new Problem(old.is_live ? "too_many_api_keys" : "api_key_expired");
}
