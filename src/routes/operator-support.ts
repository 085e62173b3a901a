import * as v from "valibot";
import type { Context } from "hono";
import { factory, forRequest, type Edge } from "../context.ts";
import { openOperatorDb } from "../db/client.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { valid } from "../http/valid.ts";
import { askSupport, findSupport, leaveTenant, openSupport, SupportSession } from "../identity/support.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { TAKES } from "../operator.ts";
import { Uuid } from "../values.ts";

const tag = "Operator";

const NewSupportSession = v.strictObject({
  reason: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(500)),
  minutes: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(60)),
  write: v.optional(v.boolean(), false),
});
/** A session that has begun, with the token that the tenant's routes take. */
const SupportGrant = v.object({
  ...SupportSession.entries,
  access_token: v.string(),
  token_type: v.literal("Bearer"),
  expires_in: v.number(),
});
nameSchemas({ NewSupportSession, SupportGrant });
const OfTenant = v.object({ id: Uuid });
const OfSession = v.object({ id: Uuid, session_id: Uuid });

const dbOf = (c: Context<Edge>) => openOperatorDb(forRequest(c));
const actOf = (c: Context<Edge>, reason: string | null = null) => ({
  operator: c.get("operator"),
  reason,
  requestId: c.get("requestId"),
});

/** What operators ask of tenants that let them in: a token that is theirs alone, and says so of all that is done with it. */
export const operatorSupportRoutes = factory
  .createApp()
  .post(
    "/:id/support-sessions",
    floodGuard,
    operatorOnly(TAKES.enterTenant),
    operation("createSupportSession", {
      summary:
        "Ask for access to a tenant: 201 with a token where it lets operators in, 202 where an owner is asked",
      tag,
      answers: { 201: SupportGrant, 202: SupportSession },
      problems: ["support_access_off", "not_found", "tenant_state"],
      token: "operator",
    }),
    valid("param", OfTenant),
    valid("json", NewSupportSession),
    async (c) => {
      const { reason, ...asked } = c.req.valid("json");
      const of = { tenantId: c.req.valid("param").id, ...asked };
      const session = await askSupport(dbOf(c), actOf(c, reason), of);
      return c.json(session, session.status === "active" ? 201 : 202);
    },
  )
  .get(
    "/:id/support-sessions/:session_id",
    floodGuard,
    operatorOnly(TAKES.enterTenant),
    operation("getSupportSession", {
      summary: "Whether a session of support is asked, active or ended",
      tag,
      answers: { 200: SupportSession },
      problems: ["not_found"],
      token: "operator",
    }),
    valid("param", OfSession),
    async (c) => {
      const { id, session_id } = c.req.valid("param");
      return c.json(await findSupport(dbOf(c), id, session_id));
    },
  )
  .post(
    "/:id/support-sessions/:session_id/token",
    floodGuard,
    operatorOnly(TAKES.enterTenant),
    operation("createSupportToken", {
      summary: "The next token of your own session of support, for ten minutes at most",
      tag,
      answers: { 200: SupportGrant },
      problems: ["not_found", "support_session_asked", "support_session_over"],
      token: "operator",
    }),
    valid("param", OfSession),
    async (c) => {
      const { id, session_id } = c.req.valid("param");
      return c.json(await openSupport(dbOf(c), actOf(c), id, session_id), 200);
    },
  )
  .delete(
    "/:id/support-sessions/:session_id",
    floodGuard,
    operatorOnly(TAKES.enterTenant),
    operation("endSupportSession", {
      summary: "Leave the tenant: your own session of support ends, or as an admin anybody's",
      tag,
      answers: { 204: null },
      problems: ["not_found"],
      token: "operator",
    }),
    valid("param", OfSession),
    async (c) => {
      const { id, session_id } = c.req.valid("param");
      await leaveTenant(dbOf(c), actOf(c), id, session_id);
      return c.body(null, 204);
    },
  );
