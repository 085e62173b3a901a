import { describe, expect, it } from "vitest";
import { answered, newProject, newTenant, request, type SignedIn } from "./support/client.ts";
import { settings } from "../src/env.ts";

const operate = (method: string, path: string, body?: object) =>
  request(method, `/v1/operator/tenants/${path}`, { token: settings.OPERATOR_TOKEN, body });
const setMode = (ada: SignedIn, mode: string) =>
  answered(200, request("PATCH", "/v1/tenant/support-access", { token: ada.token, body: { mode } }));

describe("smoke", () => {
  it("works", async () => {
    const ada = await newTenant();
    await setMode(ada, "on");
    const session = await answered<{ id: string; access_token: string }>(
      201,
      operate("POST", `${ada.tenant.id}/support-sessions`, { reason: "look", minutes: 5, write: true }),
    );
    const token = session.access_token;
    expect(await answered(200, request("GET", "/v1/me", { token }))).toMatchObject({ act: { write: true } });
    const { id } = await newProject(token);
    const trail = await answered<{ data: object[] }>(
      200,
      request("GET", `/v1/audit-events`, { token: ada.token }),
    );
    console.log(JSON.stringify(trail.data, null, 1), id);
    await answered(204, request("DELETE", `/v1/tenant/support-sessions/${session.id}`, { token: ada.token }));
    expect((await request("GET", "/v1/me", { token })).status).toBe(401);
    console.log(await answered(200, request("GET", "/v1/tenant/support-sessions", { token: ada.token })));
  });
});
