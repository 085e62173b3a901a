import { pgSchema, uuid } from "drizzle-orm/pg-core";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openTenantDb } from "../src/db/client.ts";
import { tenantNumber } from "../src/db/tenant-table.ts";
import { newTenant, noRequest, stage, type SignedIn } from "./support/client.ts";

// Numbers of a tenant's own: 1, 2, 3 …

const invoices = pgSchema("numbering").table("invoices", {
  id: uuid("id").notNull(),
  number: tenantNumber("invoices"),
});

beforeAll(async () => {
  await stage.transaction([
    stage`create schema numbering`,
    stage`create table numbering.invoices (
      id uuid primary key, number bigint not null default public.next_number('invoices'))`,
    stage`grant usage on schema numbering to partywall_app`,
    stage`grant select, insert on numbering.invoices to partywall_app`,
  ]);
});
afterAll(() => stage`drop schema numbering cascade`);

const open = ({ tenant, user }: SignedIn) =>
  openTenantDb("app", tenant.id, { id: user.id, as: "member" }, noRequest());

/** Makes an invoice, and returns its number; `fails` has the transaction undone after it. */
async function make(who: SignedIn, fails = false): Promise<number | undefined> {
  const id = crypto.randomUUID();
  try {
    const { made } = await open(who).write((q) => ({
      made: q.insert(invoices).values({ id }).returning({ number: invoices.number }),
      ...(fails && { undone: q.insert(invoices).values({ id }) }),
    }));
    return made[0]?.number;
  } catch (error) {
    if (fails) return undefined;
    throw error;
  }
}

const ascending = (numbers: number[]) => numbers.toSorted((a, b) => a - b);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

it("number a tenant's rows without gaps, with 64 writers at once of whom some fail", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { minLength: 64, maxLength: 64 }), async (fail) => {
      const ada = await newTenant();
      const made = await Promise.all(fail.map((fails) => make(ada, fails)));
      const numbers = made.filter((number) => number !== undefined);
      expect(ascending(numbers)).toEqual(upTo(fail.filter((fails) => !fails).length));
    }),
    { numRuns: 3 },
  );
});

it("are each tenant's own", async () => {
  const [ada, bob] = await Promise.all([newTenant(), newTenant()]);
  const hers = await Promise.all(upTo(5).map(() => make(ada)));
  expect(await make(bob)).toBe(1);
  expect(ascending(hers.filter((number) => number !== undefined))).toEqual(upTo(5));
  expect(await make(ada)).toBe(6);
});

it("are given to several rows of one statement in a row, and to no request without a context", async () => {
  const ada = await newTenant();
  const rows = upTo(3).map(() => ({ id: crypto.randomUUID() }));
  const { made } = await open(ada).write((q) => ({
    made: q.insert(invoices).values(rows).returning({ number: invoices.number }),
  }));
  expect(made.map(({ number }) => number)).toEqual([1, 2, 3]);
  const bare = stage.transaction([
    stage`set local session authorization partywall_app`,
    stage`select public.next_number('invoices')`,
  ]);
  await expect(bare).rejects.toMatchObject({ code: "28000" });
});
