import { and, desc, eq, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory, timed } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { invitations } from "../db/schema.ts";
import { userAgent } from "../edge/client.ts";
import { costs } from "../edge/cost.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { needs, signedIn } from "../edge/needs.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { invalidToken } from "../identity/bearer.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { Email, NewPassword } from "../identity/account.ts";
import { isActing, ownersOnly, vouchedBy } from "../identity/acting.ts";
import { MANAGES, ROLES } from "../authority.ts";
import { slugOfHost } from "../edge/host.ts";
import { acceptInvitation, makeInvitation, readInvitation } from "../identity/invitation.ts";
import { MAIL_COST, requireMail, sendInvitation } from "../identity/mail.ts";
import { Session } from "../identity/session.ts";
import { Problem } from "../problem.ts";
import { teachTenant } from "../tenant/stub.ts";

const tag = "Members";
const INVITATION_TTL_DAYS = 7;

const Invitation = v.object({
  id: v.string(),
  email: v.string(),
  role: v.picklist(ROLES),
  invited_by: v.string(),
  expires_at: v.string(),
  created_at: v.string(),
  updated_at: v.string(),
});
const NewInvitation = v.strictObject({ email: Email, role: v.picklist(ROLES) });
const Acceptance = v.strictObject({
  token: v.pipe(v.string(), v.maxLength(512)),
  password: v.optional(NewPassword),
});
nameSchemas({ Invitation, NewInvitation, Acceptance });
/** What the mail says of who invites, while they may. */
const Standing = v.object({ tenant: v.string(), inviter: v.string() });

const shown = {
  id: invitations.id,
  email: invitations.email,
  role: invitations.role,
  invited_by: invitations.invited_by,
  expires_at: invitations.expires_at,
  created_at: invitations.created_at,
  updated_at: invitations.updated_at,
};
const versioned = { ...shown, version: invitations.version };

const isInvitation = (tenantId: string, id: string) =>
  and(eq(invitations.tenant_id, tenantId), eq(invitations.id, id));

/** For whoever has a token: it went to the invited email alone, so they read that email's mail. */
export const invitationAcceptance = factory.createApp().post(
  "/accept",
  floodGuard,
  operation({
    summary: "Accept an invitation; a password becomes that of the account, and ends its earlier sessions",
    tag,
    answers: { 201: Session },
    problems: ["tenant_suspended", "tenant_closing", "invitation_gone"],
    token: false,
  }),
  valid("json", Acceptance),
  async (c) => {
    const { token, password } = c.req.valid("json");
    const invitation = readInvitation(token);
    if (!invitation) throw new Problem("invitation_gone");
    // The audit trail says that the invitation made its member.
    const actor = { id: invitation.id, as: "invitation" } as const;
    const db = openTenantDb("identity", invitation.tenantId, actor, {
      id: c.get("requestId"),
      deadline: c.get("deadline"),
      onAnswer: (started) => timed(c, "db", started),
    });
    const host = slugOfHost(c.req.url);
    const { grant, floors } = await acceptInvitation(db, invitation, {
      password,
      host,
      userAgent: userAgent(c),
      deadline: c.get("deadline"),
    });
    // In each tenant of the account, the object ends its earlier sessions.
    await Promise.all(
      Array.from(floors, ([tenantId, ended]) =>
        teachTenant(tenantId, {
          floors: ended,
          ...(tenantId === grant.record.id && { record: grant.record }),
        }),
      ),
    );
    return c.json(grant.session, 201);
  },
);

export const invitationRoutes = factory
  .createApp()
  .get(
    "/",
    operation({
      summary: "List the invitations that nobody has accepted, newest first",
      tag,
      answers: { 200: pageOf(Invitation) },
    }),
    needs("members:read"),
    valid("query", PageQuery),
    async (c) => {
      const { tenantId } = c.get("caller");
      const pager = new Pager(c.req.valid("query"), tenantId, c.req.path);
      const [rows] = await c.get("identity").read((db) => [
        db
          .select(shown)
          .from(invitations)
          .where(and(eq(invitations.tenant_id, tenantId), pager.after(invitations)))
          .orderBy(desc(invitations.created_at), desc(invitations.id))
          .limit(pager.rows),
      ]);
      return c.json(pager.page(rows));
    },
  )
  .post(
    "/",
    operation({
      summary: "Invite somebody by email; an earlier invitation of theirs is void from then on",
      tag,
      answers: { 201: Invitation },
      problems: ["already_member", "mail_not_sent", "mail_not_set_up"],
    }),
    costs(MAIL_COST),
    needs("members:write"),
    valid("json", NewInvitation),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { tenantId } = caller;
      const { email, role } = c.req.valid("json");
      if (!MANAGES[caller.role].includes(role)) throw ownersOnly();
      await requireMail(email);
      const { id, text, hash } = makeInvitation(tenantId, email);
      const isThere = sql`exists (select from memberships m join users u on u.id = m.user_id
        where m.tenant_id = ${tenantId} and u.email = ${email})`;
      const [, [row], { rows }] = await c.get("identity").write((db) => [
        db.execute(sql`
          insert into invitations (id, tenant_id, email, role, token_hash, invited_by, vouched_by, expires_at)
          select ${id}::uuid, a.tenant_id, ${email}, ${role}, ${sql.param(hash, invitations.token_hash)}::bytea,
            a.user_id, ${vouchedBy(caller)}, now() + ${INVITATION_TTL_DAYS} * interval '1 day'
          from memberships a where ${isActing(caller)} and not ${isThere} for share of a
          on conflict (tenant_id, email) do update set id = excluded.id, role = excluded.role,
            token_hash = excluded.token_hash, invited_by = excluded.invited_by, vouched_by = excluded.vouched_by,
            expires_at = excluded.expires_at, created_at = excluded.created_at`),
        db.select(versioned).from(invitations).where(isInvitation(tenantId, id)),
        db.execute(sql`
          select t.name as tenant, u.email as inviter from tenants t join memberships a on a.tenant_id = t.id
            join users u on u.id = a.user_id where ${isActing(caller)}`),
      ]);
      const [standing] = v.parse(v.array(Standing), rows);
      if (!standing) throw invalidToken();
      if (!row) throw new Problem("already_member");
      const { tenant, inviter } = standing;
      await sendInvitation({ token: text, email, role, tenant, inviter });
      c.header("Location", `/v1/invitations/${id}`);
      return answerRow(c, row, 201);
    },
  )
  .get(
    "/:id",
    operation({ summary: "An invitation", tag, answers: { 200: Invitation }, problems: ["not_found"] }),
    needs("members:read"),
    valid("param", ById),
    async (c) => {
      const [[row]] = await c.get("identity").read((db) => [
        db
          .select(versioned)
          .from(invitations)
          .where(isInvitation(c.get("caller").tenantId, c.req.valid("param").id)),
      ]);
      if (!row) throw new Problem("not_found");
      return answerRow(c, row);
    },
  )
  .delete(
    "/:id",
    operation({
      summary: "Revoke an invitation",
      tag,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("members:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => {
      const { tenantId } = c.get("caller");
      const { id } = c.req.valid("param");
      const [[gone], [there]] = await c.get("identity").write((db) => [
        db
          .delete(invitations)
          .where(and(isInvitation(tenantId, id), ifMatch(invitations, c.req.valid("header"))))
          .returning({ id: invitations.id }),
        db.select({ id: invitations.id }).from(invitations).where(isInvitation(tenantId, id)),
      ]);
      if (!gone) throw new Problem(there ? "precondition_failed" : "not_found");
      return c.body(null, 204);
    },
  );
