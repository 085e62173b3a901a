import { expect, it } from "vitest";
import { newTenant, request } from "./support/client.ts";

it("creates, shows, lists, changes and deletes a project", async () => {
  const { token, user } = await newTenant();
  const created = await request("POST", "/v1/projects", { token, body: { name: "Roof" } });
  expect(created.status, await created.clone().text()).toBe(201);
  const project = await created.json<{ id: string }>();
  expect(project).toMatchObject({ name: "Roof", description: "", status: "active", created_by: user.id });
  const shown = await request("GET", `/v1/projects/${project.id}`, { token });
  expect(await shown.json()).toEqual(project);
  console.log(JSON.stringify([...shown.headers]));
});
