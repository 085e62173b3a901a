import { neonConfig } from "@neondatabase/serverless";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { signContext } from "../src/db/signed-context.ts";
import type { FENCE_MODES } from "../src/db/site.ts";
import { countCalls } from "./support/calls.ts";
import { answered, catchUp, newProject, newTenant, request, stage, type SignedIn } from "./support/client.ts";
import { AT_SITE, keyOf, PLACE, SITE } from "./support/site.ts";

// What requests get from a tenant's fence at its site, in each of its modes. Whoever moves the tenant is a superuser here.

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

type Fence = { mode: (typeof FENCE_MODES)[number]; epoch?: number; heldMs?: number };
type Login = typeof AT_SITE.stage;

/** The statement that sets the tenant's fence in a schema. */
const fencing = (as: Login, schema: string, { mode, epoch = 1, heldMs = 10_000 }: Fence) =>
  as.query(
    `insert into ${schema}.fences values ($1, $2, $3, 1, case $3 when 'frozen' then clock_timestamp() + $4 * interval '1 ms' end)
     on conflict (tenant) do update set epoch = excluded.epoch, mode = excluded.mode, until = excluded.until`,
    [ada.tenant.id, epoch, mode, heldMs],
  );
const setFence = (fence: Fence) => fencing(AT_SITE.stage, PLACE.schema, fence);

const create = (name = "Roof") => request("POST", "/v1/projects", { token: ada.token, body: { name } });
const list = () => request("GET", "/v1/projects", { token: ada.token });
const namesOf = async (response: Promise<Response>) =>
  (await answered<{ data: { name: string }[] }>(200, response)).data.map(({ name }) => name);

/** A move of the tenant to the shared site is under way, in epoch 1, and what was copied is there. */
async function moveToShared(): Promise<void> {
  await stage`insert into jobs (id, tenant_id, kind, source, target, epoch, token)
    values (gen_random_uuid(), ${ada.tenant.id}, 'move', ${SITE.name}, 'shared', 1, 1)`;
  await fencing(stage, "public", { mode: "open", epoch: 2 });
}

describe("a tenant's requests", () => {
  it("read and do not write while its writes are held, and write again when the time is up", async () => {
    await newProject(ada.token);
    await setFence({ mode: "frozen" });
    const refused = await create("Wall");
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await refused.json()).toMatchObject({
      code: "unavailable",
      detail: "The tenant's content is being moved or imported.",
    });
    expect(await namesOf(list())).toHaveLength(1);
    // What the control plane has of it is not at the site.
    expect((await request("PATCH", "/v1/tenant", { token: ada.token, body: { name: "Ada's" } })).status).toBe(
      200,
    );
    await setFence({ mode: "frozen", heldMs: -1 });
    expect((await create("Wall")).status).toBe(201);
  });

  it.each([
    ["as it is", ""],
    ["under a level that the role has chosen for itself", "repeatable read"],
  ])("wait for whoever changes the fence, and see what was changed: %s", async (_, level) => {
    const role = AT_SITE.stage;
    // A session of its own, as those that are there know what the role had chosen before.
    const { fetchFunction: send } = neonConfig;
    neonConfig.fetchFunction = (url: string, init: { headers: Record<string, string> }) => {
      const login = `${init.headers["Neon-Connection-String"]}?application_name=fence${level ? 1 : 0}`;
      return send(url, { ...init, headers: { ...init.headers, "Neon-Connection-String": login } });
    };
    await role.query(
      `alter role partywall_app in database ${SITE.database ?? "partywall"} ${level ? `set default_transaction_isolation = '${level}'` : "reset default_transaction_isolation"}`,
    );
    try {
      const lock = `hashtextextended('${PLACE.name} ${ada.tenant.id}', 0)`;
      const locks = `select from pg_locks where locktype = 'advisory' and (classid::bigint << 32 | objid::bigint) = ${lock}`;
      const changing = AT_SITE.stage.transaction([
        AT_SITE.stage.query(`select pg_advisory_xact_lock(${lock})`),
        // Until the write waits behind it, or has gone past.
        AT_SITE.stage.query(`do $$ begin
          while clock_timestamp() < now() + interval '2 seconds' and not exists (${locks} and not granted) loop
            perform pg_sleep(0.01);
          end loop; end $$`),
        fencing(AT_SITE.stage, PLACE.schema, { mode: "frozen" }),
      ]);
      await expect.poll(async () => (await AT_SITE.stage.query(`${locks} and granted`)).length).toBe(1);
      const [{ status }] = await Promise.all([create(), changing]);
      expect(status).toBe(503);
      expect(await namesOf(list())).toEqual([]);
    } finally {
      neonConfig.fetchFunction = send;
      await role.query(
        `alter role partywall_app in database ${SITE.database ?? "partywall"} reset default_transaction_isolation`,
      );
    }
  });

  it("go on where it has moved to, once each, though nobody has told of it", async () => {
    await newProject(ada.token);
    await moveToShared();
    await setFence({ mode: "closed" });
    const calls = countCalls();
    expect((await create("Moved")).status).toBe(201);
    // Admission, and the question where it is now.
    expect(calls.object).toBe(2);
    expect(await namesOf(list())).toEqual(["Moved"]);
    const again = countCalls();
    expect(await namesOf(list())).toEqual(["Moved"]);
    expect(again.object).toBe(1);
    expect(await stage`select site, epoch from tenants where id = ${ada.tenant.id}`).toEqual([
      { site: "shared", epoch: 2 },
    ]);
    // The move is in the trail of the new site, which is where news are brought from now on.
    await expect
      .poll(async () => {
        const trail = request("GET", "/v1/audit-events", { token: ada.token });
        return (await answered<{ data: object[] }>(200, trail)).data;
      })
      .toContainEqual(
        expect.objectContaining({ actor: expect.objectContaining({ type: "operator" }), changed: ["site"] }),
      );
  });

  it("go on there all together, more of them than may be at the database at once", async () => {
    await newProject(ada.token);
    await moveToShared();
    await setFence({ mode: "closed" });
    const made = await Promise.all(Array.from({ length: 40 }, (_, at) => create(`${at}`)));
    expect(new Set(made.map(({ status }) => status))).toEqual(new Set([201]));
    expect(await namesOf(request("GET", "/v1/projects?limit=100", { token: ada.token }))).toHaveLength(40);
  });

  it("are refused for as long as nobody knows where it is, and never served from where it was", async () => {
    await newProject(ada.token);
    await setFence({ mode: "closed" });
    for (const asked of [list(), create()]) {
      const refused = await asked;
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    }
  });

  it("are refused while its rows are being loaded", async () => {
    await setFence({ mode: "loading" });
    expect([(await list()).status, (await create()).status]).toEqual([503, 503]);
  });

  it("find it where it was, after it has moved away and back", async () => {
    await newProject(ada.token);
    await list();
    await setFence({ mode: "open", epoch: 3 });
    await stage`update tenants set epoch = 3 where id = ${ada.tenant.id}`;
    const calls = countCalls();
    expect((await create("Back")).status).toBe(201);
    expect(calls.object).toBe(2);
    expect(await namesOf(list())).toHaveLength(2);
  });

  it("are not repeated when another reason refused them", async () => {
    const calls = countCalls();
    expect(
      (await request("POST", "/v1/projects", { token: ada.token, body: { name: "x".repeat(1000) } })).status,
    ).toBe(422);
    expect(calls.sql).toBeLessThan(2);
  });
});

describe("the control plane's news", () => {
  const receive = (epoch: number) => {
    const context = signContext(
      keyOf(PLACE),
      PLACE,
      "partywall_account",
      ada.tenant.id,
      { id: ada.tenant.id, as: "object" },
      Date.now(),
      epoch,
    );
    return AT_SITE.courier.transaction([
      AT_SITE.courier`select set_config('app.tenant', ${context}, true)`,
      AT_SITE.courier.query(`select ${PLACE.schema}.receive(1, 0, '[]') as seq`),
    ]);
  };

  it("are refused where a tenant was, and come to where it is", async () => {
    await receive(1);
    await moveToShared();
    await setFence({ mode: "closed" });
    await expect(receive(1)).rejects.toMatchObject({ code: "PW003" });
    await expect(receive(2)).rejects.toMatchObject({ code: "PW005" });
    // A change of a member's role, which the site has to hear of.
    await stage`update memberships set role = 'owner' where tenant_id = ${ada.tenant.id}`;
    await stage`insert into public.outbox_receipts (tenant_id, seq)
      select tenant_id, head from outbox_heads where tenant_id = ${ada.tenant.id}`;
    await stage`update tenants set name = 'Moved' where id = ${ada.tenant.id}`;
    await catchUp(ada.tenant.id);
    await expect
      .poll(async () => (await stage`select site from tenants where id = ${ada.tenant.id}`)[0])
      .toEqual({ site: "shared" });
  });
});

describe("while its changes are logged", () => {
  const logged = async () =>
    (
      await AT_SITE.stage.query(
        `select distinct table_name, key from ${PLACE.schema}.change_log where tenant = $1 order by table_name, key`,
        [ada.tenant.id],
      )
    ).map(({ table_name, key }) => `${table_name} ${key.join()}`);
  const forget = () =>
    AT_SITE.stage.query(`delete from ${PLACE.schema}.change_log where tenant = $1`, [ada.tenant.id]);

  it("each change is noted, by whatever request or cascade, and that of no other tenant", async () => {
    const bob = await newTenant();
    await newProject(ada.token);
    expect(await logged()).toEqual([]);
    await setFence({ mode: "logged" });
    await newProject(bob.token);
    const { id } = await newProject(ada.token);
    const { id: task } = await answered<{ id: string }>(
      201,
      request("POST", `/v1/projects/${id}/tasks`, { token: ada.token, body: { title: "Bricks" } }),
    );
    const noted = await logged();
    expect(noted).toEqual(expect.arrayContaining([`projects ${id}`, `tasks ${task}`]));
    expect(noted.filter((entry) => entry.startsWith("audit_events"))).toHaveLength(2);
    await forget();
    // An update that counts the version and nothing else, which the audit trail leaves out.
    await AT_SITE.stage.query(`update ${PLACE.schema}.projects set name = name where id = $1`, [id]);
    expect(await logged()).toContain(`projects ${id}`);
    await forget();
    expect((await request("DELETE", `/v1/projects/${id}`, { token: ada.token })).status).toBe(204);
    expect(await logged()).toEqual(expect.arrayContaining([`projects ${id}`, `tasks ${task}`]));
    await forget();
    await AT_SITE.stage.query(`insert into ${PLACE.schema}.counters values ($1, 'bills', 1)`, [
      ada.tenant.id,
    ]);
    await AT_SITE.stage.query(`update ${PLACE.schema}.counters set name = 'invoices' where tenant_id = $1`, [
      ada.tenant.id,
    ]);
    expect(await logged()).toEqual(["counters bills", "counters invoices"]);
  });

  it("and none when they are not", async () => {
    await setFence({ mode: "open" });
    await newProject(ada.token);
    expect(await logged()).toEqual([]);
  });
});

it("uses the index of the fences, however many there are", async () => {
  await AT_SITE.stage.query(
    `insert into ${PLACE.schema}.fences select gen_random_uuid()::text, 1, 'open', 1 from generate_series(1, 3000)`,
  );
  await AT_SITE.stage.query(`analyze ${PLACE.schema}.fences`);
  const before = await scans();
  await list();
  const after = await scans();
  expect(after.sequential).toBe(before.sequential);
});

/** How often the fences were read one after the other. */
async function scans(): Promise<{ sequential: number }> {
  const [found] = await AT_SITE.stage.query(
    `select pg_stat_get_numscans('${PLACE.schema}.fences'::regclass)::int as sequential`,
  );
  return found as { sequential: number };
}
