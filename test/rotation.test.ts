import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { SHARED_PLACE } from "../src/db/places.ts";
import { CONTEXT_TTL_S, hmacPads, signContext } from "../src/db/signed-context.ts";
import { settings } from "../src/env.ts";
import type { NamedKey } from "../src/settings.ts";
import { app, attempt, migrator, type Outcome } from "./support/attacks.ts";
import { newTenant, request, type SignedIn } from "./support/client.ts";

// The key of the signed context changes under load: the database learns the new key, the Worker signs with it, the
// old one is retired. The key that this run began with stays in the table throughout, for the other test files.

const begun = [...settings.TENANT_CONTEXT_KEYS];
const newKey = (): NamedKey => ({
  kid: crypto.randomUUID().slice(0, 8),
  key: crypto.getRandomValues(new Uint8Array(32)),
});
const hex = (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString("hex")}`;

/** Keys of this file that the table has. */
const listed = new Set<string>();

/** What storeContextKeys() of drizzle/migrate.ts does with a list, but for the keys that this run began with. */
async function store(...keys: NamedKey[]): Promise<void> {
  const pads = keys.map(({ kid, key }) => ({ kid, ...hmacPads(key) }));
  const retired = [...listed].filter((kid) => !keys.some((key) => key.kid === kid));
  await migrator.transaction([
    migrator`set local role partywall_owner`,
    migrator`delete from partywall.context_keys where kid = any (${retired})`,
    ...pads.map(
      ({ kid, inner, outer }) =>
        migrator`insert into partywall.context_keys values (${kid}, ${hex(inner)}::bytea, ${hex(outer)}::bytea)
          on conflict (kid) do update set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad`,
    ),
  ]);
  for (const kid of retired) listed.delete(kid);
  for (const { kid } of keys) listed.add(kid);
}

/** The Worker as deployed with these keys, in an isolate that remembers no context. */
function deploy(...keys: NamedKey[]): void {
  settings.TENANT_CONTEXT_KEYS.splice(0, Infinity, ...keys);
  // Contexts are remembered for half of their life.
  vi.setSystemTime(Date.now() + (CONTEXT_TTL_S / 2) * 1000 + 1);
}

let ada: SignedIn;

beforeAll(async () => {
  ada = await newTenant();
});

afterEach(async () => {
  vi.useRealTimers();
  settings.TENANT_CONTEXT_KEYS.splice(0, Infinity, ...begun);
  await store();
});

afterAll(async () => {
  const kids = await migrator.transaction([
    migrator`set local role partywall_owner`,
    migrator`select kid from partywall.context_keys`,
  ]);
  const left = kids[1]?.map((row) => String(row["kid"])) ?? [];
  if (left.join() !== begun.map(({ kid }) => kid).join()) throw new Error(`keys left behind: ${left.join()}`);
});

const opened = (key: NamedKey): Promise<Outcome> =>
  attempt(
    app,
    signContext(
      key,
      SHARED_PLACE,
      "partywall_app",
      ada.tenant.id,
      { id: ada.user.id, as: "owner" },
      Date.now(),
    ),
    ["select current_tenant_id() as id"],
  );

const OPEN = { rows: [[{ id: expect.any(String) }]], error: undefined };
const SHUT = { error: { code: "28000" } };

describe("two keys in the table", () => {
  it("both open the wall, and neither for a context that names the other", async () => {
    const [next, old] = [newKey(), newKey()];
    await store(next, old);
    expect(await opened(next)).toMatchObject(OPEN);
    expect(await opened(old)).toMatchObject(OPEN);
    expect(await opened({ kid: next.kid, key: old.key })).toMatchObject(SHUT);
    expect(await opened({ kid: old.kid, key: next.key })).toMatchObject(SHUT);
  });

  it("a key opens nothing before it is stored, nor after it is retired, not even a context signed in between", async () => {
    const key = newKey();
    expect(await opened(key)).toMatchObject(SHUT);
    await store(key);
    const context = signContext(
      key,
      SHARED_PLACE,
      "partywall_app",
      ada.tenant.id,
      { id: ada.user.id, as: "owner" },
      Date.now(),
    );
    expect(await attempt(app, context, ["select current_tenant_id() as id"])).toMatchObject(OPEN);
    await store();
    expect(await opened(key)).toMatchObject(SHUT);
    expect(await attempt(app, context, ["select current_tenant_id() as id"])).toMatchObject(SHUT);
  });

  it("a kid whose key is replaced opens for the new key alone", async () => {
    const key = newKey();
    await store(key);
    await store({ ...key, key: newKey().key });
    expect(await opened(key)).toMatchObject(SHUT);
  });
});

describe("a rotation under load", () => {
  type Load = { statuses: number[]; stop: () => Promise<void> };

  /** Reads and writes through the Worker, three at a time, until it is stopped. */
  function load(): Load {
    const statuses: number[] = [];
    const ended = new AbortController();
    const loop = async (at: number): Promise<void> => {
      for (let turn = at; !ended.signal.aborted; turn++) {
        const response =
          turn % 4 === 0
            ? await request("POST", "/v1/projects", { token: ada.token, body: { name: "Rotating" } })
            : await request("GET", "/v1/projects?limit=1", { token: ada.token });
        statuses.push(response.status);
      }
    };
    const loops = [0, 1, 2].map(loop);
    return {
      statuses,
      stop: async () => {
        ended.abort();
        await Promise.all(loops);
      },
    };
  }

  it("fails not one request, and shuts the old key out at its end", async () => {
    const [old, next] = [newKey(), newKey()];
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    await store(old);
    deploy(old);
    const { statuses, stop } = load();
    /** Lets the load go on for a while, under what has just changed. */
    const served = async () => {
      const enough = statuses.length + 15;
      await expect.poll(() => statuses.length, { interval: 10 }).toBeGreaterThan(enough);
    };
    const used = async (key: NamedKey) => (await opened(key)).error === undefined;
    try {
      await served();
      await store(next, old);
      await served();
      deploy(next, old);
      await served();
      expect([await used(old), await used(next)]).toEqual([true, true]);
      await store(next);
      await served();
      expect(await opened(old)).toMatchObject(SHUT);
      expect(await opened(next)).toMatchObject(OPEN);
    } finally {
      await stop();
    }
    expect(statuses.length).toBeGreaterThan(60);
    expect(statuses.filter((status) => status !== 200 && status !== 201)).toEqual([]);
  });

  it("in the wrong order would fail: the load sees a Worker that signs with a key not yet stored", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + CONTEXT_TTL_S * 1000 });
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
    deploy(newKey());
    expect((await request("GET", "/v1/projects", { token: ada.token })).status).toBe(500);
    expect(logged).toHaveBeenCalled();
    logged.mockRestore();
    deploy(...begun);
    expect((await request("GET", "/v1/projects", { token: ada.token })).status).toBe(200);
  });
});
