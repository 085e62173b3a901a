import { exports } from "cloudflare:workers";
import createClient from "openapi-fetch";
import { expect, it } from "vitest";
import type { paths } from "./product/api.d.ts";
import { answered, newTenant, PASSWORD, request, signedUp, type SignedIn, stage } from "./support/client.ts";

// A client as a front end has it: typed by `npm run client`, against the whole Worker.

const newClient = (token?: string) =>
  createClient<paths>({
    baseUrl: "https://api.partywall.test",
    fetch: (asked) => exports.default.fetch(asked),
    headers: {
      "cf-connecting-ip": crypto.randomUUID(),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  });

it("signs up, makes API keys, and pages through them, by types made from /openapi.json", async () => {
  const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
  const signUp = await newClient().POST("/v1/signup", {
    body: { email: `owner@${slug}.test`, password: PASSWORD, tenant: { name: "Acme", slug } },
  });
  const client = newClient(signUp.data?.access_token);

  for (const name of ["Roof", "Cellar", "Garden"]) {
    const { data } = await client.POST("/v1/api-keys", { body: { name, scopes: ["audit:read"] } });
    expect(data?.key).toMatch(/^pw_/);
  }

  const names: string[] = [];
  let cursor: string | null | undefined;
  do {
    const query = { limit: 2, ...(cursor ? { cursor } : {}) };
    const { data } = await client.GET("/v1/api-keys", { params: { query } });
    names.push(...(data?.data ?? []).map(({ name }) => name));
    cursor = data?.next_cursor;
  } while (cursor);
  expect(names).toEqual(["Garden", "Cellar", "Roof"]);

  const renamed = await client.PATCH("/v1/tenant", { body: { name: "" } });
  if (!renamed.error) throw new Error("an empty name was taken");
  // Each problem's type is one of those that this operation documents.
  switch (renamed.error.type) {
    case "/problems/slug_taken":
      throw new Error("it is ours");
    case "/problems/invalid_input":
      expect(renamed.error.errors).toEqual([{ pointer: "/name", detail: expect.any(String) }]);
      break;
    default:
      throw new Error(renamed.error.detail);
  }
  // @ts-expect-error The checker knows that a name is text.
  const { error } = await client.PATCH("/v1/tenant", { body: { name: 5 } });
  expect(error?.errors?.[0]?.pointer).toBe("/name");
});

/** All that is stored and answered of a tenant just made; what differs by chance is replaced by its kind. */
async function shapeOf({ tenant, user, token }: SignedIn): Promise<unknown> {
  const [rows] = await stage`
    select (select json_agg(t) from tenants t where t.id = ${tenant.id}) as tenants,
      (select json_agg(u) from users u where u.id = ${user.id}) as users,
      (select json_agg(m) from memberships m where m.tenant_id = ${tenant.id}) as memberships,
      (select json_agg(s) from sessions s where s.tenant_id = ${tenant.id}) as sessions`;
  const answers: unknown[] = [];
  for (const path of ["/v1/me", "/v1/tenant", "/v1/tenant/limits", "/v1/sessions", "/v1/audit-events"])
    answers.push(await answered(200, request("GET", path, { token })));
  const text = JSON.stringify([rows, answers])
    .replaceAll(tenant.slug, "slug")
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, "id")
    .replaceAll(/\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)/g, "time")
    .replaceAll(/"reset":\d+/g, '"reset":"time"')
    // What is left of a second depends on when in it the test asks.
    .replaceAll(/("name":"second"[^}]*"remaining":)\d+/g, '$1"time"')
    // Of one of them the address is confirmed, which counts as a change.
    .replaceAll(/"email_verified(_at)?":(null|true|false|"time")/g, '"email_verified$1":"either"')
    .replaceAll(/("(?:updated_at|version)":)(?:1|2)\b/g, '$1"number"')
    .replaceAll(/scrypt\$[\w$-]+/g, "password")
    .replaceAll(/\\\\x[\da-f]{64}/g, "hash");
  return JSON.parse(text);
}

it.each([null, undefined])(
  "newTenant(%s) makes what sign-up makes, but for the password and a confirmed address",
  async (limits) => {
    const made = await shapeOf(await newTenant(limits));
    expect(made).toEqual(await shapeOf(await signedUp(limits)));
    const user = { id: "id", email: "owner@slug.test", password_hash: "password", created_at: "time" };
    expect(made).toMatchObject([{ users: [user], sessions: [{ refresh_hash: "hash" }] }, expect.any(Array)]);
  },
);
