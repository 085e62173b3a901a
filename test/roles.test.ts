import { beforeAll, describe, expect, it } from "vitest";
import { SCOPES, type Role, ROLES } from "../src/authority.ts";
import { newMember, newProject, newTask, newTenant, request, type SignedIn } from "./support/client.ts";

let owner: SignedIn;
const members = new Map<Role, SignedIn>();
let project: string;
let task: string;

beforeAll(async () => {
  owner = await newTenant();
  for (const role of ROLES) members.set(role, await newMember(owner.tenant.id, role));
  project = (await newProject(owner.token)).id;
  task = (await newTask(owner.token, project)).id;
});

const routes = [
  ["GET", "/v1/projects", "viewer"],
  ["GET", "/v1/projects/:project", "viewer"],
  ["GET", "/v1/projects/:project/tasks", "viewer"],
  ["GET", "/v1/tasks", "viewer"],
  ["GET", "/v1/tasks/:task", "viewer"],
  ["GET", "/v1/tenant", "viewer"],
  ["POST", "/v1/projects", "member"],
  ["PATCH", "/v1/projects/:project", "member"],
  ["DELETE", "/v1/projects/:project", "member"],
  ["POST", "/v1/projects/:project/tasks", "member"],
  ["PATCH", "/v1/tasks/:task", "member"],
  ["DELETE", "/v1/tasks/:task", "member"],
  ["PATCH", "/v1/tenant", "admin"],
  ["DELETE", "/v1/tenant", "owner"],
] as const;

describe.each(ROLES)("a %s", (role) => {
  const rank = ROLES.indexOf(role);

  it.each(routes.filter(([, , least]) => rank < ROLES.indexOf(least)))(
    "may not %s %s",
    async (method, path) => {
      const response = await request(method, path.replace(":project", project).replace(":task", task), {
        token: members.get(role)?.token,
        body: method === "GET" || method === "DELETE" ? undefined : {},
      });
      expect(response.status).toBe(403);
      expect(response.headers.get("www-authenticate")).toMatch(
        /error="insufficient_scope", scope="[a-z]+:[a-z]+"/,
      );
      expect(await response.json()).toMatchObject({ type: "/problems/insufficient_scope" });
    },
  );

  // Deletes go to ids that do not exist: past the scope check that is a 404.
  it.each(routes.filter(([method, , least]) => rank >= ROLES.indexOf(least) && method !== "DELETE"))(
    "may %s %s",
    async (method, path) => {
      const bodies = {
        POST: path.endsWith("tasks") ? { title: "Tiles" } : { name: "Roof" },
        PATCH: {},
        GET: undefined,
      };
      const response = await request(method, path.replace(":project", project).replace(":task", task), {
        token: members.get(role)?.token,
        body: bodies[method as keyof typeof bodies],
      });
      expect(response.ok).toBe(true);
    },
  );

  it("is told its role and scopes by /v1/me", async () => {
    const response = await request("GET", "/v1/me", { token: members.get(role)?.token });
    expect(await response.json()).toMatchObject({
      role,
      scopes: SCOPES[role],
      tenant: { id: owner.tenant.id, role },
    });
  });
});
