import { and, asc, count, eq, getTableColumns, gte, inArray, lt, sql, type SQLWrapper } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import { violatedConstraint } from "../db/client.ts";
import { joined } from "../db/join.ts";
import { builder, query, type Given } from "../db/query.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { amountOf, invoiceLines, invoices, invoiceTags, tags } from "./schema.ts";

// What invoices need of the database beyond the usual verbs.

type Line = Pick<typeof invoiceLines.$inferInsert, "description" | "quantity" | "unit_price">;
type ById = { id: string };

/** From which statuses an invoice may come to each. */
const FROM = { sent: ["draft"], paid: ["sent"], void: ["draft", "sent"] } as const;
export const NEXT_STATUSES = ["sent", "paid", "void"] as const satisfies (keyof typeof FROM)[];

/** The new status, or a value that the CHECK `status_known` refuses: the UPDATE itself tells whether it may follow. */
export const moved = (to: keyof typeof FROM) =>
  sql`case when ${inArray(invoices.status, [...FROM[to]])} then ${to} else 'refused' end`;

/** What the CHECK refuses is a status that the invoice cannot come to. */
export function refuseStatus(error: unknown): never {
  if (violatedConstraint(error) !== "status_known") throw error;
  throw new Problem("status_not_reached", { cause: error });
}

/** As an array of Postgres'. */
const numericsOf = (amounts: string[]) => sql`${`{${amounts.join()}}`}::numeric[]`;

/** An invoice with its total, and its lines as rows of it. */
export function newInvoice<Body extends { lines: Line[] }>({ lines, ...given }: Body) {
  const id = uuidv7();
  const quantities = numericsOf(lines.map(({ quantity }) => quantity));
  const prices = numericsOf(lines.map(({ unit_price }) => unit_price));
  const total = sql`(select sum(${amountOf(sql`q`, sql`p`)}) from unnest(${quantities}, ${prices}) as line (q, p))`;
  return {
    ...given,
    id,
    total,
    lines: lines.map((line, at) => ({ ...line, invoice_id: id, position: at + 1 })),
  };
}

const linesOfInvoice = query((db, { id }: Given<ById>) => {
  const {
    tenant_id: _tenant,
    version: _version,
    invoice_id: _invoice,
    ...shown
  } = getTableColumns(invoiceLines);
  return db
    .select(shown)
    .from(invoiceLines)
    .where(eq(invoiceLines.invoice_id, id))
    .orderBy(asc(invoiceLines.position));
});

/** An invoice's lines, in their order. Throws `not_found`. */
export async function linesOf(db: TenantDb, { id }: ById) {
  const { lines } = await db.read({ lines: linesOfInvoice({ id }) });
  // Every invoice has one at least.
  if (!lines[0]) throw new Problem("not_found");
  return lines;
}

export const withTag = (tag: SQLWrapper) =>
  inArray(
    invoices.id,
    builder.select({ id: invoiceTags.invoice_id }).from(invoiceTags).where(eq(invoiceTags.tag_id, tag)),
  );

const invoiceThere = query((db, { id }: Given<ById>) =>
  db.select({ id: invoices.id }).from(invoices).where(eq(invoices.id, id)),
);
const tagsOfInvoice = query((db, { id }: Given<ById>) => {
  const { tenant_id: _tenant, version: _version, ...shown } = getTableColumns(tags);
  return db
    .select(shown)
    .from(invoiceTags)
    .innerJoin(tags, joined(invoiceTags, tags))
    .where(eq(invoiceTags.invoice_id, id))
    .orderBy(asc(tags.name));
});

/** An invoice's tags, by name. Throws `not_found`. */
export async function tagsOf(db: TenantDb, { id }: ById) {
  const { invoice, found } = await db.read({ invoice: invoiceThere({ id }), found: tagsOfInvoice({ id }) });
  if (!invoice[0]) throw new Problem("not_found");
  return found;
}

const NOT_THERE = { invoice: [], found: [] };

/** Makes these an invoice's tags, and no others; returns them by name. Throws `not_found` and `invalid_input`. */
export async function setTags(db: TenantDb, { id }: ById, ids: string[]) {
  const others = and(
    eq(invoiceTags.invoice_id, id),
    sql`${invoiceTags.tag_id} <> all(${`{${ids.join()}}`}::uuid[])`,
  );
  const pairs = ids.map((tag_id) => ({ tag_id, invoice_id: id }));
  const { invoice, found } = await db
    .write((q) => ({
      // Locked: of two requests at once, one sets all tags after the other.
      invoice: q.select({ id: invoices.id }).from(invoices).where(eq(invoices.id, id)).for("update"),
      gone: q.delete(invoiceTags).where(others),
      ...(pairs.length > 0 && { made: q.insert(invoiceTags).values(pairs).onConflictDoNothing() }),
      found: tagsOfInvoice({ id }),
    }))
    .catch((error: unknown) => {
      const constraint = violatedConstraint(error);
      if (constraint === "invoice_tags_invoice") return NOT_THERE;
      if (constraint !== "invoice_tags_tag") throw error;
      const errors = [{ pointer: "/tag_ids", detail: "There is no such tag." }];
      throw new Problem("invalid_input", { errors, cause: error });
    });
  if (!invoice[0]) throw new Problem("not_found");
  return found;
}

const MONTHS = 24;
const month = sql<string>`to_char(${invoices.issued_on}, 'YYYY-MM')`;
const thisMonth = sql`date_trunc('month', current_date)`;
// As days: behind the wall, Postgres finds no index for a day that is compared with an instant.
const first = sql`(${thisMonth} - make_interval(months => ${MONTHS - 1}))::date`;
const end = sql`(${thisMonth} + interval '1 month')::date`;

/** Sums of sent and paid invoices by the month of issue: this month and the 23 before. */
export const monthly = query((db, { currency }: Given<{ currency: string }>) =>
  db
    .select({ month, invoices: count(), total: sql<string>`sum(${invoices.total})` })
    .from(invoices)
    .where(
      and(
        eq(invoices.currency, currency),
        inArray(invoices.status, ["sent", "paid"]),
        gte(invoices.issued_on, first),
        lt(invoices.issued_on, end),
      ),
    )
    .groupBy(month)
    .orderBy(month),
);
