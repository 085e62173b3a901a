import { beforeAll, describe, expect, it } from "vitest";
import type { ActingAs } from "../src/authority.ts";
import { openTenantDb, type Lane as Opened } from "../src/db/client.ts";
import { builder, statement } from "../src/db/query.ts";
import { sql } from "drizzle-orm";
import {
  ACCOUNT,
  attempt,
  codeOf,
  CONTENT,
  contextOf,
  inside,
  insideOf,
  lastRows,
  newTargets,
  UNDO,
  UNDONE,
  type Lane,
  type Target,
} from "./support/attacks.ts";
import { answered, login, noRequest, request, stage } from "./support/client.ts";
import { newOperator, type TestOperator } from "./support/operators.ts";
import { atSite, SITE } from "./support/site.ts";
import { askSupport, enterTenant, setMode, type SupportSession } from "./support/support.ts";

// SQL in an operator's context, and in everybody else's against what lets operators in.

let ada: Target;
let bob: Target;
let operator: TestOperator;
beforeAll(async () => {
  [ada, bob] = await newTargets();
  operator = await newOperator("support");
});

/** Statements in Ada's tenant as this actor, in a transaction that may write; the last one undoes them. */
const as = (actor: ActingAs, { login: of, role, place }: Lane, ...statements: string[]) =>
  attempt(
    of,
    contextOf({ tenant: ada.tenant, actor: operator.id }, role, Date.now(), place, actor),
    [...statements.map(atSite), UNDO],
    place,
  );

const READ_ONLY = "25006";
const NEW_PROJECT = "insert into projects (id, name) values (gen_random_uuid(), 'Roof')";
const NEW_KEY = `insert into api_keys (id, name, scopes, hash, hint, created_by)
  values (gen_random_uuid(), '42', '{members:read}', sha256('x'), '1234', current_actor_id())`;

describe("an operator who may read", () => {
  it.each([
    NEW_PROJECT,
    "update projects set name = 'Mine'",
    "delete from projects",
    "select next_number('invoices')",
    "select * from projects",
    // To the verifier the transaction is then a reader's, but its trail cannot be written either.
    `with turned as materialized (select set_config('transaction_read_only', 'on', true))
     insert into projects (id, name) select gen_random_uuid(), 'Roof' from turned`,
    "insert into idempotency_keys (key, request_hash) values ('k', 'x')",
  ])("does nothing in a transaction that may write: %s", async (text) => {
    expect(codeOf(await as("support", CONTENT, text))).toBe(READ_ONLY);
    if (!text.startsWith("with turned"))
      expect(["42501", UNDONE]).toContain(codeOf(await as("support_write", CONTENT, text)));
  });

  it("reads in a READ ONLY one, which is what each of theirs is, whatever a handler has let on", async () => {
    const actor = { id: operator.id, as: "support", name: operator.email } as const;
    const home = { site: SITE, epoch: 1 };
    const open = (lane: Opened) => openTenantDb(lane, ada.tenant, actor, noRequest(), home);
    const projects = await open("app").write({ found: statement("select name from projects", []) });
    expect(projects.found).toEqual([{ name: ada.marker }]);
    for (const text of [NEW_PROJECT, "delete from projects", "set transaction read write"])
      await expect(open("app").write({ "": builder.execute(sql.raw(text)) })).rejects.toMatchObject(
        text.startsWith("set") ? {} : { code: "insufficient_scope" },
      );
    await expect(open("account").write({ "": builder.execute(sql.raw(NEW_KEY)) })).rejects.toMatchObject({
      code: "insufficient_scope",
    });
    expect(lastRows(await inside(ada, "select name from projects"))).toEqual([{ name: ada.marker }]);
  });
});

describe("the control plane, to an operator who may write", () => {
  it.each([
    NEW_KEY,
    "update tenants set name = 'Mine'",
    "update tenants set support_access = 'on'",
    "delete from memberships",
    "delete from api_keys",
    `insert into invitations (id, email, role, token_hash, invited_by, expires_at)
     values (gen_random_uuid(), 'a@b.test', 'owner', sha256('x'), current_actor_id(), now() + interval '1 day')`,
    "select approve_support(gen_random_uuid())",
    "select begin_job(gen_random_uuid(), 'export')",
    "select drop_outbox(100)",
  ])("is for reading: %s", async (text) => {
    expect(codeOf(await as("support_write", ACCOUNT, text))).toBe(READ_ONLY);
    expect(codeOf(await as("support", ACCOUNT, text))).toBe(READ_ONLY);
  });

  it("is closed by what each of their transactions is, too", async () => {
    const actor = { id: operator.id, as: "support_write", name: operator.email } as const;
    const db = openTenantDb("account", ada.tenant, actor, noRequest());
    expect((await db.read({ found: statement("select name from tenants", []) })).found).toHaveLength(1);
    await expect(db.write({ "": builder.execute(sql.raw(NEW_KEY)) })).rejects.toMatchObject({
      code: "insufficient_scope",
    });
  });
});

describe("what lets operators in", () => {
  const REFUSED = "42501";
  let session: SupportSession;
  beforeAll(async () => {
    await answered(200, setMode(ada.who, "ask"));
    session = await answered<SupportSession>(202, askSupport(operator, ada.who));
  });
  const open = async () =>
    (await stage`select started_at, ended_at from control.support_sessions where id = ${session.id}`)[0];

  it.each(["viewer", "member", "admin", "api_key", "invitation", "issuer", "object"] as const)(
    "no SQL in the context of %s changes it",
    async (actor) => {
      for (const text of [
        "update tenants set support_access = 'on'",
        `select approve_support('${session.id}')`,
      ])
        expect(codeOf(await as(actor, ACCOUNT, text))).toBe(REFUSED);
      if (actor !== "admin")
        expect(codeOf(await as(actor, ACCOUNT, `select end_support('${session.id}')`))).toBe(REFUSED);
      expect(await open()).toEqual({ started_at: null, ended_at: null });
    },
  );

  it("no SQL of a tenant writes the sessions themselves, or asks in an operator's name", async () => {
    for (const text of [
      `update support_sessions set started_at = now(), expires_at = now() + interval '1 hour'`,
      "delete from support_sessions",
      `insert into support_sessions (id, operator_id, operator, reason, minutes, write)
       values (gen_random_uuid(), gen_random_uuid(), 'x', 'x', 60, true)`,
      `select ask_support('{}', gen_random_uuid(), current_tenant_id(), 60, true)`,
      `select leave_tenant('{}', '${session.id}', current_tenant_id(), true)`,
    ])
      expect(codeOf(await insideOf(ACCOUNT, ada, text))).toBe(REFUSED);
    expect(await open()).toEqual({ started_at: null, ended_at: null });
  });

  it("another tenant's owner neither sees, approves nor ends a session", async () => {
    expect(lastRows(await insideOf(ACCOUNT, bob, "select * from support_sessions"))).toEqual([]);
    for (const verb of ["approve_support", "end_support"])
      expect((await insideOf(ACCOUNT, bob, `select ${verb}('${session.id}')`)).error).toBeUndefined();
    expect(await open()).toEqual({ started_at: null, ended_at: null });
  });

  it("partywall_operator changes no tenant's choice, and no session but by its functions", async () => {
    const of = login("OPERATOR_DATABASE_URL");
    for (const text of [
      "update control.tenants set support_access = 'on'",
      "update control.support_sessions set started_at = now(), expires_at = now()",
      `select control.approve_support('${session.id}')`,
      "insert into control.support_sessions (tenant_id, id, operator_id, operator, reason, minutes, write) select id, id, id, '', '', 1, true from control.tenants",
    ])
      expect(codeOf(await attempt(of, undefined, [text]))).toBe(REFUSED);
    expect(await open()).toEqual({ started_at: null, ended_at: null });
  });

  it("nobody asks who is no operator, though they write what they like", async () => {
    const of = login("OPERATOR_DATABASE_URL");
    const viewer = await newOperator("viewer");
    const script = "00000000-0000-0000-0000-000000000000";
    for (const [id, asking] of [
      [bob.actor, crypto.randomUUID()],
      [script, operator.sessionId],
      [viewer.id, viewer.sessionId],
      // An operator in a session that is another's, or none.
      [operator.id, viewer.sessionId],
      [operator.id, crypto.randomUUID()],
    ]) {
      const by = JSON.stringify({ id, actor: "x", reason: "x" });
      const { rows } = await attempt(of, undefined, [
        `select control.ask_support_in_session('${by}', '${asking}', gen_random_uuid(), '${ada.tenant}', 60, true) as status`,
      ]);
      expect(rows.at(-1)).toEqual([{ status: "nobody" }]);
    }
  });

  it("shows the same to its owner, who is the control of the above", async () => {
    expect(lastRows(await insideOf(ACCOUNT, ada, "select id from support_sessions"))).toEqual([
      { id: session.id },
    ]);
    expect((await insideOf(ACCOUNT, ada, `select approve_support('${session.id}')`)).error).toBeUndefined();
    expect(await open()).toMatchObject({ started_at: expect.anything() as unknown });
    await answered(200, setMode(ada.who, "on"));
    const { access_token } = await enterTenant(operator, ada.who);
    expect((await request("GET", "/v1/projects", { token: access_token })).status).toBe(200);
  });
});
