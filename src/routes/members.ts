import { eq } from "drizzle-orm";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { factory, forRequest } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { query, type Given } from "../db/query.ts";
import { memberships, users } from "../db/control.ts";
import { needs, recently, requireScope, signedIn } from "../edge/needs.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { answerPage, pageFrom, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { valid } from "../http/valid.ts";
import {
  changeMember,
  findMember,
  removeMember,
  resetMemberFactors,
  shownMember,
} from "../identity/members.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Uuid } from "../values.ts";

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
const ByUser = v.object({ user_id: Uuid });

const list = query((db, page: Given<PageStart>) =>
  pageFrom(
    () =>
      db
        .select({ id: memberships.user_id, row: shownMember, created_at: memberships.created_at })
        .from(memberships)
        .innerJoin(users, eq(users.id, memberships.user_id))
        .$dynamic(),
    { by: memberships.created_at, id: memberships.user_id },
    page,
  ),
);

export const memberRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listMembers", {
      summary: "List the tenant's members, newest first",
      tag,
      answers: { 200: pageOf(Member) },
    }),
    needs("members:read"),
    valid("query", PageQuery),
    (c) =>
      answerPage(
        c,
        async (page) => {
          const { found } = await c.get("account").read({ found: list(page) });
          return found;
        },
        { show: ({ row }) => row },
      ),
  )
  .get(
    "/:user_id",
    operation("getMember", { summary: "A member", tag, row: Member, problems: ["not_found"] }),
    needs("members:read"),
    valid("param", ByUser),
    async (c) => {
      const { user_id } = c.req.valid("param");
      return answerRow(c, await findMember(c.get("account"), user_id));
    },
  )
  .patch(
    "/:user_id",
    operation("updateMember", {
      summary: "Change a member's role (merge patch); their API keys lose what it does not allow",
      tag,
      row: Member,
      problems: ["not_found", "last_owner", "precondition_failed", "step_up_required"],
    }),
    needs("members:write"),
    valid("param", ByUser),
    valid("header", IfMatch),
    valid("json", MemberPatch),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { user_id } = c.req.valid("param");
      const only = ifMatch(memberships, c.req.valid("header"));
      return answerRow(c, await changeMember(c.get("account"), caller, user_id, c.req.valid("json"), only));
    },
  )
  .delete(
    "/:user_id",
    operation("deleteMember", {
      summary: "Remove a member, or leave",
      tag,
      answers: { 204: null },
      problems: ["not_found", "last_owner", "precondition_failed", "step_up_required"],
    }),
    valid("param", ByUser),
    valid("header", IfMatch),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { user_id } = c.req.valid("param");
      if (user_id !== caller.id) requireScope(caller, "members:write");
      await removeMember(c.get("account"), caller, user_id, ifMatch(memberships, c.req.valid("header")));
      return c.body(null, 204);
    },
  )
  .delete(
    "/:user_id/factors",
    operation("deleteMemberFactors", {
      summary: "Remove a member's second factors, for an owner; they hear of it by mail",
      tag,
      answers: { 204: null },
      problems: ["not_found", "member_elsewhere", "step_up_required"],
    }),
    needs("members:write"),
    valid("param", ByUser),
    async (c) => {
      const caller = recently(c.get("caller"));
      const actor = { id: caller.id, as: caller.role };
      const db = openTenantDb("identity", caller.tenantId, actor, forRequest(c));
      await resetMemberFactors(db, caller, c.req.valid("param").user_id);
      return c.body(null, 204);
    },
  );
