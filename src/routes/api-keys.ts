import * as v from "valibot";
import { API_KEY_SCOPES } from "../authority.ts";
import { factory } from "../context.ts";
import { query, type Given } from "../db/query.ts";
import { apiKeys } from "../db/control.ts";
import { needs, recently } from "../edge/needs.ts";
import { Instant } from "../values.ts";
import { answerNew, answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { IdempotencyKey } from "../http/idempotency.ts";
import { answerPage, newestFirst, pageFrom, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { createApiKey, deleteApiKey, findApiKey, k, rotateApiKey, shownKey } from "../identity/api-keys.ts";
import { listOf } from "../list-of.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";

const tag = "API keys";

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

const list = query((db, page: Given<PageStart>) =>
  pageFrom(() => db.select(shownKey).from(k).$dynamic(), newestFirst(k), page),
);

export const apiKeyRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listApiKeys", {
      summary: "List API keys, newest first",
      tag,
      answers: { 200: pageOf(ApiKey) },
    }),
    needs("api_keys:read"),
    valid("query", PageQuery),
    (c) =>
      answerPage(c, async (page) => {
        const { found } = await c.get("account").read({ found: list(page) });
        return found;
      }),
  )
  .post(
    "/",
    operation("createApiKey", {
      summary: "Make an API key, which is shown this once",
      tag,
      made: MadeApiKey,
      problems: ["too_many_api_keys", "idempotency_key_reused", "step_up_required"],
    }),
    needs("api_keys:write"),
    valid("header", IdempotencyKey),
    valid("json", NewApiKey),
    async (c) => {
      const { name, scopes, expires_at: expiresAt = null } = c.req.valid("json");
      const { row, isRepeat } = await createApiKey(
        c.get("account"),
        recently(c.get("caller")),
        { name, scopes, expiresAt },
        c.req.valid("header")["idempotency-key"],
      );
      if (isRepeat) c.header("Idempotency-Replayed", "true");
      return answerNew(c, row);
    },
  )
  .get(
    "/:id",
    operation("getApiKey", { summary: "An API key", tag, row: ApiKey, problems: ["not_found"] }),
    needs("api_keys:read"),
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      return answerRow(c, await findApiKey(c.get("account"), id));
    },
  )
  .delete(
    "/:id",
    operation("deleteApiKey", {
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
      const only = ifMatch(apiKeys, c.req.valid("header"));
      await deleteApiKey(c.get("account"), c.get("caller").tenantId, id, only);
      return c.body(null, 204);
    },
  )
  .post(
    "/:id/rotate",
    operation("rotateApiKey", {
      summary: "Make a key that takes this one's place, which goes on for a while",
      tag,
      made: MadeApiKey,
      problems: [
        "not_found",
        "too_many_api_keys",
        "api_key_expired",
        "precondition_failed",
        "step_up_required",
      ],
    }),
    needs("api_keys:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", Rotation),
    async (c) => {
      const maker = recently(c.get("caller"));
      const { id } = c.req.valid("param");
      const { overlap_s } = c.req.valid("json");
      const only = ifMatch(k, c.req.valid("header"));
      const row = await rotateApiKey(c.get("account"), maker, id, overlap_s, only);
      return answerNew(c, row, "/v1/api-keys");
    },
  );
