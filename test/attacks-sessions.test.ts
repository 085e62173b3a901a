import { beforeAll, describe, expect, it } from "vitest";
import { whileAsleep } from "./support/asleep.ts";
import {
  app,
  asOwner,
  attempt,
  codeOf,
  contextOf,
  inside,
  lastRows,
  newTargets,
  OWN,
  shows,
  UNDONE,
  type Outcome,
  type Target,
} from "./support/attacks.ts";
import { login } from "./support/client.ts";
import { AT_SITE, PLACE, SITE } from "./support/site.ts";

// What one request leaves behind on a pooled connection for the next one, and what one can hold up.

const DATABASE = SITE.database ?? "partywall";

let ada: Target;
let bob: Target;
let carol: Target;

beforeAll(async () => {
  [ada, bob, carol] = await newTargets();
});

const NAMES = "select name from projects";
const PID = "select pg_backend_pid() as pid";

const pidOf = (outcome: Outcome): unknown => (outcome.rows.at(-1)?.[0] as { pid?: number } | undefined)?.pid;
const claim = (t: Target) => `select set_config('app.tenant', '${contextOf(t)}', true)`;

/** What Bob's statements give on a connection that has just served the statements of `before`. */
async function onSameConnection(before: Target, left: string[], then: string[]): Promise<Outcome> {
  for (let tries = 0; tries < 50; tries++) {
    const served = await inside(before, ...left, PID);
    expect(served.error).toBeUndefined();
    const now = await inside(bob, PID);
    if (pidOf(now) !== pidOf(served)) continue;
    // The pool hands out the connection last used; another file's request may have come between.
    const outcome = await inside(
      bob,
      `do $$ begin if pg_backend_pid() <> ${String(pidOf(now))} then
      raise exception 'another connection' using errcode = 'PW002'; end if; end $$`,
      ...then,
    );
    if (codeOf(outcome) !== "PW002") return outcome;
  }
  throw new Error("never got the same connection twice");
}

describe("prepared statements", () => {
  it("takes one statement at a time: a stacked one is a syntax error", async () => {
    const outcome = await inside(bob, `${NAMES}; ${NAMES}`);
    expect(outcome).toMatchObject({ error: { code: "42601" } });
    expect((await inside(bob, NAMES)).error).toBeUndefined();
  });

  it.each(["force_generic_plan", "force_custom_plan"])(
    "a plan made and run for one tenant (%s) shows the next one its own rows",
    async (mode) => {
      const run = (first: Target, second: Target) =>
        attempt(app, contextOf(first), [
          `set local plan_cache_mode = ${mode}`,
          `prepare loot as ${NAMES}`,
          "execute loot",
          "execute loot",
          claim(second),
          "execute loot",
        ]);
      const outcome = await run(ada, bob);
      expect(outcome.rows[2]).toEqual([{ name: ada.marker }]);
      expect(lastRows(outcome)).toEqual(OWN);
    },
  );

  it("a plan made for one tenant and run under no context is refused", async () => {
    const outcome = await attempt(app, contextOf(ada), [
      `prepare loot as ${NAMES}`,
      "execute loot",
      "reset app.tenant",
      "execute loot",
    ]);
    expect(outcome).toMatchObject({ error: { code: "28000" } });
    expect(shows(outcome, ada)).toBe(false);
  });

  it("a parameter holds no SQL", async () => {
    const found = await app.transaction([
      app`select set_config('app.tenant', ${contextOf(bob)}, true)`,
      app`select name from projects where name = ${`x' or tenant_id = '${ada.tenant}`}`,
    ]);
    expect(found.at(-1)).toEqual([]);
    const outcome = await inside(carol, `${NAMES} where name = 'x' or tenant_id = '${carol.tenant}'`);
    expect(shows(outcome, carol)).toBe(true);
  });
});

describe("a pooled connection that served Ada, then Bob", () => {
  const traces: [string, string[], string[], string | unknown[]][] = [
    ["a statement that she prepared", [`prepare loot as ${NAMES}`], ["execute loot"], "26000"],
    [
      "the list of prepared statements",
      [`prepare loot as select '$marker' as x`],
      ["select name from pg_prepared_statements where name = 'loot'"],
      [],
    ],
    [
      "a cursor WITH HOLD, its rows already read",
      [`declare loot cursor with hold for ${NAMES}`, "fetch 1 from loot"],
      ["fetch all from loot"],
      "34000",
    ],
    [
      "the list of cursors",
      [`declare loot cursor with hold for ${NAMES}`],
      ["select name from pg_cursors where name = 'loot'"],
      [],
    ],
    [
      "a setting that holds her content",
      ["select set_config('loot.name', name, false) from projects"],
      ["select nullif(current_setting('loot.name', true), '') as name"],
      [{ name: null }],
    ],
    [
      "her context, set for the session",
      ["select set_config('app.tenant', current_setting('app.tenant'), false)"],
      ["commit", "select current_setting('app.tenant') as context"],
      [{ context: "" }],
    ],
    [
      "her context, after his own is over",
      ["select set_config('app.tenant', current_setting('app.tenant'), false)"],
      ["commit", NAMES],
      "28000",
    ],
    [
      "a search_path for the session",
      ["set session search_path = pg_temp"],
      ["commit", "select current_setting('search_path') as path"],
      [{ path: `pg_catalog, ${PLACE.schema}, pg_temp` }],
    ],
    [
      "timeouts for the session",
      ["set session statement_timeout = 0", "set session lock_timeout = 0"],
      ["select current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') as t"],
      [{ t: "10s 5s" }],
    ],
    ["a channel that she listens to", ["listen loot"], ["select * from pg_listening_channels()"], []],
    [
      "a role",
      ["set session role partywall_app"],
      ["select current_user as name"],
      [{ name: "partywall_app" }],
    ],
    [
      "an advisory lock of the session",
      ["select pg_advisory_lock(7277)"],
      ["select count(*) from pg_locks where locktype = 'advisory' and objid = 7277"],
      [{ count: "0" }],
    ],
    [
      "READ ONLY for the session",
      ["set session characteristics as transaction read only"],
      ["select current_setting('default_transaction_read_only') as x"],
      [{ x: "off" }],
    ],
  ];

  it.each(traces)("%s: nothing of it is there", async (_, left, then, holds) => {
    const outcome = await onSameConnection(ada, left, then);
    if (typeof holds === "string") expect(outcome).toMatchObject({ error: { code: holds } });
    else expect(lastRows(outcome)).toEqual(holds);
    expect(shows(outcome, ada)).toBe(false);
  });

  // Inside one transaction nothing is reset, so that is where the probes can see.
  it.each(traces.filter(([name]) => !/role|context, after|channel/.test(name)))(
    "%s: its control",
    async (_, left, then, holds) => {
      const outcome = await inside(ada, ...left, ...then.filter((statement) => statement !== "commit"));
      expect([codeOf(outcome), lastRows(outcome)]).not.toEqual(
        typeof holds === "string" ? [holds, []] : [undefined, holds],
      );
      expect(outcome.error).toBeUndefined();
    },
  );

  it("a channel that she listens to: its control, once LISTEN is committed", async () => {
    const outcome = await inside(
      ada,
      "listen loot",
      "commit",
      "select * from pg_listening_channels() as name",
    );
    expect(lastRows(outcome)).toEqual([{ name: "loot" }]);
  });

  it("a temporary table, of whatever kind, cannot be left at all", async () => {
    for (const kind of [
      "table loot (x int)",
      "table loot as select 1 as x",
      "view loot as select 1 as x",
      "sequence loot",
    ])
      expect(await inside(ada, `create temp ${kind}`)).toMatchObject({ error: { code: "42501" } });
  });

  it("shows thirty requests at once of two tenants their own rows alone", async () => {
    const all = await Promise.all(
      Array.from({ length: 30 }, (_, at) => {
        const t = at % 2 ? ada : bob;
        return inside(t, NAMES).then((outcome) => ({ t, outcome }));
      }),
    );
    for (const { t, outcome } of all) expect(lastRows(outcome)).toEqual([{ name: t.marker }]);
  });
});

describe("timing", () => {
  const SLEEP_MS = 1_000;
  /** How long a statement takes inside Postgres, in ms. */
  async function took(t: Target, statement: string): Promise<number> {
    const now = "select extract(epoch from clock_timestamp()) * 1000 as ms";
    const { rows, error } = await inside(t, now, statement, now);
    expect(error).toBeUndefined();
    const [before, after] = [rows[0], rows[2]].map((found) =>
      Number((found?.[0] as { ms: string } | undefined)?.ms),
    );
    return (after ?? NaN) - (before ?? NaN);
  }

  it.each<[string, (t: Target) => string]>([
    [
      "a predicate that sleeps",
      // Of a column: what looks at none may run once for each row of the table, and tells their number alone.
      (t) =>
        `select from projects where tenant_id = '${t.tenant}' and pg_sleep(1 + 0 * length(name)) is null`,
    ],
    ["a sleep for each of the rows", (t) => `select pg_sleep(1) from projects where id = '${t.project}'`],
    [
      "a sleep if a guess is right",
      (t) => `select case when exists (select from projects where name = '${t.marker}') then pg_sleep(1) end`,
    ],
    [
      "a sleep for each first letter",
      (t) => `select pg_sleep(1) from tasks where title like '${t.marker.slice(0, 12)}%' limit 1`,
    ],
    [
      "a sleep in a join",
      (t) => `select from tasks, lateral (select pg_sleep(1)) s where project_id = '${t.project}'`,
    ],
  ])("%s takes no time for another tenant's rows, and its time for one's own", async (_, statement) => {
    expect(await took(bob, statement(ada))).toBeLessThan(SLEEP_MS);
    expect(await took(carol, statement(carol))).toBeGreaterThanOrEqual(SLEEP_MS);
  });
});

describe("denial of service", () => {
  it("has limits of time on every login of the Worker", async () => {
    const shown = `select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
      current_setting('idle_in_transaction_session_timeout') as idle`;
    for (const name of [
      "DATABASE_URL",
      "ACCOUNT_DATABASE_URL",
      "IDENTITY_DATABASE_URL",
      "OPERATOR_DATABASE_URL",
    ] as const)
      expect(await login(name).query(shown)).toEqual([{ statement: "10s", lock: "5s", idle: "10s" }]);
  });

  it.each([
    ["a sleep", "select pg_sleep(9)"],
    ["a loop", "do $$ begin loop perform 1; end loop; end $$"],
    ["a product", "select count(*) from generate_series(1, 1e9::bigint)"],
    [
      "a pattern that backtracks",
      String.raw`select repeat('a', 30) || '!' ~ '^((a+)+)(\1)+$' from generate_series(1, 1e9::bigint)`,
    ],
    [
      "an error caught",
      "do $$ begin loop begin perform pg_sleep(9); exception when others then null; end; end loop; end $$",
    ],
  ])("cuts %s when its time is up", async (_, statement) => {
    const outcome = await inside(bob, "set local statement_timeout = '150ms'", statement);
    expect(outcome).toMatchObject({ error: { code: "57014" } });
  });

  it("cuts a wait for a lock when its time is up", async () => {
    const lock = `select from projects where id = '${bob.project}' for update`;
    const waiter = await whileAsleep(
      AT_SITE.stage,
      (sleep) => inside(bob, lock, `select ${sleep}`),
      () => inside(bob, "set local lock_timeout = '20ms'", lock),
    );
    expect(codeOf(waiter)).toBe("55P03");
  });

  it("keeps no advisory lock beyond its request", async () => {
    await inside(ada, "select pg_advisory_lock(7278), pg_advisory_xact_lock(7279)");
    await expect
      .poll(async () => {
        const outcome = await inside(
          bob,
          "select pg_try_advisory_xact_lock(7278) and pg_try_advisory_xact_lock(7279) as free",
        );
        return lastRows(outcome);
      })
      .toEqual([{ free: true }]);
  });

  it.each([
    ["alter system set max_connections = 1", "25001"],
    [`alter database ${DATABASE} connection limit 0`, "42501"],
    ["alter role partywall_identity connection limit 0", "42501"],
    [`drop database ${DATABASE}`, "25001"],
    ["select pg_reload_conf()", "42501"],
    ["select pg_promote()", "42501"],
    ["select pg_switch_wal()", "42501"],
    ["select pg_create_restore_point('loot')", "42501"],
    ["select pg_backup_start('loot')", "42501"],
    ["select pg_rotate_logfile()", "42501"],
    ["checkpoint", "42501"],
    ["vacuum full projects", "25001"],
    ["reindex table projects", "42501"],
    ["cluster projects using projects_newest", "42501"],
    ["create index on projects (name)", "42501"],
    ["comment on table projects is 'loot'", "42501"],
    ["truncate projects cascade", "42501"],
    // In a database of its own a site has no control plane beside it.
    ["lock table control.users", SITE.host === null ? "42501" : "3F000"],
    ["load 'plpgsql'", "42501"],
    ["set local log_statement = 'all'", "42501"],
    ["set local temp_file_limit = -1", "42501"],
    ["prepare transaction 'loot'", "55000"],
  ])("refuses %s with SQLSTATE %s", async (statement, code) => {
    expect(await inside(bob, statement)).toMatchObject({ error: { code } });
  });

  it("does not refuse the owner an index: the control of the above", async () => {
    expect(await asOwner(carol, "create index on tasks (title)")).toMatchObject({ error: { code: UNDONE } });
  });

  it("lets no session of another role be cancelled or ended", async () => {
    const find = "select pid from pg_stat_activity where usename = 'partywall_account' limit 1";
    await whileAsleep(
      AT_SITE.stage,
      (sleep) => AT_SITE.courier.query(`select ${sleep}`),
      async () => {
        expect(lastRows(await inside(bob, find))).toHaveLength(1);
        for (const how of ["pg_cancel_backend", "pg_terminate_backend"])
          expect(await inside(bob, `select ${how}(pid) from (${find}) s`)).toMatchObject({
            error: { code: "42501" },
          });
      },
    );
  });
});
