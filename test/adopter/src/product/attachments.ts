import * as v from "valibot";
import { resource } from "../edge/resource.ts";
import { rowsOf } from "../http/rows.ts";
import { shownOf } from "../http/shape.ts";
import { Uuid } from "../values.ts";
import { MediaType, Sha256, textOf } from "./input.ts";
import { attachments } from "./schema.ts";

const NewAttachment = v.strictObject({
  invoice_id: Uuid,
  file_name: textOf(255),
  media_type: MediaType,
  bytes: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER)),
  sha256: Sha256,
});

const shape = shownOf(attachments, "invoice_id", "file_name", "media_type", "bytes", "sha256");

export const attachmentRoutes = resource(rowsOf(attachments, shape, { filters: { invoice_id: Uuid } }), {
  one: "attachment",
  many: "attachments",
  tag: { name: "Attachments", description: "What is known of the files of invoices." },
  takes: NewAttachment,
});
