import { eq, inArray } from "drizzle-orm";
import { alias } from "drizzle-orm/pg-core";
import { neonConfig } from "@neondatabase/serverless";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { openTenantDb } from "../src/db/client.ts";
import { joined } from "../src/db/join.ts";
import { builder } from "../src/db/query.ts";
import { projects, tasks } from "./support/product/schema.ts";
import type { TenantDb } from "../src/tenant-db.ts";
import { countCalls } from "./support/calls.ts";
import { newProject, newTenant, noRequest } from "./support/client.ts";
import { joinWithoutTenant, tenantPredicate } from "./support/tenant-predicate.ts";

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
    'insert into "tasks" ("tenant_id") values (default) returning "id", "tenant_id"',
    'with kept (c0) as (select "projects"."id", "projects"."tenant_id" from "projects") select * from kept',
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

describe("a join of two tenant tables", () => {
  it("is no relation of Drizzle's, which joins by whatever a schema says: the types have none", () => {
    // @ts-expect-error -- left out of Builder
    expect(Object.keys(builder.query)).toEqual([]);
  });

  const t = alias(tasks, "t");
  const textOf = (query: { toSQL(): { sql: string } }) => query.toSQL().sql;

  it("is by the whole key when it is made from the foreign key, also of an alias", async () => {
    const by = (from: typeof tasks | typeof t) =>
      textOf(builder.select({ id: from.id }).from(from).innerJoin(projects, joined(from, projects)));
    expect(by(tasks)).toContain(
      '("tasks"."tenant_id" = "projects"."tenant_id" and "tasks"."project_id" = "projects"."id")',
    );
    expect(by(t)).toContain(
      '("t"."tenant_id" = "projects"."tenant_id" and "t"."project_id" = "projects"."id")',
    );
    const { found } = await db.read((q) => ({
      found: q.select({ id: projects.id }).from(projects).leftJoin(tasks, joined(tasks, projects)),
    }));
    expect(found).toEqual([{ id: project }]);
  });

  it("is refused where there is no such key", () => {
    expect(() => joined(projects, tasks)).toThrow("projects has no foreign key");
    expect(() => joined(tasks, projects, "nothing")).toThrow("tasks has no foreign key nothing");
  });

  it("is found in what any test sends when it lacks the tenant", () => {
    const whole = builder.select().from(tasks).innerJoin(projects, joined(tasks, projects));
    const half = builder.select().from(tasks).innerJoin(projects, eq(tasks.project_id, projects.id));
    const both = builder
      .select()
      .from(tasks)
      .innerJoin(projects, joined(tasks, projects))
      .leftJoin(t, eq(t.project_id, projects.id))
      .where(eq(projects.tenant_id, t.tenant_id));
    expect([whole, half, both].map((query) => joinWithoutTenant(textOf(query)) !== undefined)).toEqual([
      false,
      true,
      true,
    ]);
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
