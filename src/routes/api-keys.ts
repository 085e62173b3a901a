import { and, desc, eq, sql } from "drizzle-orm";
import { alias } from "drizzle-orm/pg-core";
import type { SelectResultFields } from "drizzle-orm/query-builders/select.types";
import type { Context } from "hono";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { API_KEY_SCOPES, type ApiKeyScope } from "../authority.ts";
import type { SignedIn } from "../caller.ts";
import { factory } from "../context.ts";
import { apiKeys } from "../db/schema.ts";
import { needs, signedIn } from "../edge/needs.ts";
import { Instant } from "../http/calendar.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { IdempotencyKey } from "../http/idempotency.ts";
import { insufficientScope, invalidToken } from "../identity/bearer.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { makeApiKey, repeatableApiKey } from "../identity/api-key.ts";
import { isActing, vouchedBy } from "../identity/acting.ts";
import { listOf } from "../list-of.ts";
import { Problem } from "../problem.ts";
import { teachTenant } from "../tenant/stub.ts";
import { KeyRecord, keyRecord } from "../tenant/record.ts";

const tag = "API keys";

/** Keys that a tenant may have at once, so that its object can hold them all. */
const MAX_LIVE = 100;
const MAX_OVERLAP_S = 7 * 24 * 3600;

const ApiKey = v.object({
  id: v.string(),
  name: v.string(),
  scopes: v.array(v.picklist(API_KEY_SCOPES)),
  hint: v.string(),
  created_by: v.string(),
  created_at: v.string(),
  expires_at: v.nullable(v.string()),
  last_used_at: v.nullable(v.string()),
});
const MadeApiKey = v.object({ ...ApiKey.entries, key: v.string() });
const NewApiKey = v.strictObject({
  name: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(100)),
  scopes: v.pipe(
    listOf(v.picklist(API_KEY_SCOPES), 1, API_KEY_SCOPES.length),
    v.checkItems((scope, index, scopes) => scopes.indexOf(scope) === index, "given twice"),
  ),
  expires_at: v.optional(
    v.nullable(
      v.pipe(
        Instant,
        v.check((time) => time.getTime() > Date.now(), "a time in the future"),
        v.transform((time) => time.toISOString()),
      ),
    ),
  ),
});
const Rotation = v.strictObject({
  overlap_s: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_OVERLAP_S)), 24 * 3600),
});
nameSchemas({ ApiKey, MadeApiKey, NewApiKey, ApiKeyRotation: Rotation });

const k = alias(apiKeys, "k");
const shown = {
  id: k.id,
  name: k.name,
  scopes: k.scopes,
  hint: k.hint,
  created_by: k.created_by,
  created_at: k.created_at,
  expires_at: k.expires_at,
  last_used_at: k.last_used_at,
};
const versioned = { ...shown, version: k.version };
const record = sql<unknown>`${keyRecord}`;
type Row = SelectResultFields<typeof versioned>;

const isLive = sql`(k.expires_at is null or k.expires_at > now())`;

/** A key never may more than who makes it. */
function checkScopes(maker: SignedIn, scopes: readonly ApiKeyScope[]): void {
  const excess = scopes.find((scope) => !maker.scopes.includes(scope));
  if (excess) throw insufficientScope(`The role ${maker.role} does not have the scope ${excess}.`, excess);
}

/** The maker's membership; it stays so until the transaction has ended. */
const asMaker = (maker: SignedIn) =>
  sql`select a.user_id, ${vouchedBy(maker)} as vouched_by from memberships a where ${isActing(maker)} for share`;

// Keys are made one at a time in a tenant: of two at once, each would be the hundredth.
const inTurn = ({ tenantId }: SignedIn) =>
  sql`select pg_advisory_xact_lock(hashtextextended(${tenantId}, 0))`;

const isKey = (tenantId: string, id: string) => and(eq(k.tenant_id, tenantId), eq(k.id, id));

/** The key that the same request made within a day: the end of its id says which request that was. */
const ofThisRequest = (tenantId: string, idEnd: string) =>
  sql`k.tenant_id = ${tenantId} and right(k.id::text, ${idEnd.length}) = ${idEnd}
    and k.created_at > now() - interval '24 hours'`;

/** Answers a new key, the one time that its text is shown. */
function answerMade(c: Context, row: Row, text: string) {
  c.header("Location", `/v1/api-keys/${row.id}`);
  return answerRow(c, { ...row, key: text }, 201);
}

export const apiKeyRoutes = factory
  .createApp()
  .get(
    "/",
    operation({
      summary: "List API keys, newest first",
      tag,
      answers: { 200: pageOf(ApiKey) },
    }),
    needs("api_keys:read"),
    valid("query", PageQuery),
    async (c) => {
      const { tenantId } = c.get("caller");
      const pager = new Pager(c.req.valid("query"), tenantId, c.req.path);
      const [rows] = await c.get("identity").read((db) => [
        db
          .select(shown)
          .from(k)
          .where(and(eq(k.tenant_id, tenantId), pager.after(k)))
          .orderBy(desc(k.created_at), desc(k.id))
          .limit(pager.rows),
      ]);
      return c.json(pager.page(rows));
    },
  )
  .post(
    "/",
    operation({
      summary: "Make an API key, which is shown this once",
      tag,
      answers: { 201: MadeApiKey },
      problems: ["too_many_api_keys", "idempotency_key_reused"],
    }),
    needs("api_keys:write"),
    valid("header", IdempotencyKey),
    valid("json", NewApiKey),
    async (c) => {
      const maker = signedIn(c.get("caller"));
      const { name, scopes, expires_at = null } = c.req.valid("json");
      checkScopes(maker, scopes);
      const { tenantId } = maker;
      const idempotencyKey = c.req.valid("header")["idempotency-key"];
      const repeatable =
        idempotencyKey === undefined
          ? undefined
          : repeatableApiKey(
              tenantId,
              JSON.stringify([tenantId, maker.id, idempotencyKey]),
              JSON.stringify([name, scopes, expires_at]),
            );
      const { id, key } = repeatable ?? { id: uuidv7(), key: makeApiKey(tenantId) };
      const isThis = repeatable ? ofThisRequest(tenantId, repeatable.idEnd) : isKey(tenantId, id);
      const [, inserted, [made], { rows: makers }] = await c.get("identity").write((db) => [
        db.execute(inTurn(maker)),
        db.execute(sql`
          with maker as (${asMaker(maker)})
          insert into api_keys (id, tenant_id, name, scopes, hash, hint, created_by, vouched_by, expires_at)
          select ${id}::uuid, ${tenantId}::uuid, ${name}, ${sql.param(scopes, k.scopes)}::text[],
            ${sql.param(key.hash, k.hash)}::bytea, ${key.hint}, user_id, vouched_by, ${expires_at}::timestamptz
          from maker where not exists (select from api_keys k where ${isThis}) and (select count(*) from api_keys k where k.tenant_id = ${tenantId} and ${isLive}) < ${MAX_LIVE}
          returning 1`),
        db.select({ row: versioned, record }).from(k).where(isThis),
        db.execute(asMaker(maker)),
      ]);
      if (makers.length === 0) throw invalidToken();
      if (!made) throw new Problem("too_many_api_keys");
      const news = v.parse(KeyRecord, made.record);
      const text = repeatable ? repeatable.textOf(news) : key.text;
      if (text === undefined) throw new Problem("idempotency_key_reused");
      if (inserted.rows.length === 0) c.header("Idempotency-Replayed", "true");
      await teachTenant(tenantId, { keys: [news] });
      return answerMade(c, made.row, text);
    },
  )
  .get(
    "/:id",
    operation({ summary: "An API key", tag, answers: { 200: ApiKey }, problems: ["not_found"] }),
    needs("api_keys:read"),
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      const { tenantId } = c.get("caller");
      const [[row]] = await c
        .get("identity")
        .read((db) => [db.select(versioned).from(k).where(isKey(tenantId, id))]);
      if (!row) throw new Problem("not_found");
      return answerRow(c, row);
    },
  )
  .delete(
    "/:id",
    operation({
      summary: "Revoke an API key",
      tag,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("api_keys:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => {
      const { id } = c.req.valid("param");
      const { tenantId } = c.get("caller");
      const [[gone], [there]] = await c.get("identity").write((db) => [
        db
          .delete(apiKeys)
          .where(
            and(eq(apiKeys.tenant_id, tenantId), eq(apiKeys.id, id), ifMatch(apiKeys, c.req.valid("header"))),
          )
          .returning({ id: apiKeys.id }),
        db.select({ id: k.id }).from(k).where(isKey(tenantId, id)),
      ]);
      if (there) throw new Problem("precondition_failed");
      // Also when nothing was there: an earlier request may have deleted it, and not reached the object.
      await teachTenant(tenantId, { deletedKeys: [id] });
      if (!gone) throw new Problem("not_found");
      return c.body(null, 204);
    },
  )
  .post(
    "/:id/rotate",
    operation({
      summary: "Make a key that takes this one's place, which goes on for a while",
      tag,
      answers: { 201: MadeApiKey },
      problems: ["not_found", "too_many_api_keys", "api_key_expired", "precondition_failed"],
    }),
    needs("api_keys:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", v.optional(Rotation, {})),
    async (c) => {
      const maker = signedIn(c.get("caller"));
      const { tenantId } = maker;
      const { id } = c.req.valid("param");
      const { overlap_s } = c.req.valid("json");
      // The same rotation again, as after a lost answer, is the same key.
      const { key, ...next } = repeatableApiKey(
        tenantId,
        JSON.stringify(["rotation", tenantId, maker.id, id, overlap_s]),
        "",
      );
      const isThis = ofThisRequest(tenantId, next.idEnd);
      const [, { rows: makers }, , [made], [old]] = await c.get("identity").write((db) => [
        db.execute(inTurn(maker)),
        // Before the key, as whoever changes the maker's role locks them.
        db.execute(asMaker(maker)),
        // The new one is its maker's, who knows it now, whoever made the old one.
        db.execute(sql`
          with maker as (${asMaker(maker)}), old as (
            select k.* from api_keys k
            where ${and(isKey(tenantId, id), ifMatch(k, c.req.valid("header")))} and ${isLive}
              and k.scopes <@ ${sql.param([...maker.scopes], k.scopes)}::text[] for update
          ), made as (
            insert into api_keys (id, tenant_id, name, scopes, hash, hint, created_by, vouched_by, expires_at)
            select ${next.id}::uuid, old.tenant_id, old.name, old.scopes, ${sql.param(key.hash, k.hash)}::bytea,
              ${key.hint}, maker.user_id, maker.vouched_by, old.expires_at
            from old, maker where not exists (select from api_keys k where ${isThis}) and (select count(*) from api_keys k
              where ${eq(k.tenant_id, tenantId)} and ${isLive} and (k.id <> ${id} or ${overlap_s} > 0)) < ${MAX_LIVE}
            returning 1
          )
          update api_keys k set expires_at = least(k.expires_at, now() + ${overlap_s} * interval '1 second')
          from made where ${isKey(tenantId, id)}`),
        db.select({ row: versioned, record }).from(k).where(isThis),
        db
          .select({
            row: versioned,
            record,
            is_live: sql<boolean>`${isLive}`,
            matches: sql<boolean>`${ifMatch(k, c.req.valid("header")) ?? sql`true`}`,
          })
          .from(k)
          .where(isKey(tenantId, id)),
      ]);
      if (makers.length === 0) throw invalidToken();
      if (!old) throw new Problem("not_found");
      const news = made && v.parse(KeyRecord, made.record);
      const text = news && next.textOf(news);
      if (!made || !news || text === undefined) {
        checkScopes(maker, old.row.scopes);
        // An earlier request may have ended it, and not reached the object.
        if (!old.is_live) await teachTenant(tenantId, { deletedKeys: [id] });
        if (!old.matches) throw new Problem("precondition_failed");
        throw new Problem(old.is_live ? "too_many_api_keys" : "api_key_expired");
      }
      await teachTenant(
        tenantId,
        // Without an overlap not even by the difference of two clocks.
        overlap_s === 0
          ? { keys: [news], deletedKeys: [id] }
          : { keys: [news, v.parse(KeyRecord, old.record)] },
      );
      return answerMade(c, made.row, text);
    },
  );
