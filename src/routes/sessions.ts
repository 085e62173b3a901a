import { and, desc, eq, gt, isNull, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { sessions, users } from "../db/schema.ts";
import { userAgent } from "../edge/client.ts";
import { signedIn } from "../edge/needs.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { Session, switchTenant } from "../identity/session.ts";
import { Problem } from "../problem.ts";
import { Slug } from "../tenant/slug.ts";
import { teachTenant } from "../tenant/stub.ts";
import { GONE } from "../tenant/credentials.ts";

const tag = "Sessions";

const Listed = v.object({
  id: v.string(),
  current: v.boolean(),
  user_agent: v.string(),
  created_at: v.string(),
  last_used_at: v.string(),
  expires_at: v.string(),
});
const Switch = v.strictObject({ tenant: Slug });
nameSchemas({ ListedSession: Listed, Switch });

const shown = {
  id: sessions.id,
  user_agent: sessions.user_agent,
  created_at: sessions.created_at,
  last_used_at: sessions.rotated_at,
  expires_at: sessions.expires_at,
};

/** The caller's own sessions in this tenant. Each tenant has its own: none of them shows or ends another's. */
export const ownSessions = factory
  .createApp()
  .get(
    "/",
    operation({
      summary: "List one's sessions in this tenant, newest first",
      tag,
      answers: { 200: pageOf(Listed) },
    }),
    valid("query", PageQuery),
    async (c) => {
      const { tenantId, id, sessionId } = signedIn(c.get("caller"));
      const pager = new Pager(c.req.valid("query"), tenantId, `${c.req.path} ${id}`);
      const [rows] = await c.get("identity").read((db) => [
        db
          .select(shown)
          .from(sessions)
          .where(
            and(
              eq(sessions.tenant_id, tenantId),
              eq(sessions.user_id, id),
              isNull(sessions.revoked_at),
              gt(sessions.expires_at, sql`now()`),
              pager.after(sessions),
            ),
          )
          .orderBy(desc(sessions.created_at), desc(sessions.id))
          .limit(pager.rows),
      ]);
      const { data, next_cursor } = pager.page(rows);
      return c.json({
        data: data.map((session) => Object.assign(session, { current: session.id === sessionId })),
        next_cursor,
      });
    },
  )
  .post(
    "/switch",
    operation({
      summary: "Start a session in another tenant of one's own",
      tag,
      answers: { 201: Session },
      problems: ["not_found"],
    }),
    valid("json", Switch),
    async (c) => {
      const { id: userId, sessionId } = signedIn(c.get("caller"));
      const slug = c.req.valid("json").tenant;
      const grant = await switchTenant({ userId, sessionId, slug, userAgent: userAgent(c) });
      if (!grant) throw new Problem("not_found");
      await teachTenant(grant.record.id, { record: grant.record });
      return c.json(grant.session, 201);
    },
  )
  .delete(
    "/",
    operation({ summary: "Sign out everywhere in this tenant", tag, answers: { 204: null } }),
    async (c) => {
      const { tenantId, id } = signedIn(c.get("caller"));
      const [, [user]] = await c.get("identity").write((db) => [
        db
          .update(sessions)
          .set({ revoked_at: sql`now()` })
          .where(
            and(eq(sessions.tenant_id, tenantId), eq(sessions.user_id, id), isNull(sessions.revoked_at)),
          ),
        // Tokens that were made for an older version of the user are void.
        db
          .update(users)
          .set({ updated_at: sql`now()` })
          .where(eq(users.id, id))
          .returning({ version: users.version }),
      ]);
      if (user) await teachTenant(tenantId, { floors: [[id, user.version]] });
      return c.body(null, 204);
    },
  )
  .delete(
    "/:id",
    operation({
      summary: "End a session; `current` is the caller's",
      tag,
      answers: { 204: null },
      problems: ["not_found"],
    }),
    valid("param", v.object({ id: v.union([ById.entries.id, v.literal("current")]) })),
    async (c) => {
      const { tenantId, id: userId, sessionId } = signedIn(c.get("caller"));
      const { id } = c.req.valid("param");
      const ended = id === "current" ? sessionId : id;
      const [[gone]] = await c.get("identity").write((db) => [
        db
          .update(sessions)
          .set({ revoked_at: sql`coalesce(revoked_at, now())` })
          .where(and(eq(sessions.tenant_id, tenantId), eq(sessions.user_id, userId), eq(sessions.id, ended)))
          .returning({ id: sessions.id }),
      ]);
      if (!gone) throw new Problem("not_found");
      await teachTenant(tenantId, { floors: [[ended, GONE]] });
      return c.body(null, 204);
    },
  );
