import { beforeAll, describe, expect, inject, it } from "vitest";
import {
  ACCOUNT,
  app,
  asOwner,
  attempt,
  codeOf,
  contextOf,
  inside,
  insideOf,
  lastRows,
  MISSING,
  newTargets,
  UNDONE,
  type Target,
} from "./support/attacks.ts";
import {
  answered,
  login,
  newMember,
  newProject,
  newTask,
  newTenant,
  request,
  type Row,
  type SignedIn,
} from "./support/client.ts";

type Event = {
  id: string;
  actor: { type: string; id: string; name: string | null };
  action: string;
  resource: string;
  resource_id: string;
  changed: string[];
  request_id: string | null;
  created_at: string;
};
type Page = { data: Event[]; next_cursor: string | null };

const page = (token: string, query = "") =>
  answered<Page>(200, request("GET", `/v1/audit-events${query}`, { token }));
const trail = async (token: string) => (await page(token, "?limit=100")).data;

let ada: SignedIn;
let eve: SignedIn;
beforeAll(async () => {
  ada = await newTenant();
  eve = await newMember(ada.tenant.id, "member");
});

/** The request's answer, and what the trail has under its id, in the order of the events. */
async function recorded(who: { token?: string }, method: string, path: string, body?: object) {
  const headers = { "x-request-id": crypto.randomUUID() };
  const response = await request(method, path, { token: who.token, body, headers });
  const events = (await trail(ada.token)).filter((each) => each.request_id === headers["x-request-id"]);
  return {
    status: response.status,
    row: response.headers.get("content-type")?.includes("json")
      ? await response.json<Row & { key?: string; user?: Row }>()
      : undefined,
    events: events.toReversed(),
  };
}

const eventBy =
  (type: string, id: unknown) =>
  (action: string, resource: string, resource_id: unknown, ...changed: string[]) =>
    expect.objectContaining({ actor: { type, id, name: null }, action, resource, resource_id, changed });
const event = ({ user }: SignedIn, ...of: Parameters<ReturnType<typeof eventBy>>) =>
  eventBy("user", user.id)(...of);

describe("a change is written down once, with who made it, in which request", () => {
  it("creates, changes and deletes of projects", async () => {
    const made = await recorded(eve, "POST", "/v1/projects", { name: "Roof" });
    const id = made.row?.id;
    expect(made.events).toEqual([event(eve, "create", "projects", id)]);
    const path = `/v1/projects/${id}`;
    const patched = await recorded(ada, "PATCH", path, { name: "Loft", description: "", status: "archived" });
    expect(patched.events).toEqual([event(ada, "update", "projects", id, "name", "status")]);
    const { events, status } = await recorded(eve, "DELETE", path);
    expect(status).toBe(204);
    expect(events).toEqual([event(eve, "delete", "projects", id)]);
  });

  it("creates, changes and deletes of tasks", async () => {
    const project = await newProject(ada.token);
    const made = await recorded(eve, "POST", `/v1/projects/${project.id}/tasks`, { title: "Tiles" });
    const id = made.row?.id;
    expect(made.events).toEqual([event(eve, "create", "tasks", id)]);
    const path = `/v1/tasks/${id}`;
    const { events } = await recorded(eve, "PATCH", path, { assignee_id: ada.user.id, title: "Tiles" });
    expect(events).toEqual([event(eve, "update", "tasks", id, "assignee_id")]);
    expect((await recorded(eve, "DELETE", path)).events).toEqual([event(eve, "delete", "tasks", id)]);
  });

  it("the tasks that go with their project", async () => {
    const { id } = await newProject(ada.token);
    const [one, two] = [await newTask(ada.token, id), await newTask(ada.token, id)];
    const { events } = await recorded(eve, "DELETE", `/v1/projects/${id}`);
    expect(events).toHaveLength(3);
    expect(events).toContainEqual(event(eve, "delete", "projects", id));
    for (const task of [one, two]) expect(events).toContainEqual(event(eve, "delete", "tasks", task.id));
  });

  it("who is a member, and what goes with one who leaves", async () => {
    const { user } = await newMember(ada.tenant.id, "member");
    const task = await newTask(ada.token, (await newProject(ada.token)).id, {
      title: "Tiles",
      assignee_id: user.id,
    });
    const path = `/v1/members/${user.id}`;
    const changed = await recorded(ada, "PATCH", path, { role: "admin" });
    expect(changed.events).toEqual([event(ada, "update", "memberships", user.id, "role")]);
    expect((await recorded(ada, "PATCH", path, { role: "admin" })).events).toEqual([]);
    const { events } = await recorded(ada, "DELETE", path);
    expect(events).toHaveLength(2);
    expect(events).toContainEqual(event(ada, "delete", "memberships", user.id));
    expect(events).toContainEqual(event(ada, "update", "tasks", task.id, "assignee_id"));
  });

  it("invitations, in whose name their member is made", async () => {
    const email = `${crypto.randomUUID()}@audit.test`;
    const made = await recorded(ada, "POST", "/v1/invitations", { email, role: "viewer" });
    const id = made.row?.id;
    expect(made.events).toEqual([event(ada, "create", "invitations", id)]);
    const mails = await fetch(`${inject("variables")["MAIL_URL"]}?to=${encodeURIComponent(email)}`);
    const [token] = /pwi_[\w-]+/.exec(await mails.text()) ?? [];
    const body = { token, password: crypto.randomUUID() };
    const { row, events } = await recorded({}, "POST", "/v1/invitations/accept", body);
    const by = eventBy("invitation", id);
    expect(events).toEqual([by("create", "memberships", row?.user?.id), by("delete", "invitations", id)]);
    expect(JSON.stringify(await trail(ada.token))).not.toContain(email);
  });

  it("API keys, and what is done with one; not that it was used", async () => {
    const scopes = ["projects:read", "projects:write", "audit:read"];
    const made = await recorded(ada, "POST", "/v1/api-keys", { name: "CI", scopes });
    const { id, key: token = "" } = made.row ?? {};
    expect(made.events).toEqual([event(ada, "create", "api_keys", id)]);
    const { row, events } = await recorded({ token }, "POST", "/v1/projects", { name: "Roof" });
    expect(events).toEqual([eventBy("api_key", id)("create", "projects", row?.id)]);
    expect((await page(token, `?actor_id=${id}`)).data).toEqual(events);
    const gone = await recorded(ada, "DELETE", `/v1/api-keys/${id}`);
    expect(gone.events).toEqual([event(ada, "delete", "api_keys", id)]);
    expect((await page(ada.token, `?resource_id=${id}`)).data.map(({ action }) => action)).toEqual([
      "delete",
      "create",
    ]);
  });

  it("the issuers that the tenant trusts", async () => {
    const issuer = { issuer: "https://id.example.com", audience: "audit", email_domains: ["example.com"] };
    const made = await recorded(ada, "POST", "/v1/issuers", issuer);
    const id = made.row?.id;
    expect(made.events).toEqual([event(ada, "create", "issuers", id)]);
    const path = `/v1/issuers/${id}`;
    const { events } = await recorded(ada, "PATCH", path, { just_in_time: true, email_domains: ["a.test"] });
    expect(events).toEqual([event(ada, "update", "issuers", id, "email_domains", "just_in_time")]);
    expect((await recorded(ada, "DELETE", path)).events).toEqual([event(ada, "delete", "issuers", id)]);
  });

  it("the tenant's own settings", async () => {
    const { events } = await recorded(ada, "PATCH", "/v1/tenant", { name: "Acme" });
    expect(events).toEqual([event(ada, "update", "tenants", ada.tenant.id, "name")]);
  });
});

it("names columns, and never what is or was in them", async () => {
  const marker = `secret-${crypto.randomUUID()}`;
  const { id } = await newProject(ada.token, { name: marker, description: marker });
  await answered(200, request("PATCH", `/v1/projects/${id}`, { token: ada.token, body: { name: "Roof" } }));
  const events = (await page(ada.token, `?resource_id=${id}`)).data;
  expect(events.map(({ changed }) => changed)).toEqual([["name"], []]);
  expect(JSON.stringify(events)).not.toContain(marker);
});

describe("nothing is written down of", () => {
  it("a request that fails, whatever of it was done", async () => {
    const { id } = await newProject(ada.token);
    const task = await newTask(ada.token, id);
    const { tenant } = await newTenant();
    for (const [method, path, body, status] of [
      ["PATCH", "/v1/tenant", { slug: tenant.slug }, 409],
      ["PATCH", `/v1/tasks/${task.id}`, { assignee_id: MISSING, title: "x" }, 422],
      ["PATCH", `/v1/projects/${id}`, { nonsense: 1 }, 422],
      ["DELETE", `/v1/projects/${MISSING}`, undefined, 404],
    ] as const)
      expect(await recorded(ada, method, path, body)).toMatchObject({ status, events: [] });
    const headers = { "if-match": '"9"' };
    const before = await trail(ada.token);
    expect((await request("DELETE", `/v1/projects/${id}`, { token: ada.token, headers })).status).toBe(412);
    expect(await trail(ada.token)).toEqual(before);
  });

  it("a read", async () => {
    const before = await trail(ada.token);
    for (const path of ["projects", "tasks", "me", "tenant", "sessions", "audit-events"])
      await answered(200, request("GET", `/v1/${path}`, { token: ada.token }));
    expect(await trail(ada.token)).toEqual(before);
  });

  it("a patch that changes nothing", async () => {
    const { id } = await newProject(ada.token);
    for (const body of [{}, { name: "Roof" }])
      expect(await recorded(ada, "PATCH", `/v1/projects/${id}`, body)).toMatchObject({
        status: 200,
        events: [],
      });
  });
});

describe("the list", () => {
  let bob: SignedIn;
  beforeAll(async () => {
    bob = await newTenant();
    for (let rows = 0; rows < 5; rows++) await newProject(bob.token);
  });

  it("shows a tenant its own events alone", async () => {
    const events = await trail(bob.token);
    expect(new Set(events.map(({ actor }) => actor.id))).toEqual(new Set([bob.user.id]));
    expect(JSON.stringify(await trail(ada.token))).not.toContain(bob.user.id);
    const [first] = await trail(ada.token);
    for (const filter of [`actor_id=${ada.user.id}`, `resource_id=${first?.resource_id ?? ""}`])
      expect((await page(bob.token, `?${filter}`)).data).toEqual([]);
  });

  it("is for owners and admins", async () => {
    const admin = await newMember(bob.tenant.id, "admin");
    expect(await trail(admin.token)).toEqual(await trail(bob.token));
    for (const role of ["member", "viewer"] as const) {
      const { token } = await newMember(bob.tenant.id, role);
      expect((await request("GET", "/v1/audit-events", { token })).status).toBe(403);
    }
  });

  it("goes through all pages without a gap or a repetition while rows are added", async () => {
    const before = (await trail(bob.token)).map(({ id }) => id);
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const { data, next_cursor }: Page = await page(bob.token, `?limit=2${cursor && `&cursor=${cursor}`}`);
      seen.push(...data.map(({ id }) => id));
      cursor = next_cursor;
      await newProject(bob.token);
    }
    expect(seen).toEqual(before);
  });

  it("has what one transaction did in its order, newest first", async () => {
    const [carol] = await newTargets();
    await inside(
      carol,
      ...Array.from(
        { length: 20 },
        (_, n) => `update projects set name = 'n${n}', description = repeat('x', ${n})`,
      ),
      "update projects set status = 'archived'",
    );
    const [last, ...events] = await trail(carol.who.token);
    expect(last?.changed).toEqual(["status"]);
    expect(events.slice(0, 20)).toEqual(
      Array.from({ length: 20 }, () => expect.objectContaining({ changed: ["description", "name"] })),
    );
  });

  it("is filtered by actor, table, row and action", async () => {
    const { id } = await newProject(eve.token);
    await newTask(ada.token, id);
    await answered(204, request("DELETE", `/v1/projects/${id}`, { token: ada.token }));
    const kinds = async (query: string) =>
      (await page(ada.token, `?limit=100&${query}`)).data.map(
        ({ action, resource }) => `${action} ${resource}`,
      );
    expect(await kinds(`resource_id=${id}`)).toEqual(["delete projects", "create projects"]);
    expect(await kinds(`resource_id=${id}&actor_id=${eve.user.id}`)).toEqual(["create projects"]);
    expect(await kinds(`resource_id=${id}&action=delete`)).toEqual(["delete projects"]);
    expect(new Set(await kinds("resource=tasks&action=delete"))).toEqual(new Set(["delete tasks"]));
    expect(await kinds("resource=nothing")).toEqual([]);
    for (const query of ["actor_id=x", "action=read", "resource=a;b"])
      expect((await request("GET", `/v1/audit-events?${query}`, { token: ada.token })).status).toBe(422);
  });
});

describe("with any SQL at all", () => {
  let bob: Target;
  let carol: Target;
  beforeAll(async () => {
    [, bob, carol] = await newTargets();
  });
  const stored = async (t: Target) =>
    lastRows(await inside(t, "select * from audit_events order by created_at, id"));

  const forged = `(actor_id, actor_type, action, resource, resource_id, changed)
    values ('${MISSING}', 'user', 'create', 'projects', '${MISSING}', '{}')`;
  describe.each([
    `insert into audit_events ${forged}`,
    `insert into audit_events ${forged} on conflict do nothing`,
    `update audit_events set actor_id = '${MISSING}'`,
    "delete from audit_events",
    "with gone as (delete from audit_events returning *) select * from gone",
    "truncate audit_events",
    "select * from audit_events for update",
    "lock table audit_events in exclusive mode",
    "alter table audit_events disable row level security",
    "drop policy tenant_only on audit_events",
    "alter table projects disable trigger audit_row",
    "alter table projects disable trigger user",
    "drop trigger audit_row on tasks",
    "alter function audit_row() security invoker",
    "create trigger shadow before insert on audit_events for each row execute function touch_row()",
    "create rule shadow as on insert to audit_events do instead nothing",
  ])("%s", (statement) => {
    it.each([
      ["partywall_app", app],
      ["partywall_account", login("ACCOUNT_DATABASE_URL")],
      ["partywall_identity", login("IDENTITY_DATABASE_URL")],
      ["partywall_operator", login("OPERATOR_DATABASE_URL")],
    ])("is refused to %s", async (role, as) => {
      const before = await stored(bob);
      expect(before.length).toBeGreaterThan(0);
      expect(codeOf(await attempt(as, contextOf(bob, role), [statement]))).toBe("42501");
      expect(await stored(bob)).toEqual(before);
    });

    it("is not refused to the tables' owner", async () => {
      expect(await asOwner(bob, statement)).toMatchObject({ error: { code: UNDONE } });
    });
  });

  it("no session setting switches the triggers off", async () => {
    for (const statement of ["set", "alter function audit_row() set"])
      expect(codeOf(await inside(bob, `${statement} session_replication_role = replica`))).toBe("42501");
  });

  // The triggers of a statement run at its end, by when the statement itself may have changed the context.
  describe.each([
    ["update", (set: string) => `update projects set description = coalesce(description || ${set}, '')`],
    ["returning", (set: string) => `update projects set status = 'archived' returning ${set}`],
    [
      "CTE",
      (set: string) => `with w as (update projects set description = 'w' returning 1) select ${set} from w`,
    ],
    [
      "insert",
      (set: string) =>
        `with w as (insert into projects (id, name) values (gen_random_uuid(), 'w') returning 1) select ${set} from w`,
    ],
    ["cascade", (set: string) => `with w as (delete from projects returning 1) select ${set} from w`],
  ])("a context changed in mid-statement, by way of %s,", (_, statement) => {
    const setting = (context: string) => statement(`set_config('app.tenant', '${context}', true)`);

    it("keeps no change out of the trail, nor in another tenant's or actor's", async () => {
      const [before, hers] = [await stored(bob), await stored(carol)];
      for (const [context, code] of [
        ["", "28000"],
        [contextOf({ ...bob, actor: carol.actor }).slice(0, -64) + contextOf(bob).slice(-64), "28000"],
        [contextOf(bob, "partywall_identity"), "28000"],
        // Which the same person may well have, being in both.
        [contextOf(carol), "42501"],
      ] as const)
        expect(codeOf(await inside(bob, setting(context)))).toBe(code);
      expect(await stored(bob)).toEqual(before);
      expect(await stored(carol)).toEqual(hers);
    });

    it("and left the same, the change passes, and is in the trail", async () => {
      const [, own] = await newTargets();
      const before = await stored(own);
      expect((await inside(own, setting(contextOf(own)))).error).toBeUndefined();
      expect((await stored(own)).length).toBeGreaterThan(before.length);
    });
  });

  // What the trail says of the control plane goes by the outbox.
  const entered = async (t: Target) =>
    lastRows(await insideOf(ACCOUNT, t, "select * from outbox where kind = 'audit' order by seq"));
  const signed = (t: Target) => contextOf(t, ACCOUNT.role, Date.now(), ACCOUNT.place);

  describe.each([
    ["update", (set: string) => `update tenants set name = 'w' returning ${set}`],
    [
      "CTE",
      (set: string) => `with w as (update api_keys set name = name || 'w' returning 1) select ${set} from w`,
    ],
    ["delete", (set: string) => `with w as (delete from invitations returning 1) select ${set} from w`],
  ])("a context changed in mid-statement in the control plane, by way of %s,", (_, statement) => {
    const setting = (context: string) => statement(`set_config('app.tenant', '${context}', true)`);

    it("keeps no change out of the trail, nor in another tenant's or actor's", async () => {
      const [before, hers] = [await entered(bob), await entered(carol)];
      for (const [context, code] of [
        ["", "28000"],
        [signed({ ...bob, actor: carol.actor }).slice(0, -64) + signed(bob).slice(-64), "28000"],
        [contextOf(bob), "28000"],
        [signed(carol), "42501"],
      ] as const)
        expect(codeOf(await insideOf(ACCOUNT, bob, setting(context)))).toBe(code);
      expect(await entered(bob)).toEqual(before);
      expect(await entered(carol)).toEqual(hers);
    });

    it("and left the same, the change passes, and is on its way to the trail", async () => {
      const [, own] = await newTargets();
      const before = await entered(own);
      expect((await insideOf(ACCOUNT, own, setting(signed(own)))).error).toBeUndefined();
      expect((await entered(own)).length).toBeGreaterThan(before.length);
    });
  });

  it("a request id is what the transaction says, at most 128 characters of it", async () => {
    await inside(
      bob,
      "select set_config('app.request', repeat('x', 1000), true)",
      "update projects set status = 'active'",
    );
    await inside(
      bob,
      "select set_config('app.request', repeat('x', 1000), true)",
      "update projects set status = 'archived'",
    );
    expect((await stored(bob)).at(-1)).toMatchObject({ request_id: "x".repeat(128), actor_id: bob.actor });
  });
});
