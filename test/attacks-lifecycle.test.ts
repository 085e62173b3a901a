import { beforeAll, describe, expect, it } from "vitest";
import type { ActingAs } from "../src/authority.ts";
import { SHARED_PLACE } from "../src/db/places.ts";
import { ACCOUNT, attempt, codeOf, CONTENT, contextOf, UNDO, UNDONE } from "./support/attacks.ts";
import { login, newTenant, stage, type SignedIn } from "./support/client.ts";

// What the logins that serve requests may do to a tenant's life, by SQL of any kind: its status, its jobs, its erasure. What
// may be done is undone, and says so.

const ACTORS: ActingAs[] = [
  "viewer",
  "member",
  "admin",
  "owner",
  "api_key",
  "invitation",
  "issuer",
  "object",
];
const REFUSED = "42501";

let ada: SignedIn;
let bob: SignedIn;
/** A job of Ada's that is under way, and one of Bob's. */
let hers: string;
let his: string;

beforeAll(async () => {
  [ada, bob] = await Promise.all([newTenant(), newTenant()]);
  const begun = async ({ tenant }: SignedIn) => {
    const [row] = await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token)
      values (gen_random_uuid(), ${tenant.id}, 'export', 'shared', 'shared', 1, 1) returning id`;
    return String(row?.["id"]);
  };
  [hers, his] = [await begun(ada), await begun(bob)];
});

/** What comes of SQL of Bob's tenant, by somebody with these rights; what was done is undone. */
async function outcomeOf(as: ActingAs, sql: string): Promise<string> {
  const { login: account, role, place } = ACCOUNT;
  const actor = as === "object" ? bob.tenant.id : bob.user.id;
  const context = contextOf({ tenant: bob.tenant.id, actor }, role, Date.now(), place, as);
  return String(codeOf(await attempt(account, context, [sql, UNDO], place)));
}

describe("a job", () => {
  const WAYS: [name: string, sql: () => string, may: ActingAs[]][] = [
    ["an export is begun", () => `select begin_job('${his}', 'export')`, ["admin", "owner", "api_key"]],
    ["a move is begun", () => "select begin_job(gen_random_uuid(), 'move')", []],
    ["an erasure is begun as a job", () => "select begin_job(gen_random_uuid(), 'erasure')", []],
    ["a job is taken over", () => `select * from claim_job('${his}')`, ["object"]],
    ["a job's progress is noted", () => `select note_job('${his}', 1, '{}')`, ["object"]],
    ["a job is ended", () => `select finish_job('${his}', 1, 'done', '{}', 7)`, ["object"]],
    ["an archive is dropped", () => `select drop_export('${his}')`, ["admin", "owner", "api_key", "object"]],
    ["old rows are deleted", () => "select forget_old(1)", ["object"]],
    ["a job is written by hand", () => `update jobs set token = 9 where id = '${his}'`, []],
    ["a job's site is read", () => "select source from jobs", []],
    ["an erasure is begun", () => `select begin_erasure('${bob.tenant.id}')`, []],
    ["a tenant's rows are erased", () => `select erase_tenant('${bob.tenant.id}')`, []],
    ["an erasure is noted", () => `select note_erasure('${bob.tenant.id}', 'x', '{}')`, []],
    ["a receipt is entered", () => `select finish_erasure('${bob.tenant.id}', 'x')`, []],
    ["the ledger is read", () => "select * from erasures", []],
  ];

  it.each(WAYS)("%s by those alone who may", async (_, sql, may) => {
    for (const as of ACTORS)
      expect([as, await outcomeOf(as, sql())]).toEqual([as, may.includes(as) ? UNDONE : REFUSED]);
  });

  it("an import is begun by an owner, when nothing else is under way", async () => {
    for (const as of ACTORS)
      expect([as, await outcomeOf(as, "select begin_job(gen_random_uuid(), 'import')")]).toEqual([
        as,
        as === "owner" ? "PW009" : REFUSED,
      ]);
  });

  it.each([
    ["taken over", () => `select * from claim_job('${hers}')`],
    ["noted", () => `select note_job('${hers}', 1, '{}')`],
    ["ended", () => `select finish_job('${hers}', 1, 'failed', '{}', null)`],
    ["dropped", () => `select drop_export('${hers}')`],
    ["seen", () => `select id, progress from jobs where id = '${hers}'`],
  ])("of another tenant is not %s, and not told from one that is not there", async (_, sql) => {
    const { login: account, role, place } = ACCOUNT;
    const before = await stage`select j::text as row from control.jobs j where id = ${hers}`;
    const context = contextOf(
      { tenant: bob.tenant.id, actor: bob.tenant.id },
      role,
      Date.now(),
      place,
      "object",
    );
    const ask = async (statement: string) =>
      (await attempt(account, context, [statement], place)).rows.at(-1);
    expect(await ask(sql())).toEqual(await ask(sql().replace(hers, crypto.randomUUID())));
    expect(await stage`select j::text as row from control.jobs j where id = ${hers}`).toEqual(before);
  });
});

describe("a status", () => {
  it.each([
    ["closing", ["owner"]],
    ["suspended", []],
    ["read_only", []],
    ["erasing", []],
  ] as const)("becomes %s by those alone who may", async (status, may) => {
    for (const as of ACTORS)
      expect([as, await outcomeOf(as, `update tenants set status = '${status}'`)]).toEqual([
        as,
        (may as readonly string[]).includes(as) ? UNDONE : "PW008",
      ]);
  });

  it("keeps the end of its grace period, whoever says another", async () => {
    const [kept] = await stage
      .transaction([
        stage`update control.tenants set status = 'closing', closes_at = '2100-01-01' where id = ${ada.tenant.id}`,
        stage`update control.tenants set closes_at = now() where id = ${ada.tenant.id}`,
        stage`select closes_at = '2100-01-01' as is_kept from control.tenants where id = ${ada.tenant.id}`,
      ])
      .then((results) => results.at(-1) as { is_kept: boolean }[]);
    expect(kept).toEqual({ is_kept: true });
  });
});

describe("without a context", () => {
  it("the end of a grace period erases nobody before it has come", async () => {
    const identity = login("IDENTITY_DATABASE_URL");
    await expect(identity`select control.begin_erasure(${bob.tenant.id})`).rejects.toMatchObject({
      code: "PW008",
    });
    await identity`select control.erase_tenant(${bob.tenant.id})`;
    expect(await stage`select status from control.tenants where id = ${bob.tenant.id}`).toEqual([
      { status: "active" },
    ]);
    await identity`select control.finish_erasure(${bob.tenant.id}, 'no receipt')`;
    expect(await stage`select from control.erasures where id = ${bob.tenant.id}`).toEqual([]);
  });

  it("an operator's login begins an erasure only with who and why, and does no more of it", async () => {
    const operator = login("OPERATOR_DATABASE_URL");
    for (const sql of [
      "begin_erasure($1)",
      "erase_tenant($1)",
      "finish_erasure($1, 'x')",
      "note_erasure($1, 'x', '{}')",
    ])
      await expect(operator.query(`select control.${sql}`, [bob.tenant.id])).rejects.toMatchObject({
        code: REFUSED,
      });
  });
});

describe("at a site", () => {
  it.each([
    "select set_fence('closed', 1, 0)",
    "select keep_images(1)",
    "select * from images('projects')",
    "select * from left_behind()",
    "select forget_old(now(), 100)",
  ])("the app's SQL does not %s", async (sql) => {
    const context = contextOf(
      { tenant: bob.tenant.id, actor: bob.user.id },
      CONTENT.role,
      Date.now(),
      CONTENT.place,
    );
    expect(codeOf(await attempt(CONTENT.login, context, [sql], CONTENT.place))).toBe(REFUSED);
  });

  it("old rows are deleted in the name of the tenant's object alone", async () => {
    const account = login("ACCOUNT_DATABASE_URL");
    const as = async (acting: ActingAs) => {
      const context = contextOf(
        { tenant: bob.tenant.id, actor: bob.user.id },
        ACCOUNT.role,
        Date.now(),
        SHARED_PLACE,
        acting,
      );
      return codeOf(await attempt(account, context, ["select public.forget_old(now(), 1)"], SHARED_PLACE));
    };
    for (const acting of ACTORS)
      expect([acting, await as(acting)]).toEqual([acting, acting === "object" ? undefined : REFUSED]);
  });
});
