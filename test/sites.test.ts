import { neonConfig } from "@neondatabase/serverless";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { contextKeyOf } from "../src/db/derived.ts";
import { SHARED_PLACE, type Place } from "../src/db/places.ts";
import { hmacPads, signContext } from "../src/db/signed-context.ts";
import { settings } from "../src/env.ts";
import { forgetAll } from "../src/memory.ts";
import { countCalls } from "./support/calls.ts";
import {
  answered,
  catchUp,
  login,
  newProject,
  newTenant,
  request,
  stage,
  type SignedIn,
} from "./support/client.ts";
import { AT_SITE, keyOf, PLACE, SITE } from "./support/site.ts";

// Tenants whose content is at a site that is not the shared one: this file runs with each kind of site.

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

/** A tenant at the shared site. */
async function newSharedTenant(): Promise<SignedIn> {
  const bob = await newTenant();
  await stage`update tenants set site = 'shared' where id = ${bob.tenant.id}`;
  await catchUp(bob.tenant.id);
  return bob;
}

const list = (token: string) => request("GET", "/v1/projects", { token });

it("serves a tenant with one call to its object and one request to its database", async () => {
  await newProject(ada.token);
  const calls = countCalls();
  expect((await list(ada.token)).status).toBe(200);
  expect(calls).toEqual({ object: 1, sql: 1, site: 0 });
});

it("says how the content is kept, and neither where nor with what, in answers and in logs", async () => {
  const logged = (["log", "error", "warn"] as const).map((name) => vi.spyOn(console, name));
  const tenant = await answered<object>(200, request("GET", "/v1/tenant", { token: ada.token }));
  expect(tenant).toMatchObject({ placement: { kind: SITE.name, region: null } });
  await newProject(ada.token);
  const operated = await answered<object>(
    200,
    request("PATCH", `/v1/operator/tenants/${ada.tenant.id}`, {
      token: settings.OPERATOR_TOKEN,
      body: { reason: "x" },
    }),
  );
  const me = await answered<object>(200, request("GET", "/v1/me", { token: ada.token }));
  const told = JSON.stringify([tenant, operated, me, logged.map(({ mock }) => mock.calls)]);
  const key = Buffer.from(settings.SITE_KEYS[0].key).toString("base64url");
  const secrets = [SITE.host, SITE.schema.replace("public", ""), SITE.secret, key].filter(Boolean);
  for (const secret of secrets) expect(told).not.toContain(secret);
});

describe("a context", () => {
  const at = ({ name, schema }: Place, context: string, as: typeof AT_SITE.app) =>
    as
      .transaction([
        as`select set_config('app.tenant', ${context}, true)`,
        as.query(`select id from ${schema}.projects`),
      ])
      .then(([, rows]) => [name, rows]);
  const contextFor = (place: Place, key = keyOf(place)) =>
    signContext(key, place, "partywall_app", ada.tenant.id, { id: ada.user.id, as: "owner" }, Date.now());
  const sharedKey = settings.TENANT_CONTEXT_KEYS[0];

  it("of the site opens it: the control of the next", async () => {
    const { id } = await newProject(ada.token);
    expect(await at(PLACE, contextFor(PLACE), AT_SITE.app)).toEqual([PLACE.name, [{ id }]]);
  });

  it.each<[string, () => string]>([
    ["of the shared site", () => contextFor(SHARED_PLACE, sharedKey)],
    ["of the shared site under the site's key", () => contextFor(SHARED_PLACE, keyOf(PLACE))],
    ["of a site with another name", () => contextFor({ ...PLACE, name: "site elsewhere" }, keyOf(PLACE))],
    [
      "of another database's key",
      () =>
        contextFor(
          PLACE,
          contextKeyOf(settings.SITE_KEYS, { ...SITE, secret: settings.SITE_KEYS[0].kid, database: "x" }),
        ),
    ],
  ])("%s is refused at the site", async (_, context) => {
    await expect(at(PLACE, context(), AT_SITE.app)).rejects.toMatchObject({ code: "28000" });
  });

  it("of the site is refused at the shared one, by the same login where it is the same database", async () => {
    for (const context of [contextFor(PLACE), contextFor(PLACE, sharedKey)])
      await expect(at(SHARED_PLACE, context, login("DATABASE_URL"))).rejects.toMatchObject({ code: "28000" });
  });
});

describe("a site that is down", () => {
  const { fetchFunction: send } = neonConfig;
  afterEach(() => (neonConfig.fetchFunction = send));
  /** Whether a request is for this run's site: by its server, or else by the schema that it enters. */
  const isForSite = (init: { headers: Record<string, string>; body: string }) =>
    SITE.host === null
      ? init.body.includes(PLACE.schema)
      : (init.headers["Neon-Connection-String"] ?? "").includes(SITE.host);

  it("harms its own tenants alone: 503 there, and others do not notice", async () => {
    const bob = await newSharedTenant();
    expect([(await list(ada.token)).status, (await list(bob.token)).status]).toEqual([200, 200]);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    neonConfig.fetchFunction = (url: string, init: { headers: Record<string, string>; body: string }) =>
      isForSite(init) ? Promise.reject(new Error("connection refused")) : send(url, init);
    for (let round = 0; round < 5; round += 1) {
      const refused = await list(ada.token);
      expect(refused.status).toBe(503);
      expect(refused.headers.get("retry-after")).toBe("5");
      expect((await list(bob.token)).status).toBe(200);
    }
    // What the control plane says of the tenant is not at the site.
    expect((await request("GET", "/v1/tenant", { token: ada.token })).status).toBe(200);
    neonConfig.fetchFunction = send;
    expect((await list(ada.token)).status).toBe(200);
  });
});

describe.skipIf(SITE.server === null)("a record that is one rotation behind", () => {
  // As after a rotation of which the tenant's object does not know yet. Its key is good beside the newer one.
  const behind = { ...SITE, generation: SITE.generation - 1 };
  const note = async ({ generation }: typeof SITE) => {
    await stage`update sites set generation = ${generation} where name = ${SITE.name}`;
    await catchUp(ada.tenant.id);
  };
  afterEach(() => note(SITE));

  it("costs an isolate one refused login, and no request its answer", async () => {
    const { kid, key } = contextKeyOf(settings.SITE_KEYS, behind);
    const [inner, outer] = Object.values(hmacPads(key)).map(
      (pad) => `\\x${Buffer.from(pad).toString("hex")}`,
    );
    await AT_SITE.stage`insert into partywall.context_keys values (${kid}, ${inner}, ${outer}) on conflict do nothing`;
    await note(behind);
    forgetAll();
    const asked = async (method: string, body?: object) => {
      const calls = countCalls();
      const { status } = await request(method, "/v1/projects", { token: ada.token, body });
      return [status, calls.sql];
    };
    expect(await asked("POST", { name: "Roof" })).toEqual([201, 2]);
    expect(await asked("GET")).toEqual([200, 1]);
    await note(SITE);
    expect(await asked("GET")).toEqual([200, 1]);
    const { data } = await answered<{ data: unknown[] }>(200, list(ada.token));
    expect(data).toHaveLength(1);
  });
});
