import { exports } from "cloudflare:workers";
import createClient from "openapi-fetch";
import { expect, it } from "vitest";
import type { paths } from "./support/api.d.ts";
import { PASSWORD } from "./support/client.ts";

// A client as a front end has it: typed by `npm run client`, against the whole Worker.

const newClient = (token?: string) =>
  createClient<paths>({
    baseUrl: "https://api.partywall.test",
    fetch: (request) => exports.default.fetch(request),
    headers: {
      "cf-connecting-ip": crypto.randomUUID(),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  });

it("signs up, creates projects, and pages through them, by types made from /openapi.json", async () => {
  const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
  const signUp = await newClient().POST("/v1/signup", {
    body: { email: `owner@${slug}.test`, password: PASSWORD, tenant: { name: "Acme", slug } },
  });
  const client = newClient(signUp.data?.access_token);

  for (const name of ["Roof", "Cellar", "Garden"]) {
    const { data, response } = await client.POST("/v1/projects", {
      params: { header: { "Idempotency-Key": name } },
      body: { name },
    });
    expect(data?.status).toBe("active");
    expect(response.headers.get("Location")).toBe(`/v1/projects/${data?.id}`);
  }

  const names: string[] = [];
  let cursor: string | null | undefined;
  do {
    const query = { limit: 2, status: "active" as const, ...(cursor ? { cursor } : {}) };
    const { data } = await client.GET("/v1/projects", { params: { query } });
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
  const { error } = await client.POST("/v1/projects", { body: { name: 5 } });
  expect(error?.errors?.[0]?.pointer).toBe("/name");
});
