import { and, asc, desc, eq, inArray, sql } from "drizzle-orm";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import type { SignedIn } from "../caller.ts";
import { factory } from "../context.ts";
import { memberships, users } from "../db/schema.ts";
import { needs, requireScope, signedIn } from "../edge/needs.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { valid } from "../http/valid.ts";
import { holdActing, ownersOnly, refuseTo, stands } from "../identity/acting.ts";
import { endedLately, membersChanged, readEnded } from "../identity/ended.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { teachTenant } from "../tenant/stub.ts";
import type { Floor } from "../tenant/credentials.ts";

type Queries = Parameters<Parameters<TenantDb["write"]>[0]>[0];

const tag = "Members";

const Member = v.object({
  user_id: v.string(),
  email: v.string(),
  role: v.picklist(ROLES),
  created_at: v.string(),
  updated_at: v.string(),
});
const MemberPatch = v.partial(v.strictObject({ role: v.picklist(ROLES) }));
nameSchemas({ Member, MemberPatch });
const ByUser = v.object({ user_id: v.pipe(v.string(), v.uuid()) });

const shown = {
  user_id: memberships.user_id,
  email: users.email,
  role: memberships.role,
  created_at: memberships.created_at,
  updated_at: memberships.updated_at,
};
const versioned = { ...shown, version: memberships.version };

const isMember = (tenantId: string, userId: string) =>
  and(eq(memberships.tenant_id, tenantId), eq(memberships.user_id, userId));

/**
 * Holds the caller's and the member's rows, in one order: of two who change each other, the second one finds what the
 * first one left, and no key of the member's is made meanwhile.
 */
const hold = (db: Queries, { tenantId, id }: SignedIn, userId: string) =>
  db
    .select({ user_id: memberships.user_id })
    .from(memberships)
    .where(and(eq(memberships.tenant_id, tenantId), inArray(memberships.user_id, [id, userId])))
    .orderBy(asc(memberships.user_id))
    .for("update");

export const members = factory
  .createApp()
  .get(
    "/",
    operation({
      summary: "List the tenant's members, newest first",
      tag,
      answers: { 200: pageOf(Member) },
    }),
    needs("members:read"),
    valid("query", PageQuery),
    async (c) => {
      const { tenantId } = c.get("caller");
      const pager = new Pager(c.req.valid("query"), tenantId, c.req.path);
      const order = { created_at: memberships.created_at, id: memberships.user_id };
      const [rows] = await c.get("identity").read((db) => [
        db
          .select({ id: memberships.user_id, row: shown, created_at: memberships.created_at })
          .from(memberships)
          .innerJoin(users, eq(users.id, memberships.user_id))
          .where(and(eq(memberships.tenant_id, tenantId), pager.after(order)))
          .orderBy(desc(order.created_at), desc(order.id))
          .limit(pager.rows),
      ]);
      const { data, next_cursor } = pager.page(rows);
      return c.json({ data: data.map(({ row }) => row), next_cursor });
    },
  )
  .get(
    "/:user_id",
    operation({ summary: "A member", tag, answers: { 200: Member }, problems: ["not_found"] }),
    needs("members:read"),
    valid("param", ByUser),
    async (c) => {
      const [[row]] = await c.get("identity").read((db) => [
        db
          .select(versioned)
          .from(memberships)
          .innerJoin(users, eq(users.id, memberships.user_id))
          .where(isMember(c.get("caller").tenantId, c.req.valid("param").user_id)),
      ]);
      if (!row) throw new Problem("not_found");
      return answerRow(c, row);
    },
  )
  .patch(
    "/:user_id",
    operation({
      summary: "Change a member's role (merge patch); their API keys lose what it does not allow",
      tag,
      answers: { 200: Member },
      problems: ["not_found", "last_owner", "precondition_failed"],
    }),
    needs("members:write"),
    valid("param", ByUser),
    valid("header", IfMatch),
    valid("json", MemberPatch),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { tenantId } = caller;
      const { user_id } = c.req.valid("param");
      const {
        within: [, acting, [written], [now], ended],
        after: [changed],
      } = await c
        .get("identity")
        .writeAround({
          within: (db) => [
            hold(db, caller, user_id),
            db.execute(holdActing(caller)),
            db
              .update(memberships)
              .set({ ...c.req.valid("json"), updated_at: sql`now()` })
              .where(
                and(isMember(tenantId, user_id), stands(caller), ifMatch(memberships, c.req.valid("header"))),
              )
              .returning({ user_id: memberships.user_id }),
            db
              .select({ row: versioned, version: users.version })
              .from(memberships)
              .innerJoin(users, eq(users.id, memberships.user_id))
              .where(isMember(tenantId, user_id)),
            db.execute(endedLately(tenantId)),
          ],
          after: (db) => [db.execute(membersChanged)],
        })
        .catch(refuseTo(caller));
      if (acting.rows.length === 0) throw ownersOnly();
      const { floors = [], ...keys } = readEnded(ended, changed);
      // Also for the role that the member has already: a role that is set voids what was made before.
      const own: Floor[] = now ? [[user_id, now.version]] : [];
      await teachTenant(tenantId, { ...keys, floors: [...floors, ...own] });
      if (!now) throw new Problem("not_found");
      if (!written) throw new Problem("precondition_failed");
      return answerRow(c, now.row);
    },
  )
  .delete(
    "/:user_id",
    operation({
      summary: "Remove a member, or leave",
      tag,
      answers: { 204: null },
      problems: ["not_found", "last_owner", "precondition_failed"],
    }),
    valid("param", ByUser),
    valid("header", IfMatch),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { tenantId } = caller;
      const { user_id } = c.req.valid("param");
      if (user_id !== caller.id) requireScope(caller, "members:write");
      const {
        within: [, acting, [removed], [there], ended],
        after: [changed],
      } = await c
        .get("identity")
        .writeAround({
          within: (db) => [
            hold(db, caller, user_id),
            db.execute(holdActing(caller)),
            db
              .delete(memberships)
              .where(
                and(isMember(tenantId, user_id), stands(caller), ifMatch(memberships, c.req.valid("header"))),
              )
              .returning({ user_id: memberships.user_id }),
            db.select({ user_id: memberships.user_id }).from(memberships).where(isMember(tenantId, user_id)),
            db.execute(endedLately(tenantId)),
          ],
          after: (db) => [db.execute(membersChanged)],
        })
        .catch(refuseTo(caller));
      if (acting.rows.length === 0) throw ownersOnly();
      await teachTenant(tenantId, readEnded(ended, changed));
      if (there) throw new Problem("precondition_failed");
      if (!removed) throw new Problem("not_found");
      return c.body(null, 204);
    },
  );
