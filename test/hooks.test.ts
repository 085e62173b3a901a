import { neonConfig } from "@neondatabase/serverless";
import { afterEach, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { answered, newTenant, request, type SignedIn } from "./support/client.ts";

// A webhook of a product: test/support/product/pages.ts has one, by identifyKey().

afterEach(() => {
  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  vi.restoreAllMocks();
});

const newKey = ({ token }: SignedIn, ...scopes: string[]) =>
  answered<{ id: string; key: string }>(
    201,
    request("POST", "/v1/api-keys", { token, body: { name: "Hook", scopes } }),
  );
const call = (key: string) => request("POST", `/hooks/${key}`, { body: { name: "Roof" } });
const namesOf = async ({ token }: SignedIn) => {
  const { data } = await answered<{ data: { name: string }[] }>(
    200,
    request("GET", "/v1/projects", { token }),
  );
  return data.map(({ name }) => name);
};

it("writes for the tenant whose API key is in the URL, and for no other", async () => {
  const [ada, bob] = await Promise.all([newTenant(), newTenant()]);
  const { id, key } = await newKey(ada, "projects:write");
  await answered(200, call(key));
  expect(await namesOf(ada)).toEqual(["Roof"]);
  expect(await namesOf(bob)).toEqual([]);
  await request("DELETE", `/v1/api-keys/${id}`, { token: ada.token });
  expect((await call(key)).status).toBe(401);
});

it("answers a key that was made nowhere with 401, and one without the scope with 403", async () => {
  const ada = await newTenant();
  const { key } = await newKey(ada, "projects:read");
  expect((await call(`${key.slice(0, -1)}${key.endsWith("x") ? "y" : "x"}`)).status).toBe(401);
  expect((await call("no-key")).status).toBe(401);
  expect((await call(key)).status).toBe(403);
  expect(await namesOf(ada)).toEqual([]);
});

it("counts for the tenant's limits", async () => {
  const ada = await newTenant([{ name: "minute", limit: 2, window: 60 }]);
  const { key } = await newKey(ada, "projects:write");
  expect([(await call(key)).status, (await call(key)).status]).toEqual([200, 429]);
});

it("leaves the URL's key out of the log, also when it fails", async () => {
  const { key } = await newKey(await newTenant(), "projects:write");
  const said = [vi.spyOn(console, "log"), vi.spyOn(console, "error")];
  neonConfig.fetchEndpoint = "http://127.0.0.1:1";
  expect((await call(key)).status).toBe(503);
  const lines = JSON.stringify(said.flatMap(({ mock }) => mock.calls));
  expect(lines).toContain("POST /hooks/:key");
  expect(lines).not.toContain(key);
});
