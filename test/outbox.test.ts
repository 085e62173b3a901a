import { runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Tenant } from "../src/index.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { crash } from "./support/crash.ts";
import {
  anotherSession,
  answered,
  catchUp,
  newMember,
  newTenant,
  request,
  storedKey,
  type SignedIn,
  stage,
} from "./support/client.ts";

const db = stage;
let ada: SignedIn;
let bea: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
  bea = await newMember(ada.tenant.id, "admin");
});
afterEach(() => vi.restoreAllMocks());

type Told = Parameters<Tenant["receive"]>;

/** All that objects are told from now on. */
function listen(): Told[] {
  const told: Told[] = [];
  const { receive } = Tenant.prototype;
  vi.spyOn(Tenant.prototype, "receive").mockImplementation(function heard(this: Tenant, ...news) {
    told.push(news);
    return receive.apply(this, news);
  });
  return told;
}

const statusOf = async (token: string) => (await request("GET", "/v1/tenant/limits", { token })).status;
const setRole = (role: string) =>
  request("PATCH", `/v1/members/${bea.user.id}`, { token: ada.token, body: { role } });
const entries = async () =>
  (await db`select seq::int from outbox where tenant_id = ${ada.tenant.id} order by seq`).map(
    (row) => row["seq"],
  );
const head = async () =>
  (await db`select head::int from outbox_heads where tenant_id = ${ada.tenant.id}`)[0]?.["head"];

describe("a tenant's outbox", () => {
  it("is numbered without gaps, by many at once and by who rolls back", async () => {
    const before = (await entries()).length;
    const isBea = db`tenant_id = ${ada.tenant.id} and user_id = ${bea.user.id}`;
    const told = db`update memberships set role = role where ${isBea}`;
    await expect(db.transaction([told, db`select 1 / 0`])).rejects.toThrow("division by zero");
    const leaves = () => request("DELETE", `/v1/members/${ada.user.id}`, { token: ada.token });
    const answers = await Promise.all([
      setRole("viewer"),
      leaves(),
      setRole("member"),
      leaves(),
      setRole("admin"),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 409, 200, 409, 200]);
    const numbers = await entries();
    const first = numbers[0] ?? 0;
    expect(numbers).toEqual(numbers.map((_, index) => first + index));
    expect(numbers.length).toBeGreaterThanOrEqual(before + 3);
    expect(await head()).toBe(numbers.at(-1));
  });

  it("keeps an entry until the object has confirmed it, and no longer than the object's next reading", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(Tenant.prototype, "receive").mockRejectedValue(new Error("out of reach"));
    expect((await setRole("viewer")).status).toBe(503);
    vi.restoreAllMocks();
    const kept = await entries();
    // What reads without having confirmed deletes nothing.
    await crash(ada.tenant.id);
    await catchUp(ada.tenant.id);
    expect(await statusOf(bea.token)).toBe(401);
    expect(kept.length).toBeGreaterThan(0);
    await crash(ada.tenant.id);
    expect(await statusOf(ada.token)).toBe(200);
    await expect.poll(entries).toEqual([]);
  });

  it("is read in pages, whole, by an object that was away for long", async () => {
    await db.query(
      `do $$ begin for number in 1..2200 loop
        update memberships set role = role where tenant_id = '${ada.tenant.id}' and user_id = '${bea.user.id}';
      end loop; end $$`,
    );
    const { text } = await storedKey(ada);
    expect(await statusOf(bea.token)).toBe(401);
    expect(await statusOf(text)).toBe(200);
  });
});

describe("a tenant's object", () => {
  it("has confirmed what an earlier request changed before a later one is told that there is nothing to change", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(Tenant.prototype, "receive").mockRejectedValueOnce(new Error("out of reach"));
    const remove = () => request("DELETE", `/v1/members/${bea.user.id}`, { token: ada.token });
    expect((await remove()).status).toBe(503);
    expect(await statusOf(bea.token)).toBe(200);
    expect((await remove()).status).toBe(404);
    expect(await statusOf(bea.token)).toBe(401);
  });

  it("is not set back by what it is told late, or again", async () => {
    const { id, text } = await storedKey(ada);
    const told = listen();
    const body = { scopes: ["members:read"], name: "second" };
    const { id: second, key } = await answered<{ id: string; key: string }>(
      201,
      request("POST", "/v1/api-keys", { token: ada.token, body }),
    );
    for (const one of [id, second])
      await answered(204, request("DELETE", `/v1/api-keys/${one}`, { token: ada.token }));
    vi.restoreAllMocks();
    expect(told).toHaveLength(3);
    for (const news of [...told, ...told.toReversed()]) await tenantObject(ada.tenant.id).receive(...news);
    expect(await Promise.all([text, key].map(statusOf))).toEqual([401, 401]);
  });

  it("reads for itself what it was never told, when the news leave a gap, and forgets nothing in a crash", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const told: Told[] = [];
    vi.spyOn(Tenant.prototype, "receive").mockImplementation(async (...news) => {
      told.push(news);
      throw new Error("out of reach");
    });
    for (const role of ["viewer", "member"]) expect((await setRole(role)).status).toBe(503);
    vi.restoreAllMocks();
    const [, news] = told[1] ?? [];
    if (!news) throw new Error("the object was told nothing");
    const object = tenantObject(ada.tenant.id);
    // As if the entry before the last one had been lost on the way.
    await object.receive(news.head, { ...news, from: news.head, floors: [], keys: [], deletedKeys: [] });
    expect(await statusOf(bea.token)).toBe(401);
    await crash(ada.tenant.id);
    expect(await statusOf(bea.token)).toBe(401);
    expect(await statusOf(ada.token)).toBe(200);
  });

  it("goes by a database that was restored from a backup, though it knows newer entries", async () => {
    await runInDurableObject(tenantObject(ada.tenant.id), (_, state) =>
      state.storage.kv.put("confirmed", 1_000_000),
    );
    await crash(ada.tenant.id);
    await db`update memberships set role = role where tenant_id = ${ada.tenant.id} and user_id = ${bea.user.id}`;
    // Its first reading finds that the database is older.
    expect(await statusOf(ada.token)).toBe(200);
    await expect.poll(() => statusOf(bea.token)).toBe(401);
    const { token } = await anotherSession(bea);
    await answered(204, request("DELETE", "/v1/sessions/current", { token }));
    expect(await statusOf(token)).toBe(401);
  });

  it("that starts with nothing but the tenant's record reads the keys before it judges one", async () => {
    const { text } = await storedKey(ada);
    await runInDurableObject(tenantObject(ada.tenant.id), (_, state) => state.storage.deleteAll());
    await crash(ada.tenant.id);
    await anotherSession(ada);
    expect(await statusOf(text)).toBe(200);
  });
});
