import { eq } from "drizzle-orm";
import * as v from "valibot";
import { beforeAll, describe, expect, it } from "vitest";
import { factory } from "../src/context.ts";
import { openTenantDb } from "../src/db/client.ts";
import { query, type Given } from "../src/db/query.ts";
import { projects } from "./support/product/schema.ts";
import { Deadline } from "../src/deadline.ts";
import { admit } from "../src/edge/admit.ts";
import { answerProblem, observe } from "../src/edge/gateway.ts";
import { identify } from "../src/edge/identify.ts";
import { rowsOf } from "../src/http/rows.ts";
import { valid } from "../src/http/valid.ts";
import { newProject, newTenant, type SignedIn } from "./support/client.ts";

const Project = v.object({ id: v.string(), name: v.string(), created_at: v.string() });
const rows = rowsOf(projects, Project, {
  filters: { status: v.picklist(["active", "archived"]) },
  sorts: ["name"],
});
const app = factory
  .createApp()
  .use(observe, identify, admit)
  .get("/", valid("query", rows.query), (c) => rows.page(c))
  .onError(answerProblem);

let ada: SignedIn;
/** More of one name than a page holds, so that the order of equal names counts. */
const NAMES = ["beta", "alpha", "beta", "gamma", "beta", "beta", "alpha"];

beforeAll(async () => {
  ada = await newTenant();
  for (const name of NAMES) await newProject(ada.token, { name });
});

type Page = { data: { id: string; name: string }[]; next_cursor: string | null };

async function ask(parameters: string): Promise<{ status: number; page: Page }> {
  const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
  const headers = { authorization: `Bearer ${ada.token}` };
  const response = await app.request(`/?${parameters}`, { headers }, {}, context);
  return { status: response.status, page: await response.json() };
}

/** All rows of a list, two at a time. */
async function walk(order: string): Promise<Page["data"]> {
  const found: Page["data"] = [];
  for (let cursor = ""; ;) {
    const { page } = await ask(`limit=2${order}${cursor}`);
    found.push(...page.data);
    if (!page.next_cursor) return found;
    cursor = `&cursor=${page.next_cursor}`;
  }
}

describe("a list with orders of its own", () => {
  it.each([
    ["rising", "&sort=name", 1],
    ["falling", "&sort=-name", -1],
  ])("pages through its rows %s, each once", async (_, order, direction) => {
    const found = await walk(order);
    expect(new Set(found.map(({ id }) => id)).size).toBe(NAMES.length);
    const sorted = NAMES.toSorted((a, b) => direction * (a < b ? -1 : a > b ? 1 : 0));
    expect(found.map(({ name }) => name)).toEqual(sorted);
  });

  it("comes newest first where nothing is said", async () => {
    expect((await walk("")).map(({ name }) => name)).toEqual(NAMES.toReversed());
  });

  it("takes no cursor of another order, and no order that it does not know", async () => {
    const { page } = await ask("limit=2&sort=name");
    expect((await ask(`limit=2&sort=-name&cursor=${page.next_cursor}`)).status).toBe(400);
    expect((await ask(`limit=2&cursor=${page.next_cursor}`)).status).toBe(400);
    expect((await ask("sort=created_by")).status).toBe(422);
  });
});

describe("a query", () => {
  let built = 0;
  const find = query((db, { status, name }: Given<{ status?: "active" | "archived"; name?: string }>) => {
    built += 1;
    return db
      .select({ name: projects.name })
      .from(projects)
      .where(name ? eq(projects.name, name) : status && eq(projects.status, status));
  });

  it("is built once for each set of values that it is given, and answers each request with its own", async () => {
    const db = openTenantDb(
      "app",
      ada.tenant.id,
      { id: ada.user.id, as: "owner" },
      { id: "test", deadline: new Deadline(), onAnswer: () => undefined },
    );
    const namesOf = async (values: Parameters<typeof find>[0]) =>
      (await db.read({ found: find(values) })).found.map(({ name }) => name).sort();
    expect(await namesOf({ name: "alpha" })).toEqual(["alpha", "alpha"]);
    expect(await namesOf({ name: "gamma" })).toEqual(["gamma"]);
    expect(await namesOf({ status: "active" })).toEqual(NAMES.toSorted());
    expect(await namesOf({ status: "archived" })).toEqual([]);
    expect(built).toBe(2);
  });
});
