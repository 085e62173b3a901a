import type { Context } from "hono";
import * as v from "valibot";
import { factory, forRequest, type Edge } from "../context.ts";
import { openOperatorDb } from "../db/client.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { answerPage, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { JOB_STATUSES } from "../lifecycle/exports.ts";
import { archiveJobList, isTenant } from "../lifecycle/operator-lists.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { TAKES } from "../operator.ts";
import { Problem } from "../problem.ts";

const tag = "Operator";

/** An export or an import as operators see it: not what is in it, nor its sum. */
const ArchiveJob = v.object({
  id: v.string(),
  status: v.picklist(JOB_STATUSES),
  /** As far as it has got. */
  rows: v.number(),
  created_at: v.string(),
  finished_at: v.nullable(v.string()),
  /** Until when an export's archive is kept; null once there is none. */
  expires_at: v.nullable(v.string()),
});
nameSchemas({ ArchiveJob });

/** The jobs of this kind of the tenant, a page. Throws `not_found`. */
async function pageOfJobs(c: Context<Edge>, tenant: string, kind: "export" | "import", page: PageStart) {
  const { known, found } = await openOperatorDb(forRequest(c)).read({
    known: isTenant({ tenant }),
    found: archiveJobList({ tenant, kind, ...page }),
  });
  if (!known[0]) throw new Problem("not_found");
  return found;
}

/** What operators see of the archives that tenants make and take: that there are some, and how far they are. */
export const operatorArchiveRoutes = factory
  .createApp()
  .get(
    "/:id/exports",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorTenantExports", {
      summary: "List a tenant's exports, newest first, those whose archives are gone too",
      tag,
      answers: { 200: pageOf(ArchiveJob) },
      problems: ["not_found"],
      token: "operator",
    }),
    valid("param", ById),
    valid("query", PageQuery),
    (c) =>
      answerPage(c, (page) => pageOfJobs(c, c.req.valid("param").id, "export", page), { reader: "operator" }),
  )
  .get(
    "/:id/imports",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorTenantImports", {
      summary: "List a tenant's imports, newest first",
      tag,
      answers: { 200: pageOf(ArchiveJob) },
      problems: ["not_found"],
      token: "operator",
    }),
    valid("param", ById),
    valid("query", PageQuery),
    (c) =>
      answerPage(c, (page) => pageOfJobs(c, c.req.valid("param").id, "import", page), { reader: "operator" }),
  );
