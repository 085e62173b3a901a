import { and, eq, gt, isNull, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { query, type Given } from "../db/query.ts";
import { memberships, sessions } from "../db/control.ts";
import { fromOf } from "../edge/client.ts";
import { whileClosing } from "../edge/access.ts";
import { slowGuessing } from "../edge/guessing.ts";
import { signedIn } from "../edge/needs.ts";
import { answerSession, dropCookie, ownPage } from "../edge/refresh-cookie.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { answerPage, newestFirst, pageFrom, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { Password } from "../identity/account.ts";
import { accountOfCaller } from "../identity/accounts.ts";
import { ChallengeToken } from "../identity/challenge.ts";
import { deviceOf } from "../identity/device.ts";
import { Assertion, Code, RecoveryCode } from "../identity/factor-proof.ts";
import { stepUp } from "../identity/factors.ts";
import { granted, Session, switchTenant } from "../identity/session.ts";
import { Problem } from "../problem.ts";
import { Slug } from "../values.ts";
import { change } from "../tenant/change.ts";

const tag = "Sessions";

const Listed = v.object({
  id: v.string(),
  current: v.boolean(),
  /** The browser and the system, as far as its User-Agent says them. */
  device: v.string(),
  user_agent: v.string(),
  country: v.nullable(v.string()),
  created_at: v.string(),
  last_used_at: v.string(),
  expires_at: v.string(),
});
const Switch = v.strictObject({ tenant: Slug });
/** One proof: the password, where there is no second factor; else that one. A passkey signs the challenge beside it. */
const StepUp = v.strictObject({
  password: v.optional(Password),
  code: v.optional(Code),
  recovery_code: v.optional(RecoveryCode),
  challenge: v.optional(ChallengeToken),
  response: v.optional(Assertion),
});
nameSchemas({ ListedSession: Listed, Switch, StepUp });

const shown = {
  id: sessions.id,
  user_agent: sessions.user_agent,
  country: sessions.country,
  created_at: sessions.created_at,
  last_used_at: sessions.rotated_at,
  expires_at: sessions.expires_at,
};

const list = query((db, { userId, ...page }: Given<PageStart & { userId: string }>) =>
  pageFrom(
    () => db.select(shown).from(sessions).$dynamic(),
    newestFirst(sessions),
    page,
    and(eq(sessions.user_id, userId), isNull(sessions.revoked_at), gt(sessions.expires_at, sql`now()`)),
  ),
);

/** The caller's own sessions in this tenant. Each tenant has its own: none of them shows or ends another's. */
export const sessionRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listSessions", {
      summary: "List your sessions in this tenant, newest first",
      tag,
      answers: { 200: pageOf(Listed) },
    }),
    valid("query", PageQuery),
    (c) => {
      const { id: userId, sessionId } = signedIn(c.get("caller"));
      return answerPage(
        c,
        async (page) => {
          const { found } = await c.get("account").read({ found: list({ userId, ...page }) });
          return found;
        },
        {
          show: (session) => ({
            ...session,
            device: deviceOf(session.user_agent),
            current: session.id === sessionId,
          }),
          whose: ` ${userId}`,
        },
      );
    },
  )
  .post(
    "/switch",
    ownPage,
    operation("switchSession", {
      summary: "Start a session in another of your tenants",
      tag,
      answers: { 201: Session },
      problems: ["not_found", "second_factor_required", "second_factor_enrolment_required"],
    }),
    whileClosing,
    valid("json", Switch),
    async (c) => {
      const { id: userId, sessionId } = signedIn(c.get("caller"));
      const slug = c.req.valid("json").tenant;
      const grant = await switchTenant({ userId, sessionId, slug, from: fromOf(c) });
      if (!grant) throw new Problem("not_found");
      return answerSession(c, await granted(grant), 201);
    },
  )
  .post(
    "/current/step-up",
    ownPage,
    operation("stepUpSession", {
      summary: "Prove again who you are: for ten minutes you may do what a stolen token may not",
      tag,
      answers: { 200: Session },
      problems: ["wrong_password", "wrong_factor"],
    }),
    whileClosing,
    valid("json", StepUp),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const proof = c.req.valid("json");
      const { email } = await accountOfCaller(caller);
      const session = await slowGuessing(c, email, () => stepUp(caller, proof));
      if (!session) throw new Problem(proof.password === undefined ? "wrong_factor" : "wrong_password");
      return answerSession(c, session, 200);
    },
  )
  .delete(
    "/",
    operation("deleteSessions", {
      summary: "Sign out everywhere in this tenant",
      tag,
      answers: { 204: null },
    }),
    whileClosing,
    async (c) => {
      const { tenantId, id } = signedIn(c.get("caller"));
      await change(c.get("account"), tenantId, (q) => ({
        // To set the role again voids the access tokens that were made before. It locks the user: everybody does so before sessions.
        voided: q
          .update(memberships)
          .set({ role: sql`role` })
          .where(eq(memberships.user_id, id)),
        ended: q
          .update(sessions)
          .set({ revoked_at: sql`now()` })
          .where(and(eq(sessions.user_id, id), isNull(sessions.revoked_at))),
      }));
      return c.body(null, 204);
    },
  )
  .delete(
    "/:id",
    ownPage,
    operation("deleteSession", {
      summary: "End a session; `current` is the caller's",
      tag,
      answers: { 204: null },
      problems: ["not_found"],
    }),
    whileClosing,
    valid("param", v.object({ id: v.union([ById.entries.id, v.literal("current")]) })),
    async (c) => {
      const { tenantId, id: userId, sessionId } = signedIn(c.get("caller"));
      const { id } = c.req.valid("param");
      const ended = id === "current" ? sessionId : id;
      const { gone } = await change(c.get("account"), tenantId, (q) => ({
        gone: q
          .update(sessions)
          .set({ revoked_at: sql`coalesce(revoked_at, now())` })
          .where(and(eq(sessions.user_id, userId), eq(sessions.id, ended)))
          .returning({ id: sessions.id }),
      }));
      if (!gone[0]) throw new Problem("not_found");
      if (ended === sessionId) dropCookie(c);
      return c.body(null, 204);
    },
  );
