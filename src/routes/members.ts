import { and, asc, desc, eq, gt, inArray, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { violatedConstraint, type TenantDb } from "../db/client.ts";
import { apiKeys, auditEvents, memberships, ROLES, users } from "../db/schema.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { nameSchemas, operation } from "../http/openapi.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { valid } from "../http/valid.ts";
import type { Caller, Role } from "../identity/caller.ts";
import { insufficientScope, needs, requireScope, signedIn } from "../identity/identify.ts";
import { narrowKeys } from "../identity/member-keys.ts";
import { Problem } from "../problem.ts";
import { teachTenant } from "../tenant/ask.ts";
import { KeyRecord } from "../tenant/record.ts";

type Queries = Parameters<Parameters<TenantDb["write"]>[0]>[0];

const tag = "Members";
/** Deleted keys that a repeated request tells the tenant's object of once more. */
const MAX_DELETED_KEYS = 1000;

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
const Keys = v.array(v.object({ key: KeyRecord }));

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

/** Whether the caller, by the role that it has by now, may manage this row of memberships: an owner, only an owner. */
const mayManage = (caller: Caller, made?: Role) => sql<boolean>`exists (select from memberships acting
  where acting.tenant_id = ${caller.tenantId} and acting.user_id = ${caller.id} and (acting.role = 'owner'
    or (acting.role = 'admin' and memberships.role <> 'owner' and ${made ?? null}::text is distinct from 'owner')))`;

const ownersOnly = () => insufficientScope("Only an owner may make, change or remove an owner.");

/**
 * Holds the caller's and the member's rows, in one order. Of two who change each other, the second one then acts by
 * the role that the first one left it; and no key of the member's is made meanwhile.
 */
const hold = (db: Queries, { tenantId, id }: Caller, userId: string) =>
  db
    .select({ user_id: memberships.user_id, role: memberships.role })
    .from(memberships)
    .where(and(eq(memberships.tenant_id, tenantId), inArray(memberships.user_id, [id, userId])))
    .orderBy(asc(memberships.user_id))
    .for("update");

/**
 * Keys that were deleted in the last quarter of an hour, longer than the object goes without reading them anew. For a
 * request that finds its work done: the one that did it may not have reached the object.
 */
async function deletedKeys(db: TenantDb): Promise<string[]> {
  const [rows] = await db.read((tx) => [
    tx
      .select({ id: auditEvents.resource_id })
      .from(auditEvents)
      .where(
        and(
          eq(auditEvents.resource, "api_keys"),
          eq(auditEvents.action, "delete"),
          gt(auditEvents.created_at, sql`now() - interval '15 minutes'`),
        ),
      )
      .orderBy(desc(auditEvents.created_at))
      .limit(MAX_DELETED_KEYS),
  ]);
  return rows.map(({ id }) => id);
}

function refuse(error: unknown): never {
  if (violatedConstraint(error) === "last_owner") throw new Problem("last_owner", { cause: error });
  throw error;
}

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
      const caller = c.get("caller");
      const { tenantId } = caller;
      const { user_id } = c.req.valid("param");
      const patch = c.req.valid("json");
      const allowed = mayManage(caller, patch.role);
      const [held, [changed], dropped, , kept, [now]] = await c
        .get("identity")
        .write((db) => [
          hold(db, caller, user_id),
          db
            .update(memberships)
            .set({ ...patch, updated_at: sql`now()` })
            .where(and(isMember(tenantId, user_id), allowed, ifMatch(memberships, c.req.valid("header"))))
            .returning({ user_id: memberships.user_id }),
          ...narrowKeys(db, tenantId, user_id),
          db
            .select({ row: versioned, version: users.version, allowed })
            .from(memberships)
            .innerJoin(users, eq(users.id, memberships.user_id))
            .where(isMember(tenantId, user_id)),
        ])
        .catch(refuse);
      if (!now) throw new Problem("not_found");
      if (!changed && !now.allowed) throw ownersOnly();

      const was = held.find((row) => row.user_id === user_id)?.role;
      const isRepeat = !changed || was === patch.role;
      await teachTenant(c.env.TENANT, tenantId, {
        keys: v.parse(Keys, kept.rows).map(({ key }) => key),
        deletedKeys: isRepeat ? await deletedKeys(c.get("db")) : dropped.rows.map((row) => String(row["id"])),
        floors: [[user_id, now.version]],
      });
      if (!changed) throw new Problem("precondition_failed");
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
      const isSelf = user_id === caller.id;
      if (!isSelf) requireScope(caller, "members:write");
      const allowed = isSelf ? sql<boolean>`true` : mayManage(caller);
      const [, keys, [removed], [there], [user]] = await c
        .get("identity")
        .write((db) => [
          hold(db, caller, user_id),
          db
            .select({ id: apiKeys.id })
            .from(apiKeys)
            .where(and(eq(apiKeys.tenant_id, tenantId), eq(apiKeys.created_by, user_id))),
          db
            .delete(memberships)
            .where(and(isMember(tenantId, user_id), allowed, ifMatch(memberships, c.req.valid("header"))))
            .returning({ user_id: memberships.user_id }),
          db.select({ allowed }).from(memberships).where(isMember(tenantId, user_id)),
          db.select({ version: users.version }).from(users).where(eq(users.id, user_id)),
        ])
        .catch(refuse);
      if (there) throw there.allowed ? new Problem("precondition_failed") : ownersOnly();

      // Also when nobody was there to remove: an earlier request may have removed them, and not reached the object.
      // An id of nobody's takes the same way, so that it takes the same time.
      await teachTenant(c.env.TENANT, tenantId, {
        deletedKeys: removed ? keys.map(({ id }) => id) : await deletedKeys(c.get("db")),
        floors: [[user_id, user?.version ?? 0]],
      });
      if (!removed) throw new Problem("not_found");
      return c.body(null, 204);
    },
  );
