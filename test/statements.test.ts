import { inArray } from "drizzle-orm";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { openTenantDb } from "../src/db/client.ts";
import { Deadline } from "../src/deadline.ts";
import { projects } from "./support/product/schema.ts";
import type { TenantDb } from "../src/tenant-db.ts";
import { countCalls } from "./support/calls.ts";
import { newProject, newTenant } from "./support/client.ts";

/** What Postgres counts in 16 bits. */
const MOST = 65_535;

let db: TenantDb;
let project: string;
beforeAll(async () => {
  const { tenant, user, token } = await newTenant();
  project = (await newProject(token)).id;
  db = openTenantDb(
    "app",
    tenant.id,
    { id: user.id, as: "owner" },
    { id: uuidv7(), deadline: new Deadline(), onAnswer: () => {} },
  );
});
afterEach(() => vi.restoreAllMocks());

const among = (count: number) => [project, ...Array.from({ length: count - 1 }, () => uuidv7())];
const find = (ids: string[]) =>
  db.read((tx) => ({
    found: tx.select({ id: projects.id }).from(projects).where(inArray(projects.id, ids)),
  }));

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
