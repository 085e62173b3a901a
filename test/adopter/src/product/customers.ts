import * as v from "valibot";
import { bulkOf } from "../edge/bulk.ts";
import { needs } from "../edge/needs.ts";
import { IDEMPOTENCY_PROBLEMS, IdempotencyKey, once } from "../http/idempotency.ts";
import { resource } from "../edge/resource.ts";
import { rowsOf, searched } from "../http/rows.ts";
import { shownOf } from "../http/shape.ts";
import { valid } from "../http/valid.ts";
import { operation } from "../openapi/operation.ts";
import { Email } from "../values.ts";
import { textOf } from "./input.ts";
import { customers } from "./schema.ts";

const MAX = 200;
const tag = { name: "Customers", description: "Whom the tenant sends invoices to." };
const NewCustomer = v.strictObject({
  name: textOf(200),
  email: v.optional(v.nullable(Email)),
  notes: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(10_000)), "")),
});
const Import = v.strictObject({ customers: v.pipe(v.array(NewCustomer), v.minLength(1), v.maxLength(MAX)) });
const Imported = v.object({ ids: v.array(v.pipe(v.string(), v.uuid())) });
const bulk = bulkOf(MAX);

const rows = rowsOf(customers, shownOf(customers, "name", "email", "notes"), {
  filters: { q: searched(customers.name, customers.email) },
  sorts: ["name"],
});

export const customerRoutes = resource(rows, {
  one: "customer",
  many: "customers",
  tag,
  takes: NewCustomer,
}).post(
  "/import",
  operation("importCustomers", {
    summary: "Import customers",
    tag,
    answers: { 201: Imported },
    problems: [...IDEMPOTENCY_PROBLEMS, "value_taken"],
  }),
  needs("customers:write"),
  bulk.costs,
  valid("query", bulk.query),
  valid("header", IdempotencyKey),
  valid("json", Import),
  async (c) => {
    const given = c.req.valid("json").customers;
    bulk.check(c, given);
    const { made } = await once(c, (q) => ({
      made: q.insert(customers).values(given).returning({ id: customers.id }),
    })).catch(rows.refuse);
    return c.json({ ids: made.map(({ id }) => id) }, 201);
  },
);
