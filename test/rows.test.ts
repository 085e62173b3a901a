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
import { answerNew } from "../src/http/etag.ts";
import { PROBLEMS, Problem, type ProblemCode } from "../src/problem.ts";
import { resource } from "../src/edge/resource.ts";
import { rowsOf } from "../src/http/rows.ts";
import { valid } from "../src/http/valid.ts";
import { newProject, newTenant, request, type Row, type SignedIn } from "./support/client.ts";

/** A problem of the tests' product. */
const FULL = "project_full" as ProblemCode;

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

describe("a search", () => {
  const search = async (text: string) => {
    const answer = await request("GET", `/v1/projects?q=${encodeURIComponent(text)}`, { token: bob.token });
    const { data } = await answer.json<Page>();
    return answer.status === 200 ? data.map(({ name }) => name).toSorted() : answer.status;
  };
  let bob: SignedIn;
  beforeAll(async () => {
    bob = await newTenant();
    for (const name of ["50% off", "500 off", "under_score", "underXscore", "back\\slash", "Roof", "roof"])
      await newProject(bob.token, { name });
    await newProject(bob.token, { name: "Loft", description: "below the ROOF" });
  });

  it.each([
    ["50%", ["50% off"]],
    ["r_s", ["under_score"]],
    ["\\", ["back\\slash"]],
    [" RooF ", ["Loft", "Roof", "roof"]],
    ["'; drop table projects; --", []],
    [" ", 422],
    ["x".repeat(101), 422],
  ])("for %s finds what holds it to the letter, in any case", async (text, found) => {
    expect(await search(text)).toEqual(found);
  });
});

describe("a resource that is declared", () => {
  let eve: SignedIn;
  beforeAll(async () => {
    eve = await newTenant();
  });
  const notes = resource(
    rows,
    {
      one: "odd_project",
      many: "projects" as string as never,
      tag: { name: "Odd", description: "Projects, otherwise." },
      takes: v.strictObject({ name: v.string() }),
    },
    {
      create: async (c) => {
        const { name } = c.req.valid("json");
        if (name === "full") throw new Problem(FULL, { detail: "One more is too many." });
        return answerNew(c, await rows.create(c, { name }));
      },
      find: (c) => c.json({ replaced: c.req.valid("param").id }),
      remove: false,
    },
  );
  const declared = factory.createApp().use(observe, identify, admit).route("/", notes).onError(answerProblem);
  const send = async (method: string, path: string, body?: object) => {
    const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
    const headers = { authorization: `Bearer ${eve.token}`, "content-type": "application/json" };
    const response = await declared.request(
      path,
      { method, headers, ...(body && { body: JSON.stringify(body) }) },
      {},
      context,
    );
    const text = await response.text();
    return { status: response.status, body: text.startsWith("{") ? (JSON.parse(text) as Row) : undefined };
  };

  it("has its usual handlers, those that replace one, and no route that it leaves out", async () => {
    const made = await send("POST", "/", { name: "odd" });
    expect(made).toMatchObject({ status: 201, body: { name: "odd" } });
    const path = `/${made.body?.id}`;
    expect(await send("GET", path)).toMatchObject({ status: 200, body: { replaced: made.body?.id } });
    expect(await send("PATCH", path, { name: "odder" })).toMatchObject({
      status: 200,
      body: { name: "odder" },
    });
    expect((await send("DELETE", path)).status).toBe(404);
    expect(await send("POST", "/", { name: "full" })).toMatchObject({
      status: 409,
      body: { code: FULL, title: "The project is full", detail: "One more is too many." },
    });
    const { routes } = notes;
    const operations = new Set(routes.map(({ method, path: at }) => `${method} ${at}`));
    expect([...operations]).toEqual(["GET /", "POST /", "GET /:id", "PATCH /:id"]);
  });
});

it("has problems of the product's own, each with a page of its own", async () => {
  // The types know those of src/product.
  expect(PROBLEMS[FULL]).toMatchObject({ status: 409 });
  const page = await request("GET", `/problems/${FULL}`);
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining("The project is full")]);
  expect(new Problem(FULL).status).toBe(409);
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
