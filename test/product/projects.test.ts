import { expect, it } from "vitest";
import { answered, newProject, newTenant, request } from "../support/client.ts";

it("creates, shows, lists, changes and deletes a project", async () => {
  const { token, user } = await newTenant();
  const created = await request("POST", "/v1/projects", { token, body: { name: " Roof " } });
  const project = await answered<{ id: string }>(201, created);
  const path = `/v1/projects/${project.id}`;
  expect(created.headers.get("location")).toBe(path);
  expect(project).toEqual({
    id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
    name: "Roof",
    description: "",
    status: "active",
    created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    updated_at: expect.any(String),
    created_by: user.id,
  });
  expect(await answered(200, request("GET", path, { token }))).toEqual(project);
  expect(await answered(200, request("GET", "/v1/projects", { token }))).toEqual({
    data: [project],
    next_cursor: null,
  });

  const patched = await answered(200, request("PATCH", path, { token, body: { status: "archived" } }));
  expect(patched).toEqual({ ...project, status: "archived", updated_at: expect.any(String) });
  expect((await request("DELETE", path, { token })).status).toBe(204);
  expect((await request("GET", path, { token })).status).toBe(404);
});

it("creates, shows, lists, changes and deletes a task", async () => {
  const { token, user } = await newTenant();
  const project = await newProject(token);
  const tasks = `/v1/projects/${project.id}/tasks`;
  const body = { title: "Tiles", assignee_id: user.id, due_on: "2026-12-24" };
  const created = await request("POST", tasks, { token, body });
  const task = await answered<{ id: string }>(201, created);
  const path = `/v1/tasks/${task.id}`;
  expect(created.headers.get("location")).toBe(path);
  expect(task).toMatchObject({
    ...body,
    project_id: project.id,
    notes: "",
    status: "todo",
    created_by: user.id,
  });
  expect(await answered(200, request("GET", path, { token }))).toEqual(task);
  for (const list of [tasks, "/v1/tasks"])
    expect(await answered(200, request("GET", list, { token }))).toEqual({ data: [task], next_cursor: null });

  const patched = await answered(200, request("PATCH", path, { token, body: { status: "done" } }));
  expect(patched).toMatchObject({ title: "Tiles", status: "done" });
  expect((await request("DELETE", path, { token })).status).toBe(204);
  expect((await request("GET", path, { token })).status).toBe(404);
});

it("adds many tasks at once, all or none, for a unit each, once for an Idempotency-Key", async () => {
  const { token } = await newTenant([{ name: "minute", limit: 1000, window: 60 }]);
  const project = await newProject(token);
  const at = `/v1/projects/${project.id}/tasks`;
  const listOf = (rows: number) => Array.from({ length: rows }, (_, index) => ({ title: `Task ${index}` }));
  const headers = { "idempotency-key": crypto.randomUUID() };
  const send = (rows: number | string, tasks: object[], path = at) =>
    request("POST", `${path}/bulk?rows=${rows}`, { token, body: { tasks }, headers });
  const left = (response: Response) => /r=(\d+)/.exec(response.headers.get("ratelimit") ?? "")?.[1];

  const made = await send(100, listOf(100));
  expect(left(made)).toBe("899");
  const { data } = await answered<{ data: { id: string }[] }>(201, made);
  expect(data).toHaveLength(100);
  expect(await answered(201, send(100, listOf(100)))).toEqual({ data });

  headers["idempotency-key"] = crypto.randomUUID();
  for (const [rows, tasks] of [
    [1, listOf(2)],
    [101, listOf(101)],
    ["x", listOf(1)],
    [2, [{ title: "Tiles" }, { title: "Tiles", assignee_id: crypto.randomUUID() }]],
  ] as const)
    expect((await send(rows, [...tasks])).status).toBe(422);
  const nowhere = `/v1/projects/${crypto.randomUUID()}/tasks`;
  expect((await send(1, listOf(1), nowhere)).status).toBe(404);
  const { data: all } = await answered<{ data: unknown[] }>(
    200,
    request("GET", `${at}?limit=100`, { token }),
  );
  expect(all).toHaveLength(100);
});

it("lists projects by name and tasks by when they are due, and finds projects by a part of their text", async () => {
  const { token } = await newTenant();
  for (const name of ["Roof", "100% roof"]) await newProject(token, { name });
  const { id } = await newProject(token, { name: "Loft" });
  for (const due_on of ["2026-12-24", null, "2026-01-01"])
    await request("POST", `/v1/projects/${id}/tasks`, { token, body: { title: "T", due_on } });
  const listed = async (path: string, member: string) => {
    const { data } = await answered<{ data: Record<string, unknown>[] }>(
      200,
      request("GET", path, { token }),
    );
    return data.map((row) => row[member]);
  };
  expect(await listed("/v1/projects?sort=name", "name")).toEqual(["100% roof", "Loft", "Roof"]);
  expect(await listed("/v1/projects?q=ROOF&sort=-name", "name")).toEqual(["Roof", "100% roof"]);
  expect(await listed("/v1/projects?q=%25", "name")).toEqual(["100% roof"]);
  const due = ["2026-01-01", "2026-12-24", null];
  expect(await listed(`/v1/projects/${id}/tasks?sort=due_on`, "due_on")).toEqual(due);
  expect(await listed("/v1/tasks?sort=-due_on", "due_on")).toEqual(due.toReversed());
});
