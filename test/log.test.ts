import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { answered, newProject, newTenant, PASSWORD, request, signedUp } from "./support/client.ts";

beforeEach(() => {
  settings.LOG_REQUESTS = true;
});
afterEach(() => {
  settings.LOG_REQUESTS = false;
  vi.restoreAllMocks();
});

const listen = () => vi.spyOn(console, "log").mockImplementation(() => undefined);
const linesOf = (log: ReturnType<typeof listen>) =>
  log.mock.calls.map(([line]): { status?: number } => JSON.parse(String(line)));

it("writes one line a request: whose, which route, how it ended, what it waited for", async () => {
  const { token, tenant } = await newTenant([{ name: "minute", limit: 100, window: 60 }]);
  const { id } = await newProject(token);
  const log = listen();
  const response = await request("GET", `/v1/projects/${id}?secret=1`, { token });
  expect(linesOf(log)).toEqual([
    {
      message: "request",
      request_id: response.headers.get("x-request-id"),
      tenant: tenant.id,
      method: "GET",
      route: "/v1/projects/:id",
      status: 200,
      ms: expect.any(Number),
      admit_ms: expect.any(Number),
      db_ms: expect.any(Number),
      left: { minute: 98 },
    },
  ]);
});

it("names the route of a request without a token as well, and none of a path that has none", async () => {
  const log = listen();
  await request("POST", "/v1/sessions", { body: {} });
  await request("GET", "/health");
  await request("GET", "/v1/secret-path");
  const routes = log.mock.calls.map(([line]): unknown => JSON.parse(String(line)).route);
  expect(routes).toEqual(["/v1/sessions", "/health", "/v1/*"]);
});

it("writes of what went wrong, too, and never what is personal or secret", async () => {
  const [log, errors] = [listen(), vi.spyOn(console, "error").mockImplementation(() => undefined)];
  const { token, user, refresh_token } = await signedUp();
  const body = { name: "CI", scopes: ["projects:read"] };
  const { key } = await answered<{ key: string }>(201, request("POST", "/v1/api-keys", { token, body }));
  await answered(200, request("GET", "/v1/projects", { token: key }));
  await request("GET", "/v1/projects", { token: `${key.slice(0, -1)}!` });
  await request("GET", "/v1/projects/not-an-id", { token });
  await request("GET", `/v1/nothing/${user.email}`, { token: "garbage" });
  await request("POST", "/v1/sessions", { body: { email: user.email, password: "wrong password" } });
  await request("POST", "/v1/sessions/refresh", { body: { refresh_token } });
  const lines = linesOf(log);
  expect(lines.map(({ status }) => status)).toEqual(expect.arrayContaining([201, 404, 401, 200]));
  const text = JSON.stringify([lines, errors.mock.calls]);
  for (const secret of [
    token,
    refresh_token,
    key,
    key.slice(0, -1),
    user.email,
    PASSWORD,
    "wrong password",
    "garbage",
  ])
    expect(text).not.toContain(secret);
});
