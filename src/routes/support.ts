import * as v from "valibot";
import { factory } from "../context.ts";
import { query, type Given } from "../db/query.ts";
import { SUPPORT_MODES, supportSessions, tenants } from "../db/control.ts";
import { needs, recently, signedIn } from "../edge/needs.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { answerPage, newestFirst, pageFrom, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import {
  approveSupport,
  endSupport,
  setSupportAccess,
  shownSupport,
  SupportSession,
} from "../identity/support.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

const tag = "Support";

const SupportAccess = v.object({ mode: v.picklist(SUPPORT_MODES) });
const SupportAccessPatch = v.partial(v.strictObject(SupportAccess.entries));
nameSchemas({ SupportAccess, SupportAccessPatch, SupportSession });

const access = query((db) =>
  db.select({ mode: tenants.support_access, version: tenants.version }).from(tenants),
);
const list = query((db, page: Given<PageStart>) =>
  pageFrom(
    () => db.select(shownSupport).from(supportSessions).$dynamic(),
    newestFirst(supportSessions),
    page,
  ),
);

/** Which operators may look into the caller's tenant, and who is in. For its members: an operator sees none of it. */
export const supportRoutes = factory
  .createApp()
  .get(
    "/support-access",
    operation("getSupportAccess", {
      summary: "Whether the service's operators may look in: never, when an owner approves, or on their own",
      tag,
      row: SupportAccess,
    }),
    needs("tenant:read"),
    async (c) => {
      signedIn(c.get("caller"));
      const { own } = await c.get("account").read({ own: access({}) });
      if (!own[0]) throw new Problem("not_found");
      return answerRow(c, own[0]);
    },
  )
  .patch(
    "/support-access",
    operation("updateSupportAccess", {
      summary: "Say whether operators may look in (merge patch); a stricter mode ends what it does not allow",
      tag,
      row: SupportAccess,
      problems: ["precondition_failed", "step_up_required"],
    }),
    needs("support:write"),
    valid("header", IfMatch),
    valid("json", SupportAccessPatch),
    async (c) => {
      const { mode } = c.req.valid("json");
      const only = ifMatch(tenants, c.req.valid("header"));
      return answerRow(c, await setSupportAccess(c.get("account"), recently(c.get("caller")), mode, only));
    },
  )
  .get(
    "/support-sessions",
    operation("listSupportSessions", {
      summary: "List which operators asked to look in, are in, and were in, newest first",
      tag,
      answers: { 200: pageOf(SupportSession) },
    }),
    needs("tenant:read"),
    valid("query", PageQuery),
    (c) => {
      signedIn(c.get("caller"));
      return answerPage(c, async (page) => {
        const { found } = await c.get("account").read({ found: list(page) });
        return found;
      });
    },
  )
  .post(
    "/support-sessions/:id/approve",
    operation("approveSupportSession", {
      summary: "Let the operator in who asked, for the minutes that were asked, from now on",
      tag,
      answers: { 200: SupportSession },
      problems: ["not_found", "support_session_over", "step_up_required"],
    }),
    needs("support:write"),
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      return c.json(await approveSupport(c.get("account"), recently(c.get("caller")), id), 200);
    },
  )
  .delete(
    "/support-sessions/:id",
    operation("deleteSupportSession", {
      summary: "Have an operator out at once, or refuse what was asked",
      tag,
      answers: { 204: null },
      problems: ["not_found"],
    }),
    needs("tenant:write"),
    valid("param", ById),
    async (c) => {
      await endSupport(c.get("account"), signedIn(c.get("caller")), c.req.valid("param").id);
      return c.body(null, 204);
    },
  );
