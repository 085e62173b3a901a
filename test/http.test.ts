import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { app } from "../src/app.ts";
import { settings } from "../src/env.ts";
import { documentOf } from "../src/openapi/document.ts";
import { PROBLEMS, type ProblemCode } from "../src/problem.ts";
import { faultsOfExamples, type Document } from "./contract/examples.ts";
import { countCalls } from "./support/calls.ts";
import { answered, newProject, newTask, newTenant, request, type Row } from "./support/client.ts";

afterEach(() => vi.restoreAllMocks());

type Problem = {
  code: ProblemCode;
  type: string;
  status: number;
  instance: string;
  errors?: { pointer: string; detail: string }[];
};

const JSON_TYPE = { "content-type": "application/json" };

describe("a body", () => {
  const cases: [string, { body?: unknown; headers?: Record<string, string> }, number, string[]][] = [
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
    ["that is null", { body: "null" }, 422, [""]],
    ["that is an array", { body: [{ name: "x" }] }, 422, [""]],
    ["that is an empty array", { body: [] }, 422, [""]],
    ["nested as deep as it is long", { body: "[".repeat(100_000) + "]".repeat(100_000) }, 422, [""]],
    ["nested so, and broken", { body: "[".repeat(200_000) }, 400, []],
    ["that is missing", {}, 400, []],
    ["that is missing but announced", { headers: JSON_TYPE }, 400, []],
    [
      "in another charset",
      { body: {}, headers: { "content-type": "application/json; charset=latin1" } },
      415,
      [],
    ],
    ["without a media type", { body: {}, headers: { "content-type": "" } }, 415, []],
    ["in a content coding", { body: {}, headers: { "content-encoding": "gzip" } }, 415, []],
    ["that is no UTF-8", { body: Uint8Array.of(0x22, 0xff, 0x22) }, 400, []],
    ["with a NUL in a text", { body: { name: "a\0b", description: "\0" } }, 422, ["/name", "/description"]],
    ["with half of a surrogate pair", { body: `{"name":"\\ud83c"}` }, 422, ["/name"]],
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
      expect(PROBLEMS[problem.code].status).toBe(status);
      expect(problem.type).toBe(`/problems/${problem.code}`);
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

it.each(["/v1/projects?stauts=active", "/v1/tasks?due=2026-01-01", "/v1/sessions?page=2"])(
  "refuses the query parameter of %s, which it does not know",
  async (path) => {
    const { token } = await newTenant();
    const problem = await answered<Problem>(422, request("GET", path, { token }));
    expect(problem.errors).toEqual([
      { pointer: `/${path.split(/[?=]/)[1]}`, detail: "There is no such query parameter here." },
    ]);
  },
);

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

it("sets what null takes away to what it is in a row made without it", async () => {
  const { token, user } = await newTenant();
  const project = await newProject(token, { name: "Roof", description: "Slate", status: "archived" });
  const path = `/v1/projects/${project.id}`;
  const patch = (at: string, body: object) => request("PATCH", at, { token, body });
  const bare = { description: "", status: "active" };
  expect(await answered(200, patch(path, { description: null, status: null }))).toMatchObject(bare);
  expect(await newProject(token, { name: "Loft", description: null, status: null })).toMatchObject(bare);

  const full = { title: "a", notes: "n", status: "done", assignee_id: user.id, due_on: "2026-12-24" };
  const task = `/v1/tasks/${(await newTask(token, project.id, full)).id}`;
  const none = { notes: null, status: null, assignee_id: null, due_on: null };
  expect(await answered(200, patch(task, none))).toMatchObject({
    ...none,
    notes: "",
    status: "todo",
    title: "a",
  });

  for (const [at, name] of [
    [path, "name"],
    [task, "title"],
  ] as const) {
    const problem = await answered<Problem>(422, patch(at, { [name]: null }));
    expect(problem.errors?.map(({ pointer }) => pointer)).toEqual([`/${name}`]);
  }
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
  expect((await patch("W/lukewarm")).status).toBe(400);
  const newest = (await request("GET", path, { token })).headers.get("etag") ?? "";
  expect((await request("DELETE", path, { token, headers: { "if-match": newest } })).status).toBe(204);
  expect((await request("DELETE", path, { token, headers: { "if-match": newest } })).status).toBe(404);
});

it("changes nothing by a patch that names nothing: the same row and ETag, and no event", async () => {
  const { token } = await newTenant();
  const { id } = await newProject(token);
  const path = `/v1/projects/${id}`;
  const read = await request("GET", path, { token });
  const etag = read.headers.get("etag") ?? "";
  const patch = (to: string, headers = {}, by = token) =>
    request("PATCH", to, { token: by, body: {}, headers });
  const row = await read.json();
  for (const headers of [{}, { "if-match": etag }]) {
    const patched = await patch(path, headers);
    expect(patched.headers.get("etag")).toBe(etag);
    expect(await answered(200, patched)).toEqual(row);
  }
  expect((await patch(path, { "if-match": '"99"' })).status).toBe(412);
  expect((await patch(path, {}, (await newTenant()).token)).status).toBe(404);
  expect((await patch(`/v1/projects/${crypto.randomUUID()}`)).status).toBe(404);
  const events = await answered<{ data: { action: string }[] }>(
    200,
    request("GET", `/v1/audit-events?resource_id=${id}`, { token }),
  );
  expect(events.data.map(({ action }) => action)).toEqual(["create"]);
});

it("takes any of several ETags in If-Match, and none that is no version", async () => {
  const { token } = await newTenant();
  const path = `/v1/projects/${(await newProject(token)).id}`;
  const patch = async (ifMatch: string) =>
    (await request("PATCH", path, { token, body: {}, headers: { "if-match": ifMatch } })).status;
  expect(await patch('"x", "99"')).toBe(412);
  expect(await patch('"x", "1", "99"')).toBe(200);
});

it("answers 304 to a GET whose If-None-Match names the ETag", async () => {
  const { token } = await newTenant();
  const path = `/v1/projects/${(await newProject(token)).id}`;
  const get = (ifNoneMatch: string, method = "GET") =>
    request(method, path, { token, headers: { "if-none-match": ifNoneMatch } });
  for (const known of ['"1"', 'W/"1"', '"7", "1"', "*"]) {
    const response = await get(known);
    expect(response.status).toBe(304);
    expect(response.headers.get("etag")).toBe('"1"');
    expect(await response.text()).toBe("");
  }
  expect((await get('"1"', "HEAD")).status).toBe(304);
  expect((await get('"2"')).status).toBe(200);
  const patch = { token, body: { name: "Loft" }, headers: { "if-none-match": '"2"' } };
  expect((await request("PATCH", path, patch)).status).toBe(200);
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
  for (const [path, about] of [
    ["/v1/nowhere", "The path is not one of /openapi.json"],
    ["/v1/projects", "Send Authorization: Bearer"],
  ] as const) {
    const { detail } = await answered<{ detail: string }>(401, request("GET", path));
    expect(detail).toContain(about);
  }
});

describe("a method that the path does not take", () => {
  const cases: [string, string, string][] = [
    ["DELETE", "/v1/projects", "GET, POST, HEAD, OPTIONS"],
    ["PUT", `/v1/projects/${crypto.randomUUID()}`, "GET, PATCH, DELETE, HEAD, OPTIONS"],
    ["GET", "/v1/signup", "POST, OPTIONS"],
    ["POST", "/v1/tenant/limits", "GET, HEAD, OPTIONS"],
    ["POST", "/health", "GET, HEAD, OPTIONS"],
    ["GET", "/v1/sessions/switch", "POST, DELETE, OPTIONS"],
  ];
  it.each(cases)("%s %s is answered with 405 and Allow, whoever asks", async (method, path, allow) => {
    const { token } = await newTenant();
    const calls = countCalls();
    for (const who of [undefined, "no-token", token]) {
      const response = await request(method, path, { token: who });
      expect(response.headers.get("allow")).toBe(allow);
      expect(await answered(405, response)).toMatchObject({
        type: "/problems/method_not_allowed",
        status: 405,
      });
    }
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
    const options = await request("OPTIONS", path);
    expect([options.status, options.headers.get("allow")]).toEqual([204, allow]);
  });
});

it("answers HEAD as GET, without the body", async () => {
  const { token } = await newTenant();
  const project = `/v1/projects/${(await newProject(token)).id}`;
  for (const path of [project, "/v1/projects", "/v1/tasks/x", "/health", "/openapi.json"]) {
    const [get, head] = await Promise.all(["GET", "HEAD"].map((method) => request(method, path, { token })));
    expect(head?.status).toBe(get?.status);
    expect(await head?.text()).toBe("");
    const named = (response?: Response) => [...(response?.headers.keys() ?? [])].sort();
    expect(named(head)).toEqual(named(get));
    expect(head?.headers.get("etag")).toBe(get?.headers.get("etag"));
  }
});

describe("a page of another origin", () => {
  const origin = "https://app.partywall.test";
  const preflight = (from: string, path: string, method: string) =>
    request("OPTIONS", path, { headers: { origin: from, "access-control-request-method": method } });
  const named = (response: Response, name: string) => (response.headers.get(name) ?? "").split(", ");
  beforeEach(() => void settings.ALLOWED_ORIGINS.push(origin));
  afterEach(() => void settings.ALLOWED_ORIGINS.pop());

  it("may send what a route takes, and read what it answers, if it is configured", async () => {
    const allowed = await preflight(origin, "/v1/projects", "POST");
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-origin")).toBe(origin);
    expect(named(allowed, "access-control-allow-methods")).toEqual(["GET", "POST", "HEAD", "OPTIONS"]);
    expect(named(allowed, "access-control-allow-headers")).toEqual(
      expect.arrayContaining([
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-Match",
        "baggage",
        "traceparent",
        "tracestate",
      ]),
    );
    const refused = await request("GET", "/v1/projects", { headers: { origin } });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("access-control-allow-origin")).toBe(origin);
    expect(refused.headers.get("vary")).toBe("Origin");
    expect(named(refused, "access-control-expose-headers")).toEqual(
      expect.arrayContaining([
        "ETag",
        "Location",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "Server-Timing",
      ]),
    );
  });

  it("may send the refresh token's cookie where browsers have one, but to no operator's route", async () => {
    const credentials = async (path: string, from = origin) =>
      (await preflight(from, path, "POST")).headers.get("access-control-allow-credentials");
    expect(await credentials("/v1/sessions")).toBeNull();
    settings.BROWSER_SESSIONS = true;
    try {
      const allowed = await preflight(origin, "/v1/sessions/refresh", "POST");
      expect(named(allowed, "access-control-allow-headers")).toContain("X-Refresh-Token");
      expect(await credentials("/v1/sessions/refresh")).toBe("true");
      expect(await credentials("/v1/projects")).toBe("true");
      expect(await credentials("/v1/operator/sessions")).toBeNull();
      expect(await credentials("/v1/sessions", "https://evil.test")).toBeNull();
      const answer = await request("GET", "/v1/me", { headers: { origin } });
      expect(answer.headers.get("access-control-allow-credentials")).toBe("true");
    } finally {
      settings.BROWSER_SESSIONS = false;
    }
  });

  it("may read nothing otherwise", async () => {
    for (const from of ["https://evil.test", "null", `${origin}.evil.test`, origin.toUpperCase()])
      for (const response of [
        await preflight(from, "/v1/projects", "POST"),
        await request("GET", "/health", { headers: { origin: from } }),
      ])
        expect(response.headers.get("access-control-allow-origin")).toBeNull();
  });
});

it("passes a well-formed traceparent on, and drops any other", async () => {
  const answer = async (traceparent: string) =>
    (await request("GET", "/health", { headers: { traceparent } })).headers.get("traceparent");
  const [trace, parent] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  expect(await answer(`00-${trace}-${parent}-01`)).toBe(`00-${trace}-${parent}-01`);
  for (const bad of [
    "garbage",
    `00-${trace}-${parent}`,
    `ff-${trace}-${parent}-01`,
    `00-${trace}-${parent}-01-more`,
  ])
    expect(await answer(bad)).toBeNull();
  expect(await answer(`00-${"0".repeat(32)}-${parent}-01`)).toBeNull();
  expect(await answer(`00-${trace}-${"0".repeat(16)}-01`)).toBeNull();
  expect(await answer(`00-${trace.toUpperCase()}-${parent}-01`)).toBeNull();
});

it("lets nobody store an answer that somebody signed in got", async () => {
  const { token } = await newTenant();
  const project = `/v1/projects/${(await newProject(token)).id}`;
  for (const path of [project, "/v1/me", "/v1/projects", "/v1/projects/x"])
    expect((await request("GET", path, { token })).headers.get("cache-control")).toBe("no-store");
  expect((await request("GET", "/v1/me")).headers.get("cache-control")).toBe("no-store");
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

it("shows a page about a problem to who prefers one, and text to others", async () => {
  const get = (path: string, accept: string) => request("GET", path, { headers: { accept } });
  for (const path of ["/problems/", "/problems/not_found"]) {
    const page = await get(path, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    expect(page.headers.get("content-type")).toMatch("text/html");
    expect(page.headers.get("vary")).toBe("Accept");
    const body = await page.text();
    expect(body).toContain("Not found (404)");
    // The policy allows the page's own style, and nothing else.
    const style = /<style>(.*?)<\/style>/s.exec(body)?.[1] ?? "";
    const hash = createHash("sha256").update(style).digest("base64");
    const policy = page.headers.get("content-security-policy");
    expect(policy).toBe(`default-src 'none'; frame-ancestors 'none'; style-src 'sha256-${hash}'`);
    for (const accept of ["*/*", "application/json", "text/plain, text/html;q=0.5"])
      expect((await get(path, accept)).headers.get("content-type")).toMatch("text/plain");
  }
  expect((await get("/problems/none", "text/html")).status).toBe(404);
});

it("says at / where to go: as a page to a browser, and the same as JSON to programs", async () => {
  const get = (accept: string) => request("GET", "/", { headers: { accept } });
  const places = await answered<Record<string, string>>(200, get("*/*"));
  expect(Object.keys(places)).toEqual(["name", "docs", "openapi", "account", "health"]);
  const page = await get("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
  expect(page.headers.get("content-type")).toMatch("text/html");
  const body = await page.text();
  for (const place of Object.values(places)) expect(body).toContain(place);
});

it("tells a path that is not there from a missing token, also in the operator's lane", async () => {
  for (const path of ["/nothing", "/v1/operator/nothing", "/v1/operator"]) {
    const { code, detail } = await answered<{ code: string; detail: string }>(404, request("GET", path));
    expect(code).toBe("not_found");
    expect(detail).not.toMatch(/tenant/);
  }
});

it("answers JSON whatever else is asked for", async () => {
  const { token } = await newTenant();
  const response = await request("GET", "/v1/projects", { token, headers: { accept: "text/html" } });
  expect(response.headers.get("content-type")).toMatch("application/json");
});

it("describes every route it serves, those of operators in a document of their own that only they can read", async () => {
  type Served = { openapi: string; paths: Record<string, object>; components: object };
  const read = (path: string, token?: string) => answered<Served>(200, request("GET", path, { token }));
  const everybodys = await read("/openapi.json");
  expect((await request("GET", "/v1/operator/openapi.json")).status).toBe(401);
  const operators = await read("/v1/operator/openapi.json", settings.OPERATOR_TOKEN);
  const namesIn = ({ paths }: Served) =>
    Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
  const served = app.routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  expect(everybodys.openapi).toBe("3.1.0");
  expect(new Set([...namesIn(everybodys), ...namesIn(operators)])).toEqual(new Set(served));
  expect(namesIn(everybodys).filter((name) => /operator/.test(name))).toEqual([]);
  expect(JSON.stringify(everybodys.components)).not.toContain("OPERATOR_TOKEN");
  expect(namesIn(operators).filter((name) => !/ (\/v1)?\/operator\b/.test(name))).toEqual([]);
});

it("gives every operation a description, and examples that fit their schemas", async () => {
  const whole = await documentOf(app);
  const faultsWith = (change: (document: Document) => void) => {
    const document = JSON.parse(whole) as Document;
    change(document);
    return faultsOfExamples(document);
  };
  const project = ({ paths }: Document) => paths["/v1/projects"]?.["post"] ?? { responses: {} };
  expect(faultsWith(() => undefined)).toEqual([]);
  expect(faultsWith((document) => delete project(document).description)).toEqual([
    "POST /v1/projects has no description.",
  ]);
  expect(faultsWith(({ components }) => delete components.schemas["Project"]?.examples)).toEqual([
    "The schema Project has no example.",
  ]);
  expect(
    faultsWith(({ components }) => {
      Object.assign(components.schemas["NewProject"] ?? {}, { examples: [{ name: 1 }] });
    }),
  ).toEqual([expect.stringContaining("The schema NewProject has an example that does not fit at #/name")]);
});

it("groups the document's chapters, so that none is left out", async () => {
  const { tags, "x-tagGroups": groups } = await answered<{
    tags: { name: string }[];
    "x-tagGroups": { name: string; tags: string[] }[];
  }>(200, request("GET", "/openapi.json"));
  expect(groups.map(({ name }) => name)).toEqual([
    "Sign in",
    "Your product",
    "People",
    "Keys",
    "Tenant",
    "The service",
  ]);
  expect(groups.flatMap((group) => group.tags)).toEqual(tags.map(({ name }) => name));
});

it.each(["2026-02-30", "2026-13-01", "0000-01-01"])(
  "refuses %s, which is no day of the calendar",
  async (day) => {
    const { token } = await newTenant();
    const project = (await newProject(token)).id;
    for (const [method, path, body] of [
      ["POST", `/v1/projects/${project}/tasks`, { title: "Tiles", due_on: day }],
      ["GET", `/v1/tasks?due_before=${day}`, undefined],
    ] as const)
      expect((await request(method, path, { token, body })).status).toBe(422);
  },
);
