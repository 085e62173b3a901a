import { and, desc, eq, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory, timed } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { invitations, ROLES } from "../db/schema.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { nameSchemas, operation } from "../http/openapi.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { floodGuard, userAgent } from "../http/request.ts";
import { ById, valid } from "../http/valid.ts";
import { Email, Password } from "../identity/account.ts";
import { slowGuessing } from "../identity/failures.ts";
import { granted, WRONG_PASSWORD } from "../identity/granted.ts";
import { slugOfHost } from "../identity/host.ts";
import { insufficientScope, needs } from "../identity/identify.ts";
import { acceptInvitation, makeInvitation, readInvitation } from "../identity/invitation.ts";
import { requireMail, sendInvitation } from "../identity/mail.ts";
import { Session } from "../identity/session.ts";
import { Problem } from "../problem.ts";

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
  password: v.optional(Password),
});
nameSchemas({ Invitation, NewInvitation, Acceptance });
/** Whether the caller may invite at all, and what the mail says. */
const Standing = v.object({ is_allowed: v.boolean(), tenant: v.string(), inviter: v.string() });

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
    summary: "Accept an invitation: with the password of the email's user, or with one for a new user",
    tag,
    answers: { 201: Session },
    problems: ["unauthenticated", "tenant_suspended", "invitation_gone"],
    token: false,
  }),
  valid("json", Acceptance),
  async (c) => {
    const { token, password } = c.req.valid("json");
    const invitation = readInvitation(token);
    if (!invitation) throw new Problem("invitation_gone");
    // The audit trail says that the invitation made its member.
    const db = openTenantDb("identity", invitation.tenantId, invitation.id, {
      id: c.get("requestId"),
      deadline: c.get("deadline"),
      onAnswer: (started) => timed(c, "db", started),
    });
    const host = slugOfHost(c.req.url);
    const grant = await slowGuessing(c, invitation.email, () =>
      acceptInvitation(db, invitation, { password, host, userAgent: userAgent(c) }),
    );
    return c.json(await granted(c.env.TENANT, grant, WRONG_PASSWORD), 201);
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
    needs("members:write"),
    valid("json", NewInvitation),
    async (c) => {
      requireMail();
      const { tenantId, id: callerId } = c.get("caller");
      const { email, role } = c.req.valid("json");
      const { id, text, hash } = makeInvitation(tenantId, email);
      // By the role that the caller has by now; FOR SHARE, so that it is not changed meanwhile.
      const may = sql`a.tenant_id = ${tenantId} and a.user_id = ${callerId}
        and (a.role = 'owner' or (a.role = 'admin' and ${role}::text <> 'owner'))`;
      const isThere = sql`exists (select from memberships m join users u on u.id = m.user_id
        where m.tenant_id = ${tenantId} and u.email = ${email})`;
      const [, [row], { rows }] = await c.get("identity").write((db) => [
        db.execute(sql`
          insert into invitations (id, tenant_id, email, role, token_hash, invited_by, expires_at)
          select ${id}::uuid, a.tenant_id, ${email}, ${role}, ${sql.param(hash, invitations.token_hash)}::bytea,
            a.user_id, now() + ${INVITATION_TTL_DAYS} * interval '1 day'
          from memberships a where ${may} and not ${isThere} for share
          on conflict (tenant_id, email) do update set id = excluded.id, role = excluded.role,
            token_hash = excluded.token_hash, invited_by = excluded.invited_by, expires_at = excluded.expires_at,
            created_at = excluded.created_at`),
        db.select(versioned).from(invitations).where(isInvitation(tenantId, id)),
        db.execute(sql`
          select exists (select from memberships a where ${may}) as is_allowed, t.name as tenant,
            (select email from users where id = ${callerId}) as inviter from tenants t where t.id = ${tenantId}`),
      ]);
      const [{ is_allowed, tenant, inviter }] = v.parse(v.tuple([Standing]), rows);
      if (!row) {
        if (is_allowed) throw new Problem("already_member");
        throw insufficientScope("Only an owner may invite an owner.");
      }
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
