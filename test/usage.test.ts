import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { Tenant } from "../src/index.ts";
import { sweep } from "../src/lifecycle/sweep.ts";
import { forgetAll } from "../src/memory.ts";
import type { Demand } from "../src/tenant/object.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { sendUsage } from "../src/tenant/usage-flush.ts";
import type { StoredUsage } from "../src/tenant/usage.ts";
import { takeNotes } from "../src/tenant/usage-notes.ts";
import {
  answered,
  catchUp,
  newProject,
  newTenant,
  operate,
  request,
  stage,
  storedKey,
  type SignedIn,
} from "./support/client.ts";
import { crash } from "./support/crash.ts";
import { erase } from "./support/lifecycle.ts";
import { evict, flush, flushes, pass, recorded, timeStandsStill } from "./support/usage.ts";

timeStandsStill();

const minute = (limit: number) => [{ name: "minute", limit, window: 60 }];
const get = ({ token }: SignedIn, path = "/v1/projects") => request("GET", path, { token });
const proofOf = ({ user, session }: SignedIn) => [user.id, session.id, 1_000_000] as const;

type Period = Record<string, number | null> & { start: string };
const usage = async (by: SignedIn, query = "") =>
  (await answered<{ data: Period[] }>(200, get(by, `/v1/tenant/usage${query}`))).data;

/** Asks the tenant's object for so many requests of this cost at once, as isolates do that join them. */
async function demand(of: SignedIn, many: number, cost = 1, notes?: (string | number)[]) {
  const demands = Array.from({ length: many }, (): Demand => [cost, "read", ...proofOf(of)]);
  const answer = await tenantObject(of.tenant.id).admit(crypto.randomUUID(), demands, notes);
  const { admissions } = JSON.parse(answer) as { admissions: { decision?: { outcome: string } }[] };
  const outcomes = admissions.map(({ decision }) => decision?.outcome);
  return {
    admitted: outcomes.filter((outcome) => outcome === "admitted").length,
    refused: outcomes.filter((outcome) => outcome === "refused").length,
  };
}

describe("what is used", () => {
  it("is what a client counts, by day, hour and API key, once it is flushed", async () => {
    const ada = await newTenant(minute(12));
    const key = await storedKey(ada);
    const statuses: number[] = [];
    for (let asked = 0; asked < 5; asked++) statuses.push((await get(ada)).status);
    for (let asked = 0; asked < 9; asked++)
      statuses.push((await request("GET", "/v1/me", { token: key.text })).status);
    const [admitted, refused] = [200, 429].map((status) => statuses.filter((each) => each === status).length);
    expect([admitted, refused]).toEqual([12, 2]);
    await flush(ada.tenant.id);
    // One refusal was remembered by this isolate, and rides on its next call.
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 12, units: 12, refused: 1 });
    await get(ada);
    await flush(ada.tenant.id);
    for (const table of ["days", "hours", "months"] as const)
      expect(await recorded(ada.tenant.id, table)).toMatchObject({ requests: 13, units: 13, refused: 2 });
    expect(await recorded(ada.tenant.id, "keys")).toMatchObject({ requests: 7, units: 7, refused: 2 });
    const [today] = (await usage(ada)).slice(-1);
    expect(today).toMatchObject({ requests: 13, refused: 2, units: 13, errors: 0, rows: null });
    const day = new Date().toISOString().slice(0, 10);
    expect(await usage(ada, `?api_key_id=${key.id}&from=${day}`)).toMatchObject([
      { requests: 7, refused: 2 },
    ]);
    const hours = await usage(ada, "?granularity=hour");
    expect(hours).toHaveLength(24);
    expect(hours.map(({ requests }) => Number(requests)).reduce((sum, each) => sum + each)).toBe(13);
  });

  it("is exact over many requests and refusals, across evictions and a move", async () => {
    const ada = await newTenant(minute(1000));
    const total = Number(import.meta.env.USAGE_REQUESTS);
    let [requests, refused, asked] = [0, 0, 0];
    // As its object hears of a move. Its site has not moved, and refuses it.
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const moveTo = async (epoch: number) => {
      await stage`update control.tenants set epoch = ${epoch} where id = ${ada.tenant.id}`;
      await catchUp(ada.tenant.id);
    };
    for (let round = 0; asked < total; round++) {
      const many = Math.min(150, total - asked);
      const answer = await demand(ada, many);
      asked += many;
      requests += answer.admitted;
      refused += answer.refused;
      pass(3_000);
      if (round % 16 === 15) await flush(ada.tenant.id);
      if (round % 40 === 20) await evict(ada.tenant.id);
      if (round === 25) await moveTo(2);
    }
    expect(requests + refused).toBe(total);
    expect(refused).toBeGreaterThan(total / 10);
    await evict(ada.tenant.id);
    await flush(ada.tenant.id);
    for (const table of ["days", "hours"] as const)
      expect(await recorded(ada.tenant.id, table)).toMatchObject({ requests, refused, units: requests });
    await moveTo(1);
  }, 600_000);

  it("counts a dear request by its cost, and one that can never pass as refused", async () => {
    const ada = await newTenant(minute(10));
    await demand(ada, 1, 7);
    await demand(ada, 1, 11);
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 1, units: 7, refused: 1 });
  });

  it("counts a call that is made again once", async () => {
    const ada = await newTenant();
    const hour = Date.now() - (Date.now() % 3_600_000);
    const call = (id: string) =>
      tenantObject(ada.tenant.id).admit(id, [[1, "read", ...proofOf(ada)]], [hour, "", 2, 1, 100, 5]);
    const [first, second] = [crypto.randomUUID(), crypto.randomUUID()];
    for (const id of [first, first, second, first]) await call(id);
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({
      requests: 2,
      units: 2,
      refused: 4,
      errors: 2,
      bytes_out: 200,
      db_ms: 10,
    });
  });

  it("is what was answered: a crash takes back at most what was not stored, and never adds", async () => {
    const ada = await newTenant();
    await demand(ada, 10);
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 10 });
    await demand(ada, 7);
    await crash(ada.tenant.id);
    await demand(ada, 5);
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 15, units: 15 });
    await demand(ada, 3);
    await evict(ada.tenant.id);
    await crash(ada.tenant.id);
    await demand(ada, 1);
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 19 });
  });

  it("never goes back in Postgres when the object crashes right after a flush", async () => {
    const ada = await newTenant();
    for (let round = 1; round <= 3; round++) {
      await demand(ada, 10);
      await flush(ada.tenant.id);
      await crash(ada.tenant.id);
      expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 10 * round });
    }
  });

  it("is not counted for a tenant that lets nobody in", async () => {
    const ada = await newTenant();
    await demand(ada, 1);
    await operate(ada.tenant.id, { status: "suspended" });
    expect((await get(ada)).status).toBe(403);
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 1, refused: 0 });
  });
});

describe("what isolates alone know", () => {
  it("rides on their next call: errors, bytes, the database's time, and refusals that they remember", async () => {
    const ada = await newTenant(minute(2));
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const bodies: string[] = [await (await get(ada)).text()];
    vi.spyOn(Tenant.prototype, "admit").mockRejectedValueOnce(new Error("gone"));
    const failed = await get(ada);
    expect(failed.status).toBe(503);
    bodies.push(await failed.text());
    for (let asked = 0; asked < 5; asked++) bodies.push(await (await get(ada)).text());
    await flush(ada.tenant.id);
    const before = await recorded(ada.tenant.id);
    expect(before).toMatchObject({ requests: 2, refused: 1, errors: 1 });
    await get(ada);
    await flush(ada.tenant.id);
    const after = await recorded(ada.tenant.id);
    expect(after).toMatchObject({ requests: 3, refused: 4, errors: 1 });
    // The first call's own answer was noted with the call that failed, and nobody knows what that did.
    const sent = bodies.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    expect(after["bytes_out"]).toBeLessThanOrEqual(sent);
    expect(after["bytes_out"]).toBeGreaterThan(sent / 2);
    expect(after["db_ms"]).toBeGreaterThanOrEqual(0);
  });

  it("is the bytes of bodies to the byte, and none of a HEAD or of a 304", async () => {
    const ada = await newTenant();
    const { id } = await newProject(ada.token, { name: "Dächer, 屋根 und 🏠" });
    takeNotes(ada.tenant.id);
    const shown = await get(ada, `/v1/projects/${id}`);
    const size = Buffer.byteLength(await shown.text());
    await request("HEAD", `/v1/projects/${id}`, { token: ada.token });
    const known = { "if-none-match": shown.headers.get("etag") ?? "" };
    expect((await request("GET", `/v1/projects/${id}`, { token: ada.token, headers: known })).status).toBe(
      304,
    );
    // Those of the first request rode on the second's call.
    await get(ada, "/v1/tenant/limits");
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ bytes_out: size });
  });

  it("goes with the next call when the object was overloaded, and is lost when an isolate ends", async () => {
    const ada = await newTenant();
    await get(ada);
    const before = takeNotes(ada.tenant.id) ?? [];
    expect(before).toHaveLength(6);
    await get(ada);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(Tenant.prototype, "admit").mockRejectedValueOnce(
      Object.assign(new Error("overloaded"), { retryable: true, overloaded: true }),
    );
    expect((await get(ada)).status).toBe(503);
    const [notes = []] = [takeNotes(ada.tenant.id)];
    expect(notes).toHaveLength(12);
    await get(ada);
    forgetAll();
    expect(takeNotes(ada.tenant.id)).toBeUndefined();
  });

  it("stays by its hour until the next call, and is bounded", async () => {
    const hour = Date.now() - (Date.now() % 3_600_000);
    pass(hour + 3_599_000 - Date.now());
    const ada = await newTenant();
    await get(ada);
    takeNotes(ada.tenant.id);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(Tenant.prototype, "admit").mockRejectedValue(new Error("gone"));
    expect((await get(ada)).status).toBe(503);
    pass(2_000);
    expect((await get(ada)).status).toBe(503);
    const notes = takeNotes(ada.tenant.id) ?? [];
    // The second call took what was of the first, and is lost with it.
    expect([notes[0], notes.length]).toEqual([hour + 3_600_000, 6]);
  });
});

describe("a flush", () => {
  it("is at most one request to Postgres a minute while there are requests, and none after that", async () => {
    const ada = await newTenant();
    vi.spyOn(globalThis, "fetch");
    const alarm = () =>
      runInDurableObject(tenantObject(ada.tenant.id), (_, state) => state.storage.getAlarm());
    const began = Date.now();
    for (let second = 0; second < 300; second += 2) {
      await demand(ada, 3);
      pass(2_000);
      const at = await alarm();
      if (at !== null && at <= Date.now()) {
        await flush(ada.tenant.id);
        // flush() has let a minute pass.
        pass(-60_000);
      }
    }
    const minutes = (Date.now() - began) / 60_000;
    expect(flushes(ada.tenant.id)).toBeGreaterThanOrEqual(3);
    expect(flushes(ada.tenant.id)).toBeLessThanOrEqual(minutes);
    await evict(ada.tenant.id);
    await flush(ada.tenant.id);
    const quiet = flushes(ada.tenant.id);
    expect(await flush(ada.tenant.id)).toBe(false);
    expect(await alarm()).toBeNull();
    expect(flushes(ada.tenant.id)).toBe(quiet);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 450 });
  });

  it("changes nothing when it comes again, or late", async () => {
    const ada = await newTenant();
    const { id } = ada.tenant;
    const [day, hour] = [Date.UTC(2026, 5, 5), Date.UTC(2026, 5, 5, 10)];
    const key = crypto.randomUUID();
    const send = (seq: number, requests: number) => {
      const counts = [requests, 0, requests, 0, 0, 0, 0, 0];
      const news: StoredUsage = {
        seq,
        periods: [
          ["day", day, "", seq, counts],
          ["hour", hour, "", seq, counts],
          ["key", day, key, seq, counts],
        ],
      };
      return sendUsage(id, news, undefined);
    };
    await send(1, 10);
    await send(1, 10);
    await send(3, 30);
    await send(3, 30);
    await send(2, 20);
    for (const table of ["days", "hours", "keys", "months"] as const)
      expect(await recorded(id, table)).toMatchObject({ requests: 30, units: 30 });
    await Promise.all([send(5, 50), send(4, 40), send(5, 50)]);
    expect(await recorded(id)).toMatchObject({ requests: 50 });
  });

  it("is tried again, later each time, while Postgres does not take it, and loses nothing", async () => {
    const ada = await newTenant();
    await demand(ada, 4);
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { fetch } = globalThis;
    let isDown = true;
    vi.spyOn(globalThis, "fetch").mockImplementation((input, init) =>
      isDown && String(init?.body).includes("record_usage")
        ? Promise.reject(new Error("down"))
        : fetch(input, init),
    );
    const waits: number[] = [];
    for (let tries = 0; tries < 5; tries++) {
      await flush(ada.tenant.id);
      const at = await runInDurableObject(tenantObject(ada.tenant.id), (_, state) =>
        state.storage.getAlarm(),
      );
      waits.push(((at ?? 0) - Date.now()) / 60_000);
      // It may ring only when it is due.
      pass(Math.max(0, (at ?? 0) - Date.now() - 60_000));
    }
    expect(waits).toEqual([1, 2, 4, 8, 10]);
    isDown = false;
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 4 });
    expect(logged).toHaveBeenCalledTimes(1);
  });

  it("shares the alarm with what the tenant's site is still to be told", async () => {
    const ada = await newTenant();
    await demand(ada, 2);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { fetch } = globalThis;
    let isDown = true;
    vi.spyOn(globalThis, "fetch").mockImplementation((input, init) =>
      isDown && String(init?.body).includes("select receive")
        ? Promise.reject(new Error("down"))
        : fetch(input, init),
    );
    await answered(
      201,
      request("POST", "/v1/invitations", { token: ada.token, body: { email: "b@x.test", role: "member" } }),
    );
    await flush(ada.tenant.id);
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 3 });
    isDown = false;
    expect(await flush(ada.tenant.id)).toBe(true);
    const { data } = await answered<{ data: { resource: string }[] }>(200, get(ada, "/v1/audit-events"));
    expect(data.map(({ resource }) => resource)).toContain("invitations");
  });

  it("writes no row for usage's sake while a tenant is busy, and at most one a minute else", async () => {
    const ada = await newTenant(minute(100_000));
    const puts: string[] = [];
    await demand(ada, 1);
    await runInDurableObject(tenantObject(ada.tenant.id), (_, { storage }) => {
      for (const name of ["put", "setAlarm", "deleteAlarm"] as const) {
        const original: (...args: never[]) => unknown = storage[name].bind(storage);
        vi.spyOn(storage, name).mockImplementation(((...args: never[]) => {
          puts.push(name);
          return original(...args);
        }) as never);
      }
    });
    for (let second = 0; second < 120; second += 4) {
      await demand(ada, 1);
      pass(4_000);
      const at = await runInDurableObject(tenantObject(ada.tenant.id), (_, state) =>
        state.storage.getAlarm(),
      );
      if (at !== null && at <= Date.now()) {
        pass(-60_000);
        await flush(ada.tenant.id);
      }
    }
    // Requests every four seconds: never idle, and never near the reserve.
    expect(puts.filter((name) => name === "put").length).toBeLessThanOrEqual(2);
    expect(puts.filter((name) => name !== "put").length).toBeLessThanOrEqual(4);
  });
});

describe("a month's limit", () => {
  const month = [{ name: "month", limit: 10, window: "month" as const }];
  const warnings = async (of: SignedIn) => {
    const { data } = await answered<{ data: { resource: string; changed: string[] }[] }>(
      200,
      get(of, "/v1/audit-events"),
    );
    return data.filter(({ resource }) => resource === "usage_warnings").flatMap(({ changed }) => changed);
  };

  it("is warned of at 80 and at 100 %, once each in a month, however often the object starts", async () => {
    const ada = await newTenant(month);
    const { id } = ada.tenant;
    const noted = async () =>
      (await stage`select percent from control.usage_warnings where tenant_id = ${id} order by percent`).map(
        (row) => row["percent"],
      );
    await demand(ada, 7);
    await flush(id);
    expect(await noted()).toEqual([]);
    await demand(ada, 1);
    await flush(id);
    expect(await noted()).toEqual([80]);
    for (let start = 0; start < 2; start++) {
      await evict(id);
      await demand(ada, 1, start === 0 ? 1 : 5);
      await flush(id);
    }
    expect(await noted()).toEqual([80]);
    await demand(ada, 1);
    await flush(id);
    await crash(id);
    await demand(ada, 1);
    await flush(id);
    expect(await noted()).toEqual([80, 100]);
    await operate(id, { limits: minute(100) });
    await expect.poll(() => warnings(ada)).toEqual(["month_100", "month_80"]);
  });
});

describe("the erasure of a tenant", () => {
  it("takes its usage with it, and the receipt counts the rows", async () => {
    const ada = await newTenant();
    await demand(ada, 3);
    await flush(ada.tenant.id);
    await sweep(Date.now());
    const receipt = await erase(ada.tenant.id);
    const tables = ["days", "hours", "months"];
    for (const table of tables)
      expect(
        await stage.query(`select from control.usage_${table} where tenant_id = $1`, [ada.tenant.id]),
      ).toEqual([]);
    const [, payload = ""] = receipt.split(".");
    const { erased } = JSON.parse(Buffer.from(payload, "base64url").toString()) as {
      erased: Record<string, Record<string, number>>;
    };
    expect(erased["control"]).toMatchObject({ usage_days: 1, usage_hours: 1, usage_months: 1, tenants: 1 });
    await flush(ada.tenant.id);
    expect(await recorded(ada.tenant.id)).toMatchObject({ requests: 0 });
  });
});

describe("GET /v1/tenant/usage", () => {
  it("fills days without use with zeros, from one day to another", async () => {
    const ada = await newTenant();
    const data = await usage(ada, "?from=2026-02-27&to=2026-03-02");
    expect(data.map(({ start }) => start)).toEqual(
      ["02-27", "02-28", "03-01", "03-02"].map((day) => `2026-${day}T00:00:00.000Z`),
    );
    expect(data[0]).toEqual({
      start: "2026-02-27T00:00:00.000Z",
      requests: 0,
      refused: 0,
      units: 0,
      errors: 0,
      bytes_out: 0,
      rows: null,
      bytes_stored: null,
    });
    expect(await usage(ada)).toHaveLength(30);
    expect(
      await usage(ada, "?from=2026-02-27T22:30:00Z&to=2026-02-28T01:00:00Z&granularity=hour"),
    ).toMatchObject(
      ["27T22", "27T23", "28T00", "28T01"].map((hour) => ({ start: `2026-02-${hour}:00:00.000Z` })),
    );
    expect(await usage(ada, "?from=2026-02-27&to=2026-02-28&granularity=hour")).toHaveLength(48);
  });

  it.each([
    ["?from=2026-03-02&to=2026-03-01", "/to"],
    ["?from=2024-01-01&to=2026-03-01", "/from"],
    ["?from=2026-01-01&to=2026-03-01&granularity=hour", "/from"],
    ["?from=yesterday", "/from"],
    ["?granularity=minute", "/granularity"],
    [`?api_key_id=${crypto.randomUUID()}&granularity=hour`, "/granularity"],
  ])("refuses %s, and says what is wrong", async (query, pointer) => {
    const ada = await newTenant();
    const problem = await answered<{ errors: { pointer: string }[] }>(
      422,
      get(ada, `/v1/tenant/usage${query}`),
    );
    expect(problem.errors[0]?.pointer).toBe(pointer);
  });

  it("is for those with usage:read, also among API keys, and shows nobody else's", async () => {
    const [ada, bob] = await Promise.all([newTenant(), newTenant()]);
    await demand(bob, 3);
    await flush(bob.tenant.id);
    const [may, mayNot] = await Promise.all([
      storedKey(ada, { scopes: ["usage:read"] }),
      storedKey(ada, { scopes: ["members:read"] }),
    ]);
    expect((await request("GET", "/v1/tenant/usage", { token: mayNot.text })).status).toBe(403);
    const { data } = await answered<{ data: Period[] }>(
      200,
      request("GET", "/v1/tenant/usage", { token: may.text }),
    );
    expect(data.at(-1)).toMatchObject({ requests: 0 });
    expect((await request("GET", "/v1/tenant/usage", { token: settings.OPERATOR_TOKEN })).status).toBe(401);
  });
});
