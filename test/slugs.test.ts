import { expect, it } from "vitest";
import type { Session } from "../src/identity/session.ts";
import { answered, newTenant, PASSWORD, request, signedUp, stage } from "./support/client.ts";

const RESERVED = ["www", "api", "admin", "docs", "mail", "autodiscover", "xn--bcher-kva", "ab--c"];

it.each(RESERVED)("%s is refused as a new slug, by signing up and by renaming", async (slug) => {
  const body = {
    email: `${crypto.randomUUID()}@slugs.test`,
    password: PASSWORD,
    tenant: { name: "X", slug },
  };
  const { token } = await newTenant();
  for (const [refused, pointer] of [
    [await request("POST", "/v1/signup", { body }), "/tenant/slug"],
    [await request("PATCH", "/v1/tenant", { token, body: { slug } }), "/slug"],
  ] as const) {
    expect(refused.status).toBe(422);
    expect(await refused.json()).toMatchObject({ errors: [{ pointer }] });
  }
});

it.each(["wwww", "api2", "my-docs", "a-b--c", "xn-a"])("%s is as good as any slug", async (start) => {
  const slug = `${start}-${crypto.randomUUID().slice(0, 8)}`;
  const { token } = await newTenant();
  expect((await request("PATCH", "/v1/tenant", { token, body: { slug } })).status).toBe(200);
});

it("a tenant that has such a slug from before goes on as ever", async () => {
  const { tenant, user, refresh_token } = await signedUp();
  await stage`update tenants set slug = 'status' where id = ${tenant.id}`;
  const host = "status.partywall.test";
  const body = { email: user.email, password: PASSWORD };
  const session = await answered<Session>(201, request("POST", "/v1/sessions", { body, host }));
  expect(session.tenant.slug).toBe("status");
  await answered(201, request("POST", "/v1/sessions", { body: { ...body, tenant: "status" } }));
  const token = session.access_token;
  expect((await request("GET", "/v1/tenant", { token, host })).status).toBe(200);
  const renamed = request("PATCH", "/v1/tenant", { token, host, body: { name: "Status" } });
  expect(await answered(200, renamed)).toMatchObject({ name: "Status", slug: "status" });
  const refreshed = request("POST", "/v1/sessions/refresh", { host, body: { refresh_token } });
  expect((await answered<Session>(200, refreshed)).tenant.slug).toBe("status");
});
