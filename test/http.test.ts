import { describe, expect, it } from "vitest";
import { app } from "../src/app.ts";
import { PROBLEMS } from "../src/problem.ts";
import { answered, newProject, newTask, newTenant, request, type Row } from "./support/client.ts";

type Problem = {
  type: string;
  status: number;
  instance: string;
  errors?: { pointer: string; detail: string }[];
};

describe("a body", () => {
  const cases: [string, { body: unknown; headers?: Record<string, string> }, number, string[]][] = [
    ["that is no JSON", { body: "{" }, 400, []],
    ["that is empty", { body: "" }, 400, []],
    ["of another media type", { body: "name=x", headers: { "content-type": "text/plain" } }, 415, []],
    ["over 256 KiB", { body: { name: "x", description: "x".repeat(256 * 1024) } }, 413, []],
    ["without a required member", { body: {} }, 422, ["/name"]],
    ["with an unknown member", { body: { name: "x", colour: "red" } }, 422, ["/colour"]],
    ["with a member that is empty", { body: { name: "  " } }, 422, ["/name"]],
    ["with an unknown value", { body: { name: "x", status: "lost" } }, 422, ["/status"]],
    ["with several faults", { body: { name: 1, status: 2 } }, 422, ["/name", "/status"]],
    ["that is no object", { body: `"text"` }, 422, [""]],
  ];
  it.each(cases)(
    "%s is answered with a problem that points at the fault",
    async (_, options, status, pointers) => {
      const { token } = await newTenant();
      const response = await request("POST", "/v1/projects", { token, ...options });
      expect(response.status).toBe(status);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      const problem = await response.json<Problem>();
      expect(problem.status).toBe(status);
      expect(problem.instance).toBe(response.headers.get("x-request-id"));
      expect((problem.errors ?? []).map(({ pointer }) => pointer)).toEqual(pointers);
      const page = await answered<{ data: Row[] }>(200, request("GET", "/v1/projects", { token }));
      expect(page.data).toEqual([]);
    },
  );
});

it("answers text as it was sent: quotes, emoji and what looks like SQL", async () => {
  const { token } = await newTenant();
  const name = `'; drop table projects; -- “Dach” 🏠 \\ $1`;
  expect(await newProject(token, { name })).toMatchObject({ name });
});

it("pages newest first without skipping or repeating a row while rows are added", async () => {
  const { token } = await newTenant();
  const made: string[] = [];
  for (let index = 0; index < 7; index++) made.unshift((await newProject(token, { name: `P${index}` })).id);
  const seen: string[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const query: string = cursor ? `&cursor=${cursor}` : "";
    const page: { data: Row[]; next_cursor: string | null } = await answered(
      200,
      request("GET", `/v1/projects?limit=3${query}`, { token }),
    );
    seen.push(...page.data.map(({ id }) => id));
    cursor = page.next_cursor;
    await newProject(token, { name: "added meanwhile" });
  }
  expect(seen).toEqual(made);
});

it.each(["0", "101", "-1", "x", "1.5"])("refuses ?limit=%s", async (limit) => {
  const { token } = await newTenant();
  expect((await request("GET", `/v1/projects?limit=${limit}`, { token })).status).toBe(422);
});

it("filters projects and tasks", async () => {
  const { token, user } = await newTenant();
  const project = (await newProject(token)).id;
  const archived = (await newProject(token, { name: "Old", status: "archived" })).id;
  const done = (await newTask(token, project, { title: "a", status: "done", due_on: "2026-01-31" })).id;
  const mine = (await newTask(token, archived, { title: "b", assignee_id: user.id })).id;
  const ids = async (path: string) =>
    (await answered<{ data: Row[] }>(200, request("GET", path, { token }))).data.map(({ id }) => id);
  expect(await ids("/v1/projects?status=archived")).toEqual([archived]);
  expect(await ids("/v1/tasks?status=done")).toEqual([done]);
  expect(await ids("/v1/tasks?due_before=2026-02-01")).toEqual([done]);
  expect(await ids("/v1/tasks?due_before=2026-01-31")).toEqual([]);
  expect(await ids(`/v1/tasks?assignee_id=${user.id}`)).toEqual([mine]);
  expect(await ids(`/v1/tasks?project_id=${project}`)).toEqual([done]);
  expect(await ids(`/v1/projects/${archived}/tasks`)).toEqual([mine]);
  expect(await ids(`/v1/projects/${archived}/tasks?status=done`)).toEqual([]);
});

it("patches what is named and leaves the rest, and takes null as a merge patch does", async () => {
  const { token, user } = await newTenant();
  const project = (await newProject(token)).id;
  const task = await newTask(token, project, {
    title: "a",
    notes: "n",
    assignee_id: user.id,
    due_on: "2026-12-24",
  });
  const patched = await answered(
    200,
    request("PATCH", `/v1/tasks/${task.id}`, {
      token,
      body: { title: "b", assignee_id: null },
      headers: { "content-type": "application/merge-patch+json" },
    }),
  );
  expect(patched).toMatchObject({ title: "b", notes: "n", assignee_id: null, due_on: "2026-12-24" });
});

it("lets a write through If-Match only while the row is as it was read", async () => {
  const { token } = await newTenant();
  const path = `/v1/projects/${(await newProject(token)).id}`;
  const etag = (await request("GET", path, { token })).headers.get("etag") ?? "";
  const patch = (ifMatch: string) =>
    request("PATCH", path, { token, body: { name: "Loft" }, headers: { "if-match": ifMatch } });
  const patched = await patch(etag);
  expect(patched.status).toBe(200);
  expect(patched.headers.get("etag")).not.toBe(etag);
  expect((await patch(etag)).status).toBe(412);
  expect((await request("DELETE", path, { token, headers: { "if-match": etag } })).status).toBe(412);
  expect((await patch("*")).status).toBe(200);
  expect((await patch("W/lukewarm")).status).toBe(422);
  const newest = (await request("GET", path, { token })).headers.get("etag") ?? "";
  expect((await request("DELETE", path, { token, headers: { "if-match": newest } })).status).toBe(204);
  expect((await request("DELETE", path, { token, headers: { "if-match": newest } })).status).toBe(404);
});

it("deletes a project together with its tasks", async () => {
  const { token } = await newTenant();
  const project = (await newProject(token)).id;
  const task = (await newTask(token, project)).id;
  expect((await request("DELETE", `/v1/projects/${project}`, { token })).status).toBe(204);
  expect((await request("GET", `/v1/tasks/${task}`, { token })).status).toBe(404);
});

it("takes a well-formed X-Request-Id, and makes one otherwise", async () => {
  const id = async (given: string) =>
    (await request("GET", "/health", { headers: { "x-request-id": given } })).headers.get("x-request-id");
  expect(await id("client-id-1")).toBe("client-id-1");
  expect(await id("<script>")).toMatch(/^[0-9a-f-]{36}$/);
});

it("answers what it does not serve with a 404 problem, and a path without a token with 401", async () => {
  for (const [path, status] of [
    ["/nowhere", 404],
    ["/v1/nowhere", 401],
    ["/v1/projects/not-an-id", 401],
  ] as const) {
    const response = await request("GET", path);
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
  }
  const { token } = await newTenant();
  expect((await request("GET", "/v1/projects/not-an-id", { token })).status).toBe(404);
  expect((await request("GET", "/v1/nowhere", { token })).status).toBe(404);
});

it("is ready when Postgres and an object answer", async () => {
  expect(await answered(200, request("GET", "/ready"))).toEqual({ status: "ok" });
  expect(await answered(200, request("GET", "/health"))).toEqual({ status: "ok" });
});

it("explains every problem under /problems", async () => {
  for (const [code, { title }] of Object.entries(PROBLEMS)) {
    const page = await request("GET", `/problems/${code}`);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain(title);
  }
});

it("describes every route it serves in /openapi.json", async () => {
  const document = await answered<{ openapi: string; paths: Record<string, Record<string, unknown>> }>(
    200,
    request("GET", "/openapi.json"),
  );
  expect(document.openapi).toBe("3.1.0");
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const served = app.routes
    .filter(({ method, path }) => method !== "ALL" && path !== "/openapi.json")
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  expect(new Set(described)).toEqual(new Set(served));
});
