import { beforeAll, describe, expect, it } from "vitest";
import { settings } from "../src/env.ts";
import { listTenants, SORTS } from "../src/lifecycle/operated.ts";
import { OPERATOR_ROLES, type OperatorRole } from "../src/operator.ts";
import {
  answered,
  login,
  newTenant,
  PASSWORD,
  request,
  stage,
  storedKey,
  type Row,
  type SignedIn,
} from "./support/client.ts";
import { documented, type Route } from "./support/contract.ts";
import { ended } from "./support/lifecycle.ts";
import { mailedToken } from "./support/mails.ts";
import { asOperator, newOperator, newSession, type TestOperator } from "./support/operators.ts";
import { newSlug, status } from "./support/people.ts";

// What operators read of tenants and do to them, who of them may, and what is written down of it.

/** The role that each of their routes takes: a route that is not here is one that nobody has thought about. */
const LEAST: Record<string, OperatorRole> = {
  deleteOperatorSession: "viewer",
  changeOperatorPassword: "viewer",
  getOperatorOpenapiJson: "viewer",
  listOperatorTenants: "viewer",
  createOperatorTenant: "admin",
  getOperatorTenant: "viewer",
  updateOperatorTenant: "admin",
  deleteOperatorTenant: "admin",
  restoreOperatorTenant: "support",
  eraseOperatorTenant: "admin",
  createOperatorExport: "support",
  listOperatorTenantExports: "viewer",
  listOperatorTenantImports: "viewer",
  deleteOperatorTenantSessions: "support",
  createSupportSession: "support",
  getSupportSession: "support",
  createSupportToken: "support",
  endSupportSession: "support",
  listOperatorEvents: "viewer",
  listOperatorMoves: "viewer",
  listOperatorErasures: "viewer",
  listOperators: "viewer",
  getOperatorTenantLimits: "viewer",
  getOperatorTenantUsage: "viewer",
  getOperatorTenantCost: "viewer",
  getOperatorUsage: "viewer",
  listOperatorHeavyTenants: "viewer",
};

type Event = {
  id: string;
  actor: { id: string; name: string };
  action: string;
  tenant: { id: string; slug: string | null } | null;
  reason: string | null;
  change: Record<string, unknown>;
  request_id: string | null;
};
type Page<Of> = { data: Of[]; next_cursor: string | null };
type Listed = Row & { name: string; slug: string; status: string };

const OPERATOR = login("OPERATOR_DATABASE_URL");
const operators = {} as Record<OperatorRole, TestOperator>;
let admin: TestOperator;
let ada: SignedIn;
let key: string;
let routes: Route[];

beforeAll(async () => {
  for (const role of OPERATOR_ROLES) operators[role] = await newOperator(role);
  ({ admin } = operators);
  ada = await newTenant();
  key = (await storedKey(ada)).text;
  routes = (await documented()).filter(
    ({ path, operationId }) => path.startsWith("/v1/operator/") && operationId !== "createOperatorSession",
  );
});

const eventsOf = async (tenantId: string) =>
  (await answered<Page<Event>>(200, asOperator(admin.token, "GET", `events?tenant_id=${tenantId}`))).data;
const auditOf = async ({ token }: SignedIn) =>
  (await answered<Page<object>>(200, request("GET", "/v1/audit-events", { token }))).data;
/** A request to the route that changes nothing: of no tenant that there is, or with nothing in it. */
const harmless = ({ method, path, requestBody }: Route, token: string | undefined) =>
  request(method, path.replaceAll(/\{\w+\}/g, crypto.randomUUID()), {
    token,
    ...(requestBody && { body: path.includes("{id}") ? { reason: "none", ...WANTED[path] } : {} }),
  });
/** What else a body cannot do without. */
const WANTED: Record<string, object> = {
  "/v1/operator/tenants/{id}/support-sessions": { minutes: 1 },
};

describe("the operators' routes", () => {
  it("are all in the table of who may do what, and say so in their document", () => {
    const said = routes.map(({ operationId, security }) => [operationId, security]);
    const meant = Object.entries(LEAST).map(([name, role]) => [name, [{ operatorToken: [role] }]]);
    expect(Object.fromEntries(said)).toEqual(Object.fromEntries(meant));
  });

  it("are 401 without a token, with a tenant's token and with an API key", async () => {
    for (const route of routes)
      for (const token of [undefined, ada.token, key, "x".repeat(43)])
        expect([route.operationId, await status(harmless(route, token))]).toEqual([route.operationId, 401]);
  });

  it.each(OPERATOR_ROLES)("open to a %s as far as that role goes", async (role) => {
    for (const route of routes) {
      const isEnd = route.operationId === "deleteOperatorSession";
      const { token } = isEnd ? await newSession(operators[role]) : operators[role];
      const answer = await harmless(route, token);
      const may = OPERATOR_ROLES.indexOf(role) >= OPERATOR_ROLES.indexOf(LEAST[route.operationId] ?? "admin");
      const open = isEnd ? 204 : route.path.includes("{id}") ? 404 : route.method === "GET" ? 200 : 422;
      expect([route.operationId, answer.status]).toEqual([route.operationId, may ? open : 403]);
      if (!may) expect(await answer.json()).toMatchObject({ code: "insufficient_scope" });
    }
  });

  it("open to whoever holds OPERATOR_TOKEN, who is an admin called script", async () => {
    for (const route of routes)
      expect([200, 404, 422]).toContain(await status(harmless(route, settings.OPERATOR_TOKEN)));
    const { tenant } = await newTenant(null);
    // It need not say why it sets a plan: the trail says so.
    for (const body of [{ plan: "startup", reason: "from a script" }, { plan: "enterprise" }])
      await answered(200, asOperator(settings.OPERATOR_TOKEN, "PATCH", `tenants/${tenant.id}`, body));
    const actor = { id: "00000000-0000-0000-0000-000000000000", name: "script" };
    expect(await eventsOf(tenant.id)).toMatchObject([
      { actor, reason: "a script, which says no reason" },
      { actor, reason: "from a script" },
    ]);
  });

  it("change nothing without a reason", async () => {
    const { tenant } = await newTenant(null);
    const rowOf = () => stage`select to_jsonb(t) as row from control.tenants t where id = ${tenant.id}`;
    const before = await rowOf();
    // A session of support has its own, from when it was asked.
    const changes = routes.filter(
      ({ method, path }) => method !== "GET" && path.includes("{id}") && !path.includes("{session_id}"),
    );
    expect(changes.length).toBeGreaterThan(5);
    for (const { method, path, operationId } of changes)
      for (const without of [{}, { reason: "" }, { reason: "  " }, { reason: null }]) {
        const body = { ...WANTED[path], ...without };
        const answer = request(method, path.replace("{id}", tenant.id), { token: admin.token, body });
        expect([operationId, await status(answer)]).toEqual([operationId, 422]);
      }
    expect(await rowOf()).toEqual(before);
    expect(await eventsOf(tenant.id)).toEqual([]);
  });
});

describe("what an operator does", () => {
  it("is in the operators' trail, with who, why and what, and in the tenant's own with the reason", async () => {
    const owner = await newTenant(null);
    const { id, slug } = owner.tenant;
    const at = `tenants/${id}`;
    const before = (await auditOf(owner)).length;
    await answered(200, asOperator(admin.token, "PATCH", at, { plan: "startup", reason: "they pay now" }));
    await answered(200, asOperator(admin.token, "PATCH", at, { status: "read_only", reason: "unpaid" }));
    await answered(202, asOperator(admin.token, "DELETE", at, { reason: "still unpaid" }));
    await answered(
      200,
      asOperator(operators.support.token, "POST", `${at}/restore`, { reason: "paid after all" }),
    );
    // Nothing changes, and nothing is written down.
    await answered(200, asOperator(admin.token, "PATCH", at, { plan: "startup", reason: "once more" }));

    const trail = await eventsOf(id);
    const by = { id: admin.id, name: admin.email };
    const tenant = { id, slug };
    expect(trail).toMatchObject([
      { action: "tenant.restore", actor: { id: operators.support.id }, reason: "paid after all", tenant },
      { action: "tenant.close", actor: by, reason: "still unpaid", tenant },
      { action: "tenant.update", actor: by, change: { status: { from: "active", to: "read_only" } } },
      { action: "tenant.update", actor: by, change: { plan: { from: "solo", to: "startup" } } },
    ]);
    for (const { request_id } of trail) expect(request_id).toMatch(/^[\w.-]{8,128}$/);

    const audit = await auditOf(owner);
    expect(audit.slice(0, audit.length - before)).toMatchObject([
      {
        actor: { type: "operator", id: operators.support.id },
        reason: "paid after all",
        resource: "tenants",
      },
      { actor: { type: "operator", id: admin.id }, reason: "still unpaid", request_id: trail[1]?.request_id },
      { actor: { type: "operator", id: admin.id }, reason: "unpaid", changed: ["status"] },
      { actor: { type: "operator", id: admin.id }, reason: "they pay now", changed: ["plan"] },
    ]);
    // What people of the tenant do has no reason.
    for (const event of audit.slice(audit.length - before)) expect(event).toMatchObject({ reason: null });
  });

  it("is refused and written nowhere when the tenant's status does not allow it, or the row has changed", async () => {
    const { tenant } = await newTenant(null);
    const at = `tenants/${tenant.id}`;
    const { headers } = await asOperator(admin.token, "GET", at);
    const tag = headers.get("etag") ?? "";
    await answered(200, asOperator(admin.token, "PATCH", at, { plan: "startup", reason: "one" }));
    const stale = await request("PATCH", `/v1/operator/${at}`, {
      token: admin.token,
      headers: { "if-match": tag },
      body: { plan: "enterprise", reason: "two" },
    });
    expect(stale.status).toBe(412);
    await answered(202, asOperator(admin.token, "DELETE", at, { reason: "three" }));
    await stage`update control.tenants set status = 'erasing' where id = ${tenant.id}`;
    await answered(409, asOperator(admin.token, "PATCH", at, { status: "active", reason: "four" }));
    expect((await eventsOf(tenant.id)).map(({ reason }) => reason)).toEqual(["three", "one"]);
  });

  it("ends all sessions of a tenant at the next request, and no API key", async () => {
    const owner = await newTenant();
    const { text } = await storedKey(owner);
    await answered(
      204,
      asOperator(operators.support.token, "DELETE", `tenants/${owner.tenant.id}/sessions`, {
        reason: "a leak",
      }),
    );
    expect(await status(request("GET", "/v1/me", { token: owner.token }))).toBe(401);
    const refresh = { body: { refresh_token: owner.refresh_token } };
    expect(await status(request("POST", "/v1/sessions/refresh", refresh))).toBe(401);
    expect(await status(request("GET", "/v1/me", { token: text }))).toBe(200);
    expect((await eventsOf(owner.tenant.id))[0]).toMatchObject({ action: "tenant.end_sessions" });
  });

  it("begins an export that the tenant sees and downloads, one at a time", async () => {
    const owner = await newTenant();
    const at = `tenants/${owner.tenant.id}/exports`;
    const { id } = await answered<Row>(
      202,
      asOperator(operators.support.token, "POST", at, { reason: "asked" }),
    );
    const shown = await answered<Row>(
      200,
      request("GET", `/v1/tenant/exports/${id}`, { token: owner.token }),
    );
    expect(shown).toMatchObject({ id });
    await ended(id);
    expect(await status(request("GET", `/v1/tenant/exports/${id}/archive`, { token: owner.token }))).toBe(
      200,
    );
    expect(await auditOf(owner)).toContainEqual(
      expect.objectContaining({ resource: "exports", resource_id: id, reason: "asked" }),
    );
  });

  it("lists a tenant's exports and imports, as they are, in pages, and nothing of what is in them", async () => {
    const { tenant, token } = await newTenant();
    const list = async (kind: string, query = "") =>
      answered<Page<Row>>(
        200,
        asOperator(operators.viewer.token, "GET", `tenants/${tenant.id}/${kind}?${query}`),
      );
    expect(await list("exports")).toEqual({ data: [], next_cursor: null });
    for (const [kind, outcome, progress, age] of [
      ["export", "failed", '{"rows": 3}', 3],
      ["import", "done", '{"rows": 5}', 2],
      ["export", null, "{}", 1],
    ] as const)
      await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, progress, started_at, finished_at,
          outcome, result)
        select gen_random_uuid(), id, ${kind}, site, site, epoch, ${4 - age}, ${progress}, now() - ${age} * interval '1 hour',
          case when ${outcome}::text is not null then now() end, ${outcome}, '{"reason": "secret", "sha256": "secret"}'
        from control.tenants where id = ${tenant.id}`;
    const any = expect.any(String) as string;
    const shown = { id: any, created_at: any, expires_at: null };
    const queued = { ...shown, status: "queued", rows: 0, finished_at: null };
    const failed = { ...shown, status: "failed", rows: 3, finished_at: any };
    expect((await list("exports")).data).toEqual([queued, failed]);
    expect((await list("imports")).data).toEqual([{ ...failed, status: "done", rows: 5 }]);
    await stage`update control.jobs set progress = '{"rows": 1}', kept_until = now() where tenant_id = ${tenant.id} and outcome is null`;
    const first = await list("exports", "limit=1");
    expect(first.data).toEqual([{ ...queued, status: "running", rows: 1, expires_at: any }]);
    const { next_cursor } = first;
    expect((await list("exports", `limit=1&cursor=${next_cursor}`)).data).toEqual([failed]);
    expect(await status(asOperator(token, "GET", `tenants/${tenant.id}/exports`))).toBe(401);
  });

  it("makes a tenant whose first owner comes in by a mailed invitation, and invites again until they have", async () => {
    const [slug, owner_email] = [newSlug(), `first@${crypto.randomUUID()}.test`];
    const body = { name: "Initech", slug, plan: "startup", owner_email, reason: "they signed" };
    const made = await answered<Row>(201, asOperator(admin.token, "POST", "tenants", body));
    expect(made).toMatchObject({ slug, plan: "startup", status: "active", members: 0, job: null });
    const again = await answered<Row>(201, asOperator(admin.token, "POST", "tenants", body));
    expect(again.id).toBe(made.id);
    await answered(409, asOperator(admin.token, "POST", "tenants", { ...body, name: "Others" }));
    const token = await mailedToken(owner_email, "pwi", 2);
    const session = await answered<SignedIn>(
      201,
      request("POST", "/v1/invitations/accept", { body: { token, password: PASSWORD } }),
    );
    expect(session.tenant).toMatchObject({ id: made.id, role: "owner" });
    await answered(409, asOperator(admin.token, "POST", "tenants", body));
    expect(await eventsOf(made.id)).toMatchObject([{ action: "tenant.create", reason: "they signed" }]);
  });
});

describe("the operators' trail", () => {
  it.each([
    "DATABASE_URL",
    "ACCOUNT_DATABASE_URL",
    "IDENTITY_DATABASE_URL",
    "OPERATOR_DATABASE_URL",
  ] as const)("is changed by no statement of %s", async (name) => {
    const row = `(id, created_at, actor_id, actor, action, change) values
        (gen_random_uuid(), now(), gen_random_uuid(), 'x', 'x', '{}')`;
    for (const sql of [
      `insert into control.operator_events ${row}`,
      "update control.operator_events set reason = 'x'",
      "delete from control.operator_events",
      "truncate control.operator_events",
      `select control.note_operation('{"id":"${crypto.randomUUID()}","actor":"x","reason":"x"}', 'x', null, '{}', null)`,
    ])
      await expect(login(name).query(sql)).rejects.toMatchObject({ code: "42501" });
  });

  it.each([
    "update control.operator_events set reason = 'x'",
    "delete from control.operator_events",
    "truncate control.operator_events",
  ])("is not changed by its tables' owner either: %s", async (sql) => {
    const asOwner = stage.transaction([stage`set local role partywall_owner`, stage.query(sql)]);
    await expect(asOwner).rejects.toMatchObject({ code: "42501" });
    await expect(stage.query(sql)).rejects.toMatchObject({ code: "42501" });
  });

  it("is written with every change: the operators' login changes no tenant otherwise, nor without a reason", async () => {
    const { tenant } = await newTenant(null);
    const by = JSON.stringify({ id: admin.id, actor: admin.email, reason: " " });
    for (const [sql, ...values] of [
      ["update tenants set plan = 'startup' where id = $1"],
      ["select begin_erasure($1)"],
      ["select operate_tenant($2, 'tenant.update', $1, '{\"plan\": \"startup\"}', 30, null)", by],
      ["select erase_for_operator($2, $1)", by],
      ["select export_for_operator($2, $1, gen_random_uuid())", by],
      ["select operate_tenant('{}', 'tenant.update', $1, '{\"plan\": \"startup\"}', 30, null)"],
    ] as [string, ...string[]][])
      await expect(OPERATOR.query(sql, [tenant.id, ...values])).rejects.toMatchObject({ code: "42501" });
    expect(await answered(200, asOperator(admin.token, "GET", `tenants/${tenant.id}`))).toMatchObject({
      plan: "solo",
      status: "active",
      job: null,
    });
  });

  it("lists by tenant and by operator, in pages that skip and repeat nothing", async () => {
    const own = await newOperator("admin");
    const { tenant } = await newTenant(null);
    for (const plan of ["startup", "enterprise", "solo", "startup", "enterprise"])
      await answered(200, asOperator(own.token, "PATCH", `tenants/${tenant.id}`, { plan, reason: plan }));
    const walk = async (filter: string) => {
      const found: Event[] = [];
      for (let cursor = ""; ;) {
        const path = `events?limit=2&${filter}${cursor}`;
        const page = await answered<Page<Event>>(200, asOperator(own.token, "GET", path));
        found.push(...page.data);
        if (!page.next_cursor) return found.map(({ reason }) => reason);
        cursor = `&cursor=${page.next_cursor}`;
      }
    };
    const all = ["enterprise", "startup", "solo", "enterprise", "startup"];
    expect(await walk(`actor_id=${own.id}`)).toEqual(all);
    expect(await walk(`tenant_id=${tenant.id}&actor_id=${own.id}`)).toEqual(all);
    expect(await walk(`tenant_id=${tenant.id}&actor_id=${admin.id}`)).toEqual([]);
  });
});

describe("the operators' list of tenants", () => {
  const mark = `list-${crypto.randomUUID().slice(0, 8)}`;
  const names = ["Beta", "alpha", "Alpha", "gamma", "Gamma", "beta two", "Delta"];

  beforeAll(async () => {
    for (const [index, name] of names.entries())
      await stage`insert into control.tenants (id, slug, name, plan, status, created_at)
        values (gen_random_uuid(), ${`${mark}-${index}`}, ${`${name} ${mark}`}, ${index < 4 ? "solo" : "startup"},
          ${index === 0 ? "suspended" : "active"}, now() - ${index % 3} * interval '1 day')`;
    await stage`insert into control.usage_months (tenant_id, month, requests, refused, units, rows, bytes_stored, byte_days)
      select id, date_trunc('month', now() at time zone 'utc')::date, n % 3, n % 2, n % 3, n % 4, 5 - n % 5, (5 - n % 5) * 1000000000::bigint
      from (select id, right(slug, 1)::int as n from control.tenants where slug like ${`${mark}-%`}) t where n > 0`;
  });

  const page = (query: string) =>
    answered<Page<Listed>>(200, asOperator(operators.viewer.token, "GET", `tenants?${query}`));

  it.each(SORTS)("comes whole in pages by %s, whatever is made meanwhile", async (sort) => {
    const found: Listed[] = [];
    for (let cursor = ""; ;) {
      const { data, next_cursor } = await page(`search=${mark.toUpperCase()}&sort=${sort}&limit=2${cursor}`);
      found.push(...data);
      if (!next_cursor) break;
      cursor = `&cursor=${next_cursor}`;
    }
    expect(found).toHaveLength(names.length);
    const [name, direction] = [sort.replace("-", ""), sort.startsWith("-") ? "desc" : "asc"];
    // What these tenants store is by far the most of their price, and then come their requests.
    const by = {
      name: "lower(name)",
      created_at: "created_at",
      cost: "coalesce(m.byte_days + m.requests, 0)",
    };
    const [{ expected }] = (await stage.query(
      `select array_agg(slug order by ${Reflect.get(by, name) ?? `coalesce(m.${name}, 0)`} ${direction}, t.id ${direction}) as expected
        from control.tenants t left join control.usage_months m on m.tenant_id = t.id where slug like '${mark}-%'`,
    )) as [{ expected: string[] }];
    expect(found.map(({ slug }) => slug)).toEqual(expected);
  });

  it("is filtered by status, plan, placement and search", async () => {
    const slugs = async (query: string) =>
      (await page(`search=${mark}&sort=name&${query}`)).data.map(({ name }) => name.split(" list")[0]);
    expect(await slugs("status=suspended")).toEqual(["Beta"]);
    expect(await slugs("plan=startup&status=active")).toEqual(["beta two", "Delta", "Gamma"]);
    expect(await slugs("placement=dedicated")).toEqual([]);
    expect((await page(`search=ALPHA%20${mark}`)).data).toHaveLength(2);
    const [one] = (await page(`search=${mark}-3`)).data;
    expect((await page(`search=${one?.id}`)).data).toEqual([one]);
  });

  it("takes no cursor of another order, nor a tenant's", async () => {
    const { next_cursor } = await page(`search=${mark}&sort=name&limit=1`);
    const path = `tenants?search=${mark}&sort=-name&cursor=${next_cursor}`;
    expect(await status(asOperator(admin.token, "GET", path))).toBe(400);
  });

  it("is read by an index in each order, among many tenants", { timeout: 60_000 }, async () => {
    const many = `many-${mark}`;
    await stage`insert into control.tenants (id, slug, name, plan) select gen_random_uuid(), ${many} || n, ${many} || n % 50, 'solo'
      from generate_series(1, 3000) n`;
    await stage`analyze control.tenants`;
    try {
      for (const sort of ["name", "-name", "created_at", "-created_at"] as const) {
        const { sql, params } = listTenants({
          sort,
          rows: 51,
          after: sort.endsWith("name") ? "m" : "2026-01-01",
          after_id: ada.tenant.id,
        }).toSQL();
        const [, shown] = await OPERATOR.transaction([
          OPERATOR`select set_config('enable_sort', 'off', true)`,
          OPERATOR.query(`explain ${sql}`, params),
        ]);
        const plan = JSON.stringify(shown);
        expect(plan).toMatch(sort.endsWith("name") ? /using tenants_by_name/ : /using tenants_newest/);
        expect(plan).not.toContain("Sort");
      }
    } finally {
      await stage`delete from control.tenants where slug like ${`${many}%`}`;
    }
  });
});

describe("the operators' login", () => {
  it("reads no password, no second factor, no credential and no content", async () => {
    for (const sql of [
      "select password_hash from operators",
      "select totp_secret from operators",
      "select * from operators",
      "select progress from jobs",
      "select result from jobs",
      ...["users", "sessions", "invitations", "api_keys", "issuers", "factors", "recovery_codes"].map(
        (table) => `select from ${table}`,
      ),
      ...["mailed_links", "challenges", "outbox"].map((table) => `select from ${table}`),
      ...["projects", "tasks", "audit_events", "members"].map((table) => `select from public.${table}`),
    ])
      await expect(OPERATOR.query(sql)).rejects.toMatchObject({ code: "42501" });
    for (const name of ["ACCOUNT_DATABASE_URL", "IDENTITY_DATABASE_URL"] as const)
      for (const table of ["operators", "operator_events"])
        await expect(login(name).query(`select from control.${table}`)).rejects.toMatchObject({
          code: "42501",
        });
  });

  it("makes no operator and raises none", async () => {
    for (const sql of [
      "update operators set role = 'admin'",
      "update operators set disabled_at = null",
      "delete from operators",
      `insert into operators (id, email, role, password_hash, totp_secret) values (gen_random_uuid(), 'x@x.test', 'admin', '', '')`,
    ])
      await expect(OPERATOR.query(sql)).rejects.toMatchObject({ code: "42501" });
  });

  it("shows how far a move is, and not where in the tenant's rows", async () => {
    const { tenant } = await newTenant(null);
    const progress = {
      phase: "copying",
      rows: 5,
      bytes: 10,
      total: 9,
      position: { table: "secret", after: [] },
    };
    await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, progress, finished_at, outcome)
      values (gen_random_uuid(), ${tenant.id}, 'move', 'shared', 'shared', 1, 1, ${JSON.stringify(progress)}::jsonb, now(), 'failed')`;
    const { data } = await answered<Page<object>>(
      200,
      asOperator(operators.viewer.token, "GET", "moves?limit=100"),
    );
    const { position: _, ...figures } = progress;
    expect(data).toContainEqual(
      expect.objectContaining({
        tenant: tenantOf(tenant),
        kind: "move",
        outcome: "failed",
        progress: figures,
      }),
    );
    expect(JSON.stringify(data)).not.toContain("secret");
  });
});

const tenantOf = ({ id, slug }: { id: string; slug: string }) => ({ id, slug });
