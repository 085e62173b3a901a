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
