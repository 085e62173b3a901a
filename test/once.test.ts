import { eq } from "drizzle-orm";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import * as v from "valibot";
import { factory } from "../src/context.ts";
import { openTenantDb } from "../src/db/client.ts";
import { joined } from "../src/db/join.ts";
import { answerProblem, observe } from "../src/edge/gateway.ts";
import { fitting } from "../src/http/fits.ts";
import { IdempotencyKey, once } from "../src/http/idempotency.ts";
import { valid } from "../src/http/valid.ts";
import { countCalls } from "./support/calls.ts";
import { newTenant, noRequest, stage, type SignedIn } from "./support/client.ts";
import { projects, tasks } from "./support/product/schema.ts";

// An Idempotency-Key for several rows of several tables: a project with its tasks.

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

const Made = v.object({ name: v.string(), titles: v.array(v.string()), fails: v.optional(v.boolean()) });

const app = factory
  .createApp()
  .use(observe, (c, next) => {
    c.set("db", openTenantDb("app", ada.tenant.id, { id: ada.user.id, as: "owner" }, noRequest()));
    return next();
  })
  .post("/", valid("header", IdempotencyKey), valid("json", Made), async (c) => {
    const { name, titles, fails } = c.req.valid("json");
    const [id, other] = [crypto.randomUUID(), crypto.randomUUID()];
    const made = await once(c, (q) => ({
      project: q.insert(projects).values({ id, name }).returning(),
      nothing: q.update(projects).set({ description: "new" }).where(eq(projects.id, id)),
      tasks: q
        .insert(tasks)
        .values(titles.map((title) => ({ project_id: fails ? other : id, title })))
        .returning(),
      renamed: q
        .update(tasks)
        .set({ notes: name })
        .where(eq(tasks.project_id, id))
        .returning({ notes: tasks.notes }),
      joined: q
        .select({ id: tasks.id, of: projects })
        .from(tasks)
        .leftJoin(projects, joined(tasks, projects))
        .where(eq(tasks.project_id, id))
        .orderBy(tasks.id),
    })).catch(fitting(tasks).refuseMisfit);
    return c.json(made, 201);
  })
  .onError(answerProblem);

const send = (body: object, key?: string) =>
  Promise.resolve(
    app.request("/", {
      method: "POST",
      headers: { "content-type": "application/json", ...(key && { "idempotency-key": key }) },
      body: JSON.stringify(body),
    }),
  );

async function rows(): Promise<{ projects: number; tasks: number; keys: number }> {
  const [counted] = await stage`
    select (select count(*)::int from projects where tenant_id = ${ada.tenant.id}) as projects,
      (select count(*)::int from tasks where tenant_id = ${ada.tenant.id}) as tasks,
      (select count(*)::int from idempotency_keys where tenant_id = ${ada.tenant.id}) as keys`;
  return counted as never;
}

const requests = fc.array(
  fc.record({
    key: fc.nat(2),
    body: fc.record({
      name: fc.constantFrom("Roof", "Loft"),
      titles: fc.array(fc.constantFrom("Tiles", `'"\\ \n{1}`, "🏠"), { minLength: 1, maxLength: 3 }),
      fails: fc.boolean(),
    }),
    times: fc.integer({ min: 1, max: 4 }),
  }),
  { minLength: 1, maxLength: 6 },
);

it(
  "commits all rows of a batch or none, and answers its first answer from then on, whatever comes at once",
  { timeout: 60_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(requests, async (sent) => {
        ada = await newTenant();
        const answers = await Promise.all(
          sent.flatMap(({ key, body, times }) =>
            Array.from({ length: times }, async () => {
              const response = await send(body, `key-${key}`);
              return { key, body, status: response.status, text: await response.text() };
            }),
          ),
        );
        const made = answers.filter(({ status }) => status === 201);
        // 422 as well where another request has the key.
        for (const { status, body } of answers) expect(body.fails ? [422] : [201, 422]).toContain(status);
        for (const { body } of made) expect(body.fails).toBe(false);
        // One answer a key; and where somebody was told so, all of it is there, once.
        const first = new Map(made.map(({ key, text, body }) => [key, { text, body }]));
        for (const { key, text } of made) expect(text).toBe(first.get(key)?.text);
        const titles = [...first.values()].map(({ body }) => body.titles.length);
        expect(await rows()).toEqual({
          projects: first.size,
          tasks: titles.reduce((sum, count) => sum + count, 0),
          keys: first.size,
        });
      }),
      { numRuns: 25 },
    );
  },
);

it(
  "answers a hundred at once with one first answer, each in one round trip",
  { timeout: 60_000 },
  async () => {
    const body = { name: "Roof", titles: ["a", "b", "c"] };
    const calls = countCalls();
    const responses = await Promise.all(Array.from({ length: 100 }, () => send(body, "key")));
    expect(calls.sql).toBe(100);
    const replayed = responses.filter(({ headers }) => headers.has("idempotency-replayed"));
    expect(replayed).toHaveLength(99);
    const texts = new Set(await Promise.all(responses.map((response) => response.text())));
    expect(texts.size).toBe(1);
    expect(await rows()).toEqual({ projects: 1, tasks: 3, keys: 1 });
    // The same as without a key, but for what is new in each.
    const plain: unknown = await (await send(body)).json();
    const [first] = [...texts].map((text) => JSON.parse(text) as unknown);
    const shapeOf = (answer: unknown) =>
      JSON.stringify(answer, (name, value: unknown) => (/(^id|_id|_at)$/.test(name) ? typeof value : value));
    expect(shapeOf(first)).toBe(shapeOf(plain));
  },
);

it("has no result of a statement that returns no rows, with a key or without", async () => {
  const body = { name: "Roof", titles: ["a"] };
  for (const key of [undefined, "key", "key"]) {
    const answer = await (await send(body, key)).json<Record<string, unknown[]>>();
    expect(Object.keys(answer)).toEqual(["project", "tasks", "renamed", "joined"]);
    expect(answer).toMatchObject({ renamed: [{ notes: "Roof" }], joined: [{ of: { name: "Roof" } }] });
  }
});

it("takes another query for another request", async () => {
  const body = JSON.stringify({ name: "Roof", titles: ["a"] });
  const headers = { "content-type": "application/json", "idempotency-key": "key" };
  const statuses = [];
  for (const path of ["/?a=1", "/?a=1", "/?a=2", "/"])
    statuses.push((await app.request(path, { method: "POST", headers, body })).status);
  expect(statuses).toEqual([201, 201, 422, 422]);
});

it("refuses a statement that writes in a WITH, with a key or without, before it is sent", async () => {
  const calls = countCalls();
  const writes = factory
    .createApp()
    .use(observe, (c, next) => {
      c.set("db", openTenantDb("app", ada.tenant.id, { id: ada.user.id, as: "owner" }, noRequest()));
      return next();
    })
    .post("/", valid("header", IdempotencyKey), async (c) => {
      const made = await once(c, (q) => {
        const project = q.$with("project").as(q.insert(projects).values({ name: "Roof" }).returning());
        return { made: q.with(project).select().from(project) };
      });
      return c.json(made);
    })
    .onError((error, c) => c.text(error.message, 500));
  for (const headers of [{}, { "idempotency-key": "key" }]) {
    const answer = await writes.request("/", { method: "POST", headers });
    expect(await answer.text()).toMatch(/^once\(\) cannot keep the rows of made/);
  }
  expect(calls.sql).toBe(0);
});
