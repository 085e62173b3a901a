import { lt, type SQLWrapper } from "drizzle-orm";
import * as v from "valibot";
import { needs } from "../edge/needs.ts";
import { answerNew, answerRow } from "../http/etag.ts";
import { resource } from "../edge/resource.ts";
import { once } from "../http/idempotency.ts";
import { rowsOf } from "../http/rows.ts";
import { shownOf } from "../http/shape.ts";
import { ById, valid } from "../http/valid.ts";
import { operation } from "../openapi/operation.ts";
import { amount, Day, Uuid } from "../values.ts";
import {
  linesOf,
  moved,
  newInvoice,
  NEXT_STATUSES,
  refuseStatus,
  setTags,
  tagsOf,
  withTag,
} from "./billing.ts";
import { Currency, DueOn, textOf } from "./input.ts";
import { INVOICE_STATUSES, invoiceLines, invoices } from "./schema.ts";
import { Tag } from "./tags.ts";

const tag = { name: "Invoices", description: "What the tenant's customers owe." };
const NewLine = v.strictObject({
  description: textOf(500),
  quantity: amount(12, 3),
  unit_price: amount(12, 2),
});
const NewInvoice = v.strictObject({
  customer_id: Uuid,
  currency: Currency,
  issued_on: v.optional(Day),
  due_on: DueOn,
  lines: v.pipe(v.array(NewLine), v.minLength(1), v.maxLength(100)),
});
const InvoicePatch = v.strictObject({ status: v.optional(v.picklist(NEXT_STATUSES)), due_on: DueOn });
const TagIds = v.strictObject({ tag_ids: v.pipe(v.array(Uuid), v.maxLength(50)) });

const shown = ["number", "customer_id", "status", "issued_on", "due_on", "currency", "total"] as const;
const Invoice = shownOf(invoices, ...shown);
const Line = shownOf(invoiceLines, "position", "description", "quantity", "unit_price", "amount");
const [Lines, Tags] = [v.object({ data: v.array(Line) }), v.object({ data: v.array(Tag) })];

const rows = rowsOf(invoices, Invoice, {
  filters: {
    status: v.picklist(INVOICE_STATUSES),
    customer_id: Uuid,
    due_before: [Day, (day: SQLWrapper) => lt(invoices.due_on, day)],
    tag_id: [Uuid, withTag],
  },
  sorts: ["due_on", "number", "total"],
  refuse: refuseStatus,
});

// Not deleted, which would leave a gap in the numbers: an invoice that is not wanted becomes void.
export const invoiceRoutes = resource(
  rows,
  {
    one: "invoice",
    many: "invoices",
    tag,
    takes: NewInvoice,
    changes: InvoicePatch,
    problems: { change: ["status_not_reached"] },
    summaries: { create: "Create an invoice with its lines" },
  },
  {
    create: async (c) => {
      const { id, total, lines, ...given } = newInvoice(c.req.valid("json"));
      const { made } = await once(c, (q) => ({
        made: rows.insert({ ...given, id, total }),
        lines: q.insert(invoiceLines).values(lines),
      })).catch(rows.refuse);
      return answerNew(c, made[0]);
    },
    change: async (c) => {
      const { status, ...patch } = c.req.valid("json");
      return answerRow(c, await rows.change(c, { ...patch, status: status && moved(status) }));
    },
    remove: false,
  },
)
  .get(
    "/:id/lines",
    operation("listInvoiceLines", { summary: "An invoice's lines, in order", tag, answers: { 200: Lines } }),
    needs("invoices:read"),
    valid("param", ById),
    async (c) => c.json({ data: await linesOf(c.get("db"), c.req.valid("param")) }),
  )
  .get(
    "/:id/tags",
    operation("listInvoiceTags", { summary: "An invoice's tags, by name", tag, answers: { 200: Tags } }),
    needs("invoices:read"),
    valid("param", ById),
    async (c) => c.json({ data: await tagsOf(c.get("db"), c.req.valid("param")) }),
  )
  .put(
    "/:id/tags",
    operation("setInvoiceTags", { summary: "Set all tags of an invoice", tag, answers: { 200: Tags } }),
    needs("invoices:write"),
    valid("param", ById),
    valid("json", TagIds),
    async (c) =>
      c.json({ data: await setTags(c.get("db"), c.req.valid("param"), c.req.valid("json").tag_ids) }),
  );
