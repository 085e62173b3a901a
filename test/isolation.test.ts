import { beforeAll, describe, expect, it } from "vitest";
import { memberships } from "../src/db/control.ts";
import {
  anotherSession,
  answered,
  newMember,
  newProject,
  newTask,
  newTenant,
  request,
  type Row,
  type SignedIn,
  stageDb,
} from "./support/client.ts";

type Page = { data: Row[]; next_cursor: string | null };

let ada: SignedIn;
let bob: SignedIn;
let hers: { project: string; task: string };
let his: { project: string; task: string };

beforeAll(async () => {
  [ada, bob] = await Promise.all([newTenant(), newTenant()]);
  const rows = async ({ token }: SignedIn) => {
    const project = (await newProject(token)).id;
    return { project, task: (await newTask(token, project)).id };
  };
  [hers, his] = await Promise.all([rows(ada), rows(bob)]);
});

const MISSING = "01234567-89ab-7cde-8f01-23456789abcd";

describe.each([
  ["GET", (id: string) => `/v1/projects/${id}`, undefined, "project"],
  ["PATCH", (id: string) => `/v1/projects/${id}`, { name: "Mine now" }, "project"],
  ["DELETE", (id: string) => `/v1/projects/${id}`, undefined, "project"],
  ["GET", (id: string) => `/v1/projects/${id}/tasks`, undefined, "project"],
  ["POST", (id: string) => `/v1/projects/${id}/tasks`, { title: "Mine now" }, "project"],
  ["GET", (id: string) => `/v1/tasks/${id}`, undefined, "task"],
  ["PATCH", (id: string) => `/v1/tasks/${id}`, { title: "Mine now" }, "task"],
  ["DELETE", (id: string) => `/v1/tasks/${id}`, undefined, "task"],
] as const)("%s %s", (method, path, body, kind) => {
  it("answers another tenant's id and a missing one with the same 404, byte for byte", async () => {
    const answer = async (id: string) => {
      const response = await request(method, path(id), {
        token: bob.token,
        body,
        headers: { "x-request-id": "the-same-id" },
      });
      const headers = [...response.headers].filter(
        ([name]) => !["ratelimit", "server-timing"].includes(name),
      );
      return { status: response.status, headers, body: await response.text() };
    };
    const foreign = await answer(hers[kind]);
    expect(foreign.status).toBe(404);
    expect(foreign).toEqual(await answer(MISSING));
  });

  it("leaves the other tenant's row as it was", async () => {
    const shown = (): Promise<unknown> =>
      answered(200, request("GET", `/v1/${kind}s/${hers[kind]}`, { token: ada.token }));
    const before = await shown();
    await request(method, path(hers[kind]), { token: bob.token, body });
    expect(await shown()).toEqual(before);
  });
});

it.each(["/v1/projects", "/v1/tasks"])(
  "lists and counts a tenant's own rows alone under %s",
  async (path) => {
    const ids = async ({ token }: SignedIn) =>
      (await answered<Page>(200, request("GET", `${path}?limit=100`, { token }))).data.map(({ id }) => id);
    const kind = path === "/v1/tasks" ? "task" : "project";
    expect(await ids(ada)).toEqual([hers[kind]]);
    expect(await ids(bob)).toEqual([his[kind]]);
  },
);

it("finds nothing by another tenant's ids in a filter", async () => {
  for (const filter of [`project_id=${hers.project}`, `assignee_id=${ada.user.id}`]) {
    const { data } = await answered<Page>(200, request("GET", `/v1/tasks?${filter}`, { token: bob.token }));
    expect(data).toEqual([]);
  }
});

it("does not let a task be assigned to another tenant's member", async () => {
  const assign = (assignee_id: string) =>
    request("PATCH", `/v1/tasks/${his.task}`, { token: bob.token, body: { assignee_id } });
  const foreign = await answered<{ errors: unknown }>(422, assign(ada.user.id));
  const missing = await answered<{ errors: unknown }>(422, assign(MISSING));
  expect(foreign.errors).toEqual(missing.errors);
  expect((await assign(bob.user.id)).status).toBe(200);
});

it("refuses a tenant_id or an id in a body: the handler never sees one", async () => {
  for (const intruder of [{ tenant_id: ada.tenant.id }, { id: MISSING }, { created_by: ada.user.id }]) {
    const response = await request("POST", "/v1/projects", {
      token: bob.token,
      body: { name: "x", ...intruder },
    });
    expect(response.status).toBe(422);
  }
});

it("takes the tenant from the token alone, whatever a header says", async () => {
  const headers = { "x-tenant-id": ada.tenant.id, "x-tenant": ada.tenant.id };
  for (const token of [bob.token, undefined]) {
    const response = await request("GET", "/v1/projects", { token, headers });
    expect(response.status).toBe(token === undefined ? 401 : 200);
    expect(await response.text()).not.toContain(hers.project);
  }
  expect(await answered(200, request("GET", "/v1/tenant", { token: bob.token, headers }))).toMatchObject({
    id: bob.tenant.id,
  });
});

it("tells a caller of the caller's own tenants alone", async () => {
  const me = await answered<{ tenant: Row; other_tenants: Row[] }>(
    200,
    request("GET", "/v1/me", { token: bob.token }),
  );
  expect(me).toMatchObject({ tenant: { id: bob.tenant.id }, other_tenants: [] });
});

it("keeps one person's tenants apart, and one tenant's people", async () => {
  const eve = await newMember(ada.tenant.id, "member");
  await stageDb
    .insert(memberships)
    .values({ tenant_id: bob.tenant.id, user_id: eve.user.id, role: "member" });
  const there = await anotherSession(eve, bob.tenant.slug);
  const seen = async (token: string) =>
    (await answered<Page>(200, request("GET", "/v1/projects", { token }))).data.map(({ id }) => id);
  // One after the other, and back: contexts are remembered.
  expect(await seen(eve.token)).toEqual([hers.project]);
  expect(await seen(there.token)).toEqual([his.project]);
  expect(await seen(eve.token)).toEqual([hers.project]);
  for (const { token, user } of [ada, eve]) {
    const task = await newTask(token, hers.project);
    expect(task).toMatchObject({ created_by: user.id });
    await answered(204, request("DELETE", `/v1/tasks/${task.id}`, { token }));
  }
});

it("takes a cursor only where it was given", async () => {
  await newProject(ada.token);
  const { next_cursor } = await answered<Page>(
    200,
    request("GET", "/v1/projects?limit=1", { token: ada.token }),
  );
  const go = (query: string, token: string) =>
    request("GET", `/v1/projects?limit=1&cursor=${next_cursor ?? ""}${query}`, { token });
  expect((await go("", ada.token)).status).toBe(200);
  expect((await go("", bob.token)).status).toBe(400);
  expect((await go("&status=active", ada.token)).status).toBe(400);
  expect((await go("A", ada.token)).status).toBe(400);
});
