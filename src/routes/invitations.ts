import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { factory, forRequest } from "../context.ts";
import { openTenantDb } from "../db/client.ts";
import { query, type Given } from "../db/query.ts";
import { invitations } from "../db/control.ts";
import { fromOf } from "../edge/client.ts";
import { costs } from "../edge/cost.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { slugOfHost } from "../edge/host.ts";
import { answerSession, ownPage } from "../edge/refresh-cookie.ts";
import { needs, recently, signedIn } from "../edge/needs.ts";
import { answerNew, answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { answerPage, newestFirst, pageFrom, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { checkPassword, NewPassword } from "../identity/account.ts";
import { Email } from "../values.ts";
import { acceptInvitation, readInvitation } from "../identity/invitation.ts";
import { deleteInvitation, findInvitation, invite, shownInvitation } from "../identity/invitations.ts";
import { MAIL_COST } from "../mail/mail.ts";
import { Session } from "../identity/session.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

const tag = "Members";

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
/** For whoever has a token: it went to the invited email alone, so they read that email's mail. */
export const acceptanceRoutes = factory.createApp().post(
  "/accept",
  floodGuard,
  ownPage,
  operation("acceptInvitation", {
    summary: "Accept an invitation; a password becomes that of the account, and ends its earlier sessions",
    tag,
    answers: { 201: Session },
    problems: [
      "tenant_read_only",
      "tenant_suspended",
      "tenant_closing",
      "tenant_erasing",
      "invitation_gone",
      "second_factor_required",
      "second_factor_enrolment_required",
      "insufficient_scope",
    ],
    token: false,
  }),
  valid("json", Acceptance),
  async (c) => {
    const { token, password } = c.req.valid("json");
    const invitation = readInvitation(token);
    if (!invitation) throw new Problem("invitation_gone");
    if (password !== undefined) checkPassword(password, invitation.email);
    // The audit trail says that the invitation made its member.
    const actor = { id: invitation.id, as: "invitation" } as const;
    const db = openTenantDb("identity", invitation.tenantId, actor, forRequest(c));
    const host = slugOfHost(c.req.url);
    const session = await acceptInvitation(db, invitation, {
      password,
      host,
      from: fromOf(c),
      deadline: c.get("deadline"),
    });
    return answerSession(c, session, 201);
  },
);

const list = query((db, page: Given<PageStart>) =>
  pageFrom(() => db.select(shownInvitation).from(invitations).$dynamic(), newestFirst(invitations), page),
);

export const invitationRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listInvitations", {
      summary: "List the invitations that nobody has accepted, newest first",
      tag,
      answers: { 200: pageOf(Invitation) },
    }),
    needs("members:read"),
    valid("query", PageQuery),
    (c) =>
      answerPage(c, async (page) => {
        const { found } = await c.get("account").read({ found: list(page) });
        return found;
      }),
  )
  .post(
    "/",
    operation("createInvitation", {
      summary: "Invite somebody by email; an earlier invitation of theirs is void from then on",
      tag,
      made: Invitation,
      problems: [
        "already_member",
        "mail_not_sent",
        "mail_not_set_up",
        "email_not_verified",
        "step_up_required",
      ],
    }),
    costs(MAIL_COST),
    needs("members:write"),
    valid("json", NewInvitation),
    async (c) => {
      const { email, role } = c.req.valid("json");
      const caller = role === "owner" ? recently(c.get("caller")) : signedIn(c.get("caller"));
      return answerNew(c, await invite(c.get("account"), caller, email, role));
    },
  )
  .get(
    "/:id",
    operation("getInvitation", { summary: "An invitation", tag, row: Invitation, problems: ["not_found"] }),
    needs("members:read"),
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      return answerRow(c, await findInvitation(c.get("account"), id));
    },
  )
  .delete(
    "/:id",
    operation("deleteInvitation", {
      summary: "Revoke an invitation",
      tag,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("members:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => {
      const only = ifMatch(invitations, c.req.valid("header"));
      await deleteInvitation(c.get("account"), c.get("caller").tenantId, c.req.valid("param").id, only);
      return c.body(null, 204);
    },
  );
