import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { factory } from "../context.ts";
import { costs } from "../edge/cost.ts";
import { lasts } from "../edge/lasting.ts";
import { needs, signedIn } from "../edge/needs.ts";
import { bindings } from "../env.ts";
import { ById, valid } from "../http/valid.ts";
import { archiveOf } from "../lifecycle/archive.ts";
import { beginJob, findImport, JOB_STATUSES, startSoon } from "../lifecycle/exports.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

const tag = "Tenant";

/** What Cloudflare takes as a request's body on its smaller plans. */
const MAX_ARCHIVE_BYTES = 100_000_000;
/** An archive has this long to arrive. */
const ARCHIVE_TIMEOUT_MS = 10 * 60_000;
const IMPORT_UNITS = 10;

const Import = v.object({
  id: v.string(),
  status: v.picklist(JOB_STATUSES),
  rows: v.number(),
  created_at: v.string(),
  /** Why it has failed, where the archive or the tenant is not what it has to be. */
  reason: v.nullable(v.string()),
});
nameSchemas({ Import });

/** A tenant brings its data along: an export of this deployment or another, into an empty tenant. */
export const importRoutes = factory
  .createApp()
  .post(
    "/",
    operation("createImport", {
      summary: "Import an archive into the empty tenant: all or nothing",
      tag,
      answers: { 202: Import },
      problems: [
        "tenant_state",
        "job_under_way",
        "invalid_header",
        "unsupported_media_type",
        "body_too_large",
      ],
    }),
    needs("import"),
    costs(IMPORT_UNITS),
    lasts(ARCHIVE_TIMEOUT_MS),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const length = Number(c.req.header("content-length") ?? NaN);
      if (c.req.header("content-type") !== "application/zip")
        throw new Problem("unsupported_media_type", {
          detail: "Send a ZIP archive, with Content-Type: application/zip.",
        });
      if (!Number.isSafeInteger(length) || length < 1)
        throw new Problem("invalid_header", {
          detail: "Say in Content-Length how many bytes the archive has.",
        });
      if (length > MAX_ARCHIVE_BYTES)
        throw new Problem("body_too_large", { detail: "An archive may have 100 MB at most." });
      const id = uuidv7();
      const key = archiveOf(caller.tenantId, "imports", id);
      const { readable, writable } = new FixedLengthStream(length);
      const arriving = (c.req.raw.body ?? new Blob().stream()).pipeTo(writable);
      try {
        await Promise.all([
          bindings.ARCHIVES.put(key, readable, { customMetadata: { tenant: caller.tenantId } }),
          arriving,
        ]);
        await beginJob(c.get("account"), caller, "import", id);
      } catch (error) {
        await bindings.ARCHIVES.delete(key);
        if (error instanceof Problem) throw error;
        throw new Problem("body_timeout", { detail: "The archive did not arrive whole.", cause: error });
      }
      await startSoon({ kind: "import", tenant: caller.tenantId, job: id });
      return c.json(await findImport(c.get("account"), id), 202);
    },
  )
  .get(
    "/:id",
    operation("getImport", {
      summary: "How far an import is",
      tag,
      answers: { 200: Import },
      problems: ["not_found"],
    }),
    needs("import"),
    valid("param", ById),
    async (c) => c.json(await findImport(c.get("account"), c.req.valid("param").id)),
  );
