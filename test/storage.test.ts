import { sql } from "drizzle-orm";
import * as v from "valibot";
import { expect, it, vi } from "vitest";
import { edgeRecord } from "../src/db/edge-record.ts";
import { EdgeRecord } from "../src/tenant/record.ts";
import { measureTenant } from "../src/usage/storage.ts";
import { answered, newProject, newTenant, request, stage, stageDb, type SignedIn } from "./support/client.ts";
import { AT_SITE, PLACE } from "./support/site.ts";

type Day = { requests: number; rows: number; bytes_stored: number };

/** What the tenant is told of its last days. */
async function days({ token }: SignedIn, query = ""): Promise<Day[]> {
  const path = `/v1/tenant/usage${query}`;
  return (await answered<{ data: Day[] }>(200, request("GET", path, { token }))).data;
}

/** What the sweep measures of the tenant: other files sweep at the same database. */
async function measured(by: SignedIn): Promise<Day> {
  const { rows } = await stageDb.execute(
    sql`select ${edgeRecord} as tenant from control.tenants t where t.id = ${by.tenant.id}`,
  );
  // Postgres does this by itself, later: what a row takes of an index depends on how many there are.
  await AT_SITE.stage.query(`analyze ${PLACE.schema}.projects, ${PLACE.schema}.audit_events`);
  await measureTenant(v.parse(Found, rows)[0].tenant);
  const last = (await days(by)).at(-1);
  if (!last) throw new Error("there are no days");
  return last;
}
const Found = v.tuple([v.object({ tenant: EdgeRecord })]);

/** Returns once the tenant's site has heard all that the control plane has to tell it: those are rows, too. */
const told = ({ tenant }: SignedIn) =>
  vi.waitFor(async () => {
    const [head] = await stage`select head::int from control.outbox_heads where tenant_id = ${tenant.id}`;
    const receipts = await AT_SITE.stage.query(
      `select seq::int as head from ${PLACE.schema}.outbox_receipts where tenant_id = $1`,
      [tenant.id],
    );
    expect(receipts).toEqual([head]);
  }, 10_000);

it("what a tenant stores is measured, and stands for the days from then on", async () => {
  const [ada, bob] = await Promise.all([newTenant(), newTenant()]);
  await newProject(bob.token, { name: "z".repeat(200), description: "z".repeat(1000) });
  await told(ada);
  const empty = await measured(ada);
  await newProject(ada.token, { name: "x".repeat(200), description: "y".repeat(1000) });
  const before = await measured(ada);
  // A project, and what the audit trail says of it.
  expect(before.rows).toBe(empty.rows + 2);
  expect(before.bytes_stored).toBeGreaterThan(empty.bytes_stored + 200);
  // A table grows by pages of 8 KiB.
  expect(before.bytes_stored).toBeLessThan(empty.bytes_stored + 16_384);
  for (let made = 0; made < 3; made++) await newProject(ada.token, { name: "Roof" });
  expect((await measured(ada)).rows).toBe(before.rows + 6);
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
  const next = await days(ada, `?from=${tomorrow}&to=${tomorrow}`);
  expect(next).toMatchObject([{ requests: 0, rows: before.rows + 6 }]);
});

it("many rows are told from a sample, within a fifth", async () => {
  const ada = await newTenant();
  const { rows: usual } = await measured(ada);
  await AT_SITE.stage.query(
    `insert into ${PLACE.schema}.idempotency_keys (tenant_id, actor_id, key, request_hash)
      select $1, $2, 'k' || g, '\\x00' from generate_series(1, 50000) g`,
    [ada.tenant.id, ada.user.id],
  );
  await AT_SITE.stage.query(`analyze ${PLACE.schema}.idempotency_keys`);
  const { rows, bytes_stored } = await measured(ada);
  expect(rows).toBeGreaterThan(40_000);
  expect(rows).toBeLessThan(usual + 60_000);
  const [size] = await AT_SITE.stage.query(
    `select pg_total_relation_size('${PLACE.schema}.idempotency_keys')::float8 as bytes`,
  );
  expect(bytes_stored).toBeGreaterThan(Number(size?.["bytes"]) / 2);
  expect(bytes_stored).toBeLessThan(Number(size?.["bytes"]) * 2);
  await AT_SITE.stage.query(`delete from ${PLACE.schema}.idempotency_keys where tenant_id = $1`, [
    ada.tenant.id,
  ]);
}, 60_000);
