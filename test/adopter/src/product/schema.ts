import { sql, type SQLWrapper } from "drizzle-orm";
import {
  bigint,
  check,
  date,
  foreignKey,
  index,
  integer,
  numeric,
  text,
  uniqueIndex,
  uuid,
} from "drizzle-orm/pg-core";
import { oneOf } from "../db/columns.ts";
import { tenantNumber, tenantTable } from "../db/tenant-table.ts";

export const INVOICE_STATUSES = ["draft", "sent", "paid", "void"] as const;

export const notes = tenantTable("notes", { text: text("text").notNull() }, (t) => [
  index("notes_newest").on(t.tenant_id, t.created_at, t.id),
]);

export const customers = tenantTable(
  "customers",
  {
    name: text("name").notNull(),
    email: text("email"),
    notes: text("notes").notNull().default(""),
  },
  (t) => [
    index("customers_newest").on(t.tenant_id, t.created_at, t.id),
    index("customers_by_name").on(t.tenant_id, t.name, t.id),
    uniqueIndex("customers_email").on(t.tenant_id, t.email),
  ],
);

export const invoices = tenantTable(
  "invoices",
  {
    number: tenantNumber("invoices"),
    customer_id: uuid("customer_id").notNull(),
    status: text("status", { enum: INVOICE_STATUSES }).notNull().default("draft"),
    issued_on: date("issued_on", { mode: "string" })
      .notNull()
      .default(sql`current_date`),
    due_on: date("due_on", { mode: "string" }),
    currency: text("currency").notNull(),
    total: numeric("total", { precision: 14, scale: 2 }).notNull(),
  },
  (t) => [
    foreignKey({
      name: "invoices_customer",
      columns: [t.tenant_id, t.customer_id],
      foreignColumns: [customers.tenant_id, customers.id],
    }),
    uniqueIndex("invoices_number").on(t.tenant_id, t.number),
    index("invoices_newest").on(t.tenant_id, t.created_at, t.id),
    index("invoices_by_number").on(t.tenant_id, t.number, t.id),
    index("invoices_by_due_on").on(t.tenant_id, t.due_on, t.id),
    index("invoices_by_total").on(t.tenant_id, t.total, t.id),
    index("invoices_of_customer").on(t.tenant_id, t.customer_id, t.created_at, t.id),
    index("invoices_of_status").on(t.tenant_id, t.status, t.created_at, t.id),
    index("invoices_by_month").on(t.tenant_id, t.currency, t.issued_on),
    oneOf("status", INVOICE_STATUSES),
    check("currency_code", sql`${t.currency} ~ '^[A-Z]{3}$'`),
  ],
);

/** What a line costs: rounded to cents, half a cent away from zero. A total is the sum of these. */
export const amountOf = (quantity: SQLWrapper, unitPrice: SQLWrapper) =>
  sql`round(${quantity} * ${unitPrice}, 2)`;

export const invoiceLines = tenantTable(
  "invoice_lines",
  {
    invoice_id: uuid("invoice_id").notNull(),
    position: integer("position").notNull(),
    description: text("description").notNull(),
    quantity: numeric("quantity", { precision: 12, scale: 3 }).notNull(),
    unit_price: numeric("unit_price", { precision: 12, scale: 2 }).notNull(),
    amount: numeric("amount", { precision: 14, scale: 2 })
      .notNull()
      .generatedAlwaysAs(amountOf(sql`quantity`, sql`unit_price`)),
  },
  (t) => [
    foreignKey({
      name: "invoice_lines_invoice",
      columns: [t.tenant_id, t.invoice_id],
      foreignColumns: [invoices.tenant_id, invoices.id],
    }).onDelete("cascade"),
    uniqueIndex("invoice_lines_position").on(t.tenant_id, t.invoice_id, t.position),
  ],
);

export const attachments = tenantTable(
  "attachments",
  {
    invoice_id: uuid("invoice_id").notNull(),
    file_name: text("file_name").notNull(),
    media_type: text("media_type").notNull(),
    bytes: bigint("bytes", { mode: "number" }).notNull(),
    sha256: text("sha256").notNull(),
  },
  (t) => [
    foreignKey({
      name: "attachments_invoice",
      columns: [t.tenant_id, t.invoice_id],
      foreignColumns: [invoices.tenant_id, invoices.id],
    }).onDelete("cascade"),
    index("attachments_newest").on(t.tenant_id, t.created_at, t.id),
    index("attachments_of_invoice").on(t.tenant_id, t.invoice_id, t.created_at, t.id),
    check("bytes_counted", sql`${t.bytes} >= 0`),
    check("sha256_hex", sql`${t.sha256} ~ '^[0-9a-f]{64}$'`),
  ],
);

export const tags = tenantTable("tags", { name: text("name").notNull() }, (t) => [
  index("tags_newest").on(t.tenant_id, t.created_at, t.id),
  uniqueIndex("tags_name").on(t.tenant_id, t.name),
  index("tags_by_name").on(t.tenant_id, t.name, t.id),
]);

export const invoiceTags = tenantTable(
  "invoice_tags",
  { invoice_id: uuid("invoice_id").notNull(), tag_id: uuid("tag_id").notNull() },
  (t) => [
    foreignKey({
      name: "invoice_tags_invoice",
      columns: [t.tenant_id, t.invoice_id],
      foreignColumns: [invoices.tenant_id, invoices.id],
    }).onDelete("cascade"),
    foreignKey({
      name: "invoice_tags_tag",
      columns: [t.tenant_id, t.tag_id],
      foreignColumns: [tags.tenant_id, tags.id],
    }).onDelete("cascade"),
    uniqueIndex("invoice_tags_pair").on(t.tenant_id, t.invoice_id, t.tag_id),
    index("invoice_tags_of_tag").on(t.tenant_id, t.tag_id, t.invoice_id),
  ],
);
