import * as v from "valibot";
import { factory } from "../context.ts";
import { whileClosing } from "../edge/access.ts";
import { costs } from "../edge/cost.ts";
import { needs } from "../edge/needs.ts";
import { answerPage, pageOf, PageQuery } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import {
  beginJob,
  deleteExport,
  findExport,
  JOB_STATUSES,
  listExports,
  openArchive,
  startSoon,
} from "../lifecycle/exports.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";

const tag = "Tenant";

const Export = v.object({
  id: v.string(),
  status: v.picklist(JOB_STATUSES),
  rows: v.number(),
  bytes: v.nullable(v.number()),
  sha256: v.nullable(v.string()),
  created_at: v.string(),
  expires_at: v.nullable(v.string()),
});
nameSchemas({ Export });

/** What an export costs of the tenant's limits: it reads all that there is. */
const EXPORT_UNITS = 10;

/** The tenant takes its data along. */
export const exportRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listExports", {
      summary: "List the exports, newest first",
      tag,
      answers: { 200: pageOf(Export) },
    }),
    needs("export"),
    whileClosing,
    valid("query", PageQuery),
    (c) => answerPage(c, async (page) => (await c.get("account").read({ found: listExports(page) })).found),
  )
  .post(
    "/",
    operation("createExport", {
      summary: "Export all that the tenant has, as of now",
      tag,
      answers: { 202: Export },
      problems: ["tenant_state", "job_under_way"],
    }),
    needs("export"),
    costs(EXPORT_UNITS),
    whileClosing,
    async (c) => {
      const caller = c.get("caller");
      const { id, isNew } = await beginJob(c.get("account"), caller, "export");
      if (isNew) await startSoon({ kind: "export", tenant: caller.tenantId, job: id });
      return c.json(await findExport(c.get("account"), id), 202);
    },
  )
  .get(
    "/:id",
    operation("getExport", {
      summary: "How far an export is",
      tag,
      answers: { 200: Export },
      problems: ["not_found"],
    }),
    needs("export"),
    whileClosing,
    valid("param", ById),
    async (c) => c.json(await findExport(c.get("account"), c.req.valid("param").id)),
  )
  .delete(
    "/:id",
    operation("deleteExport", {
      summary: "Delete an export's archive",
      tag,
      answers: { 204: null },
      problems: ["not_found", "job_under_way"],
    }),
    needs("export"),
    whileClosing,
    valid("param", ById),
    async (c) => {
      await deleteExport(c.get("account"), c.get("caller"), c.req.valid("param").id);
      return c.body(null, 204);
    },
  )
  .get(
    "/:id/archive",
    operation("getExportArchive", {
      summary: "Download an export: a ZIP of NDJSON files and manifest.json",
      tag,
      answers: { 200: ["application/zip"], 206: ["application/zip"] },
      problems: ["not_found"],
    }),
    needs("export"),
    whileClosing,
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      const ranged = c.req.header("range") === undefined ? undefined : c.req.raw.headers;
      const archive = await openArchive(c.get("account"), c.get("caller"), id, ranged);
      const { size, range, body } = archive;
      c.header("Content-Type", "application/zip");
      c.header("Content-Disposition", `attachment; filename="export-${id}.zip"`);
      c.header("Accept-Ranges", "bytes");
      if (!ranged || !range || !("offset" in range)) {
        c.header("Content-Length", String(size));
        return c.body(body, 200);
      }
      const { offset = 0, length = size - offset } = range;
      c.header("Content-Range", `bytes ${offset}-${offset + length - 1}/${size}`);
      c.header("Content-Length", String(length));
      return c.body(body, 206);
    },
  );
