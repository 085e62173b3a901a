import { inArray } from "drizzle-orm";
import { neonConfig } from "@neondatabase/serverless";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { openTenantDb } from "../src/db/client.ts";
import { projects } from "./support/product/schema.ts";
import type { TenantDb } from "../src/tenant-db.ts";
import { countCalls } from "./support/calls.ts";
import { newProject, newTenant, noRequest } from "./support/client.ts";
import { tenantPredicate } from "./support/tenant-predicate.ts";

/** What Postgres counts in 16 bits. */
const MOST = 65_535;

let db: TenantDb;
let project: string;
beforeAll(async () => {
  const { tenant, user, token } = await newTenant();
  project = (await newProject(token)).id;
  db = openTenantDb("app", tenant.id, { id: user.id, as: "owner" }, noRequest());
});
afterEach(() => vi.restoreAllMocks());

const among = (count: number) => [project, ...Array.from({ length: count - 1 }, () => uuidv7())];
const find = (ids: string[]) =>
  db.read((tx) => ({
    found: tx.select({ id: projects.id }).from(projects).where(inArray(projects.id, ids)),
  }));

describe("no statement in a tenant's name says which tenant", () => {
  it.each([
    'select "id" from "projects" where "projects"."id" = $1',
    'insert into "tasks" ("tenant_id", "id") values (default, $1) on conflict ("tenant_id", "id") do nothing',
    'select 1 from "tasks" inner join "projects" on "tasks"."tenant_id" = "projects"."tenant_id"',
    "select 1 from tenants t join memberships a on a.tenant_id = t.id where t.id = i.tenant_id",
  ])("as in: %s", (statement) => expect(tenantPredicate(statement)).toBeUndefined());

  it.each([
    'select "id" from "projects" where "projects"."tenant_id" = $1',
    "delete from sessions where tenant_id = '01234567-89ab-7cde-8f01-23456789abcd'",
    "select 1 from memberships where $1 = tenant_id",
    "select 1 from memberships where tenant_id in ($1)",
    'insert into "tasks" ("id") select id from tasks where tenant_id=$1',
    'update "projects" set "tenant_id" = $1',
  ])("which would be found in: %s", (statement) => expect(tenantPredicate(statement)).toBeDefined());

  it("and all that are sent in any test are read", async () => {
    const sent = vi.spyOn(neonConfig, "fetchFunction");
    await find([project]);
    expect(sent).toHaveBeenCalledOnce();
    expect(sent.mock.calls[0]?.[1]).toHaveProperty("deadline");
  });
});

it("a statement takes 65,535 values", async () => {
  expect(await find(among(MOST))).toEqual({ found: [{ id: project }] });
});

it("a statement of more values is refused as too large, and never sent", async () => {
  const ids = among(MOST + 1);
  const rows = ids.map((id) => ({ id, name: "bulk" }));
  const calls = countCalls();
  const refused = { code: "body_too_large", status: 413 };
  await expect(find(ids)).rejects.toMatchObject(refused);
  await expect(db.write((tx) => ({ made: tx.insert(projects).values(rows) }))).rejects.toMatchObject(refused);
  expect(calls.sql).toBe(0);
});
