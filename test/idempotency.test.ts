import { eq, sql } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openTenantDb } from "../src/db/client.ts";
import { Deadline } from "../src/deadline.ts";
import { auditEvents, idempotencyKeys } from "../src/db/site.ts";
import { projects } from "./support/product/schema.ts";
import type { TenantDb } from "../src/tenant-db.ts";
import { whileAsleep } from "./support/asleep.ts";
import { countCalls } from "./support/calls.ts";
import {
  answered,
  newMember,
  newProject,
  newTenant,
  request,
  type Row,
  type SignedIn,
} from "./support/client.ts";
import { AT_SITE } from "./support/site.ts";

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

const newKey = () => crypto.randomUUID();
const post = (
  key: string,
  body: unknown = { name: "Roof" },
  { path = "/v1/projects", token = ada.token } = {},
) => request("POST", path, { token, body, headers: { "idempotency-key": key } });

/** The tenant's rows, as a route of hers would see them. */
const rowsOf = ({ tenant, user }: SignedIn): TenantDb =>
  openTenantDb(
    "app",
    tenant.id,
    { id: user.id, as: "owner" },
    {
      id: "test",
      deadline: new Deadline(),
      onAnswer: () => undefined,
    },
  );

async function projectsMade(who = ada): Promise<number> {
  const { rows } = await rowsOf(who).read((db) => ({ rows: db.select({ id: projects.id }).from(projects) }));
  return rows.length;
}

/** All that a client is told, but for what says which request, and how long it took. */
async function told(response: Response) {
  const headers = [...response.headers].filter(
    ([name]) => !/^(x-request-id|server-timing|ratelimit.*|idempotency-replayed)$/.test(name),
  );
  return { status: response.status, headers: Object.fromEntries(headers), body: await response.text() };
}

it("answers the same request again with its first answer, and says so", async () => {
  const key = newKey();
  const body = { name: "Roof", description: "Slate", status: "archived" };
  const first = await post(key, body);
  expect(first.headers.has("idempotency-replayed")).toBe(false);
  const again = await post(key, body);
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  const answer = await told(first);
  expect(answer).toMatchObject({ status: 201, headers: { etag: '"1"', location: expect.any(String) } });
  expect(await told(again)).toEqual(answer);
  expect(await projectsMade()).toBe(1);

  const row = JSON.parse(answer.body) as Row;
  expect(row).toMatchObject(body);
  expect(await answered(200, request("GET", `/v1/projects/${row.id}`, { token: ada.token }))).toEqual(row);
  const { events } = await rowsOf(ada).read((db) => ({
    events: db
      .select({ action: auditEvents.action })
      .from(auditEvents)
      .where(eq(auditEvents.resource_id, row.id)),
  }));
  expect(events).toEqual([{ action: "create" }]);
});

it("answers like a request without a key, defaults and all", async () => {
  const project = (await newProject(ada.token)).id;
  const path = `/v1/projects/${project}/tasks`;
  for (const body of [
    { title: "Tiles" },
    { title: "Tiles", notes: null, assignee_id: null, due_on: null, status: null },
    { title: `“Dach” \\ ' 🏠`, notes: "n", assignee_id: ada.user.id, due_on: "2026-12-24", status: "done" },
  ]) {
    const plain = await answered<Row>(201, request("POST", path, { token: ada.token, body }));
    const keyed = await answered<Row>(201, post(newKey(), body, { path }));
    const own = { id: expect.any(String), created_at: expect.any(String), updated_at: expect.any(String) };
    expect(keyed).toEqual({ ...plain, ...own });
    expect(await answered(200, request("GET", `/v1/tasks/${keyed.id}`, { token: ada.token }))).toEqual(keyed);
  }
});

it("answers the first answer even when the row has changed or gone since", async () => {
  const key = newKey();
  const first = await told(await post(key));
  const path = first.headers["location"] ?? "";
  await answered(200, request("PATCH", path, { token: ada.token, body: { name: "Loft" } }));
  expect(await told(await post(key))).toEqual(first);
  await answered(204, request("DELETE", path, { token: ada.token }));
  expect(await told(await post(key))).toEqual(first);
  expect(await projectsMade()).toBe(0);
});

it(
  "makes one row of a hundred equal requests at once, and gives all of them its answer",
  { timeout: 60_000 },
  async () => {
    const key = newKey();
    const responses = await Promise.all(Array.from({ length: 100 }, () => post(key)));
    const replayed = responses.filter(({ headers }) => headers.has("idempotency-replayed"));
    const answers = await Promise.all(responses.map(told));
    expect(answers[0]?.status).toBe(201);
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(replayed).toHaveLength(99);
    expect(await projectsMade()).toBe(1);
  },
);

it("takes one object call and one database request, the first time and again", async () => {
  // Its object has read its record by then.
  await request("GET", "/v1/tenant/limits", { token: ada.token });
  const key = newKey();
  for (const replayed of [null, "true"]) {
    const calls = countCalls();
    const response = await post(key);
    expect(response.headers.get("idempotency-replayed")).toBe(replayed);
    expect(calls.sql).toBe(1);
    expect(calls.object).toBeLessThanOrEqual(1);
  }
});

it("refuses the key with another body or at another path, and takes the same JSON written otherwise", async () => {
  const key = newKey();
  const { id } = await answered<Row>(201, post(key, { name: "Roof", description: "Slate" }));
  const problem = { type: "/problems/idempotency_key_reused", status: 422 };
  expect(await answered(422, post(key, { name: "Roof" }))).toMatchObject(problem);
  const tasks = `/v1/projects/${id}/tasks`;
  expect(await answered(422, post(key, { title: "Roof" }, { path: tasks }))).toMatchObject(problem);
  expect(await answered(201, post(key, `{ "description": "Slate",\n "name": "Roof" }`))).toMatchObject({
    id,
  });
  expect(await projectsMade()).toBe(1);
});

it("keeps nothing of a request that failed, so that it can be sent again, corrected", async () => {
  const key = newKey();
  await answered(422, post(key, { name: "" }));
  await answered(400, post(key, "{"));
  const tasks = (id: string) => ({ path: `/v1/projects/${id}/tasks` });
  await answered(404, post(key, { title: "Tiles" }, tasks(newKey())));
  const stranger = { title: "Tiles", assignee_id: newKey() };
  await answered(422, post(key, stranger, tasks((await newProject(ada.token)).id)));
  const response = await post(key);
  expect(response.status).toBe(201);
  expect(response.headers.has("idempotency-replayed")).toBe(false);
});

it("tells keys apart by who sends them", async () => {
  const key = newKey();
  const member = await newMember(ada.tenant.id, "member");
  const stranger = await newTenant();
  const ids = [];
  for (const { token } of [ada, member, stranger])
    ids.push((await answered<Row>(201, post(key, undefined, { token }))).id);
  expect(new Set(ids).size).toBe(3);
  expect(await projectsMade()).toBe(2);
  expect(await projectsMade(stranger)).toBe(1);
});

it("takes the key as a string of RFC 9651 or bare, and these as the same", async () => {
  const key = newKey();
  const { id } = await answered<Row>(201, post(`"${key}"`));
  expect(await answered(201, post(key))).toMatchObject({ id });
  const odd = `"a \\"key\\" \\\\ with, all; kinds ${key}"`;
  const other = await answered<Row>(201, post(odd));
  expect(other.id).not.toBe(id);
  expect(await answered(201, post(odd))).toEqual(other);
});

it.each([`""`, `"open`, `a"b`, `two keys`, `one, two`, `"a\\b"`, `"ü"`, `"k";a=1`, "x".repeat(256), " "])(
  "refuses the key %s",
  async (key) => {
    const problem = await answered(400, post(key));
    expect(problem).toMatchObject({
      type: "/problems/invalid_header",
      errors: [{ pointer: "/idempotency-key", detail: expect.any(String) }],
    });
    expect(await projectsMade()).toBe(0);
  },
);

describe("a route that does not heed the key", () => {
  const headers = { "idempotency-key": newKey() };

  it.each([
    ["PATCH", "/v1/tenant", { name: "Loft" }],
    ["DELETE", "/v1/sessions", undefined],
    ["POST", "/v1/sessions", { email: "ada@acme.test", password: "correct horse" }],
    ["POST", "/v1/invitations", { email: "eve@acme.test", role: "viewer" }],
  ] as const)("refuses it: %s %s", async (method, path, body) => {
    const calls = countCalls();
    const answer = await answered(400, request(method, path, { token: ada.token, body, headers }));
    expect(answer).toMatchObject({ code: "idempotency_key_unsupported" });
    expect(calls.sql).toBe(0);
  });

  it("takes a request that changes nothing, and one without the key", async () => {
    await answered(200, request("GET", "/v1/projects", { token: ada.token, headers }));
    await answered(200, request("PATCH", "/v1/tenant", { token: ada.token, body: { name: "Loft" } }));
    const nowhere = await request("POST", "/v1/nothing", { token: ada.token, body: {}, headers });
    expect(nowhere.status).toBe(404);
  });
});

describe("a key", () => {
  /** Makes these keys so many hours older. */
  const age = (hours: number, key: string) =>
    rowsOf(ada).write((db) => ({
      aged: db
        .update(idempotencyKeys)
        .set({ created_at: sql`now() - make_interval(hours => ${hours})` })
        .where(eq(idempotencyKeys.key, key)),
    }));

  it("is good for 24 hours, then starts anew", async () => {
    const key = newKey();
    const { id } = await answered<Row>(201, post(key));
    await age(23, key);
    expect(await answered(201, post(key))).toMatchObject({ id });
    await age(25, key);
    const anew = await answered<Row>(201, post(key, { name: "Another" }));
    expect(anew.id).not.toBe(id);
    expect(await answered(201, post(key, { name: "Another" }))).toEqual(anew);
    await answered(422, post(key));
  });

  it("is deleted once it has expired, a few with each new request", async () => {
    await rowsOf(ada).write((db) => ({
      old: db.insert(idempotencyKeys).values(
        Array.from({ length: 25 }, (_, index) => ({
          key: `old-${index}`,
          request_hash: new Uint8Array(32),
          created_at: new Date(Date.now() - 25 * 3600_000),
        })),
      ),
    }));
    const left: number[] = [];
    for (let round = 0; round < 3; round++) {
      await answered(201, post(newKey()));
      const { rows } = await rowsOf(ada).read((db) => ({
        rows: db.select({ key: idempotencyKeys.key }).from(idempotencyKeys),
      }));
      left.push(rows.length);
    }
    expect(left).toEqual([16, 7, 3]);
  });

  it("whose first request is not done for long is answered with 409", async () => {
    const key = newKey();
    const response = await whileAsleep(
      AT_SITE.stage,
      (sleep) =>
        rowsOf(ada).write((db) => ({
          key: db.insert(idempotencyKeys).values({ key, request_hash: new Uint8Array(32) }),
          held: db.execute(sql.raw(`select ${sleep}`)),
        })),
      () => post(key),
    );
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await answered(409, response)).toMatchObject({ type: "/problems/idempotency_key_in_use" });
  });
});
