import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NeonDbError, neon, neonConfig } from "@neondatabase/serverless";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Stack } from "../drizzle/local/stack.ts";
import { installPacked, type PackedProject } from "./support/node/packed.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** The endpoint as others get it: what is tested here is what `npm pack` packs. */
let project: PackedProject;
let stack: Stack;
let sql: ReturnType<typeof neon<false, true>>;
/** Begun first and looked at last, since it takes its time. */
let slow: Promise<Answer>;

beforeAll(async () => {
  project = await installPacked();
  stack = await project.startStack({ dir: mkdtempSync(join(tmpdir(), "local-")), ephemeral: true });
  neonConfig.fetchEndpoint = stack.endpoint;
  sql = neon(stack.superuserUrl, { fullResults: true });
  slow = post(query("select pg_sleep(60)"));
});

afterAll(async () => {
  await stack.stop();
  rmSync(project.dir, { recursive: true, force: true });
});

/** The error a query fails with; a query that succeeds fails the test. */
async function failure(query: Promise<unknown>): Promise<NeonDbError> {
  const nothing = Symbol("nothing");
  const error = await query.then(
    () => nothing,
    (reason: NeonDbError) => reason,
  );
  if (typeof error === "symbol") throw new Error("the query succeeded");
  return error;
}

type Answer = { status: number; body: Record<string, unknown> };

async function post(
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
  path = "/sql",
): Promise<Answer> {
  const response = await fetch(new URL(path, stack.endpoint), {
    method: "POST",
    headers: { "Neon-Connection-String": stack.superuserUrl, ...headers },
    body,
  });
  expect(response.headers.get("content-type")).toBe("application/json");
  return { status: response.status, body: JSON.parse(await response.text()) };
}

const query = (text: string, params: unknown[] = []): string => JSON.stringify({ query: text, params });

describe("values through the client", () => {
  it.each([
    ["int beyond 2^53", "int8", "9007199254740993", "9007199254740993"],
    ["int4", "int4", -7, -7],
    ["numeric", "numeric", "12345678901234567890.0123456789", "12345678901234567890.0123456789"],
    ["float8", "float8", 0.1, 0.1],
    ["NaN", "float8", "NaN", Number.NaN],
    ["bool", "bool", true, true],
    ["text", "text", "a'b\"c\\d\n", "a'b\"c\\d\n"],
    ["unicode", "text", "žluťoučký 🐎 𝄞 \u200d", "žluťoučký 🐎 𝄞 \u200d"],
    ["empty string", "text", "", ""],
    ["null", "text", null, null],
    [
      "timestamptz",
      "timestamptz",
      new Date("2026-01-02T03:04:05.678Z"),
      new Date("2026-01-02T03:04:05.678Z"),
    ],
    ["jsonb", "jsonb", { a: [1, null, "ü"], b: { c: true } }, { a: [1, null, "ü"], b: { c: true } }],
    ["int array", "int[]", [1, 2, 3], [1, 2, 3]],
    ["text array", "text[]", ["a,b", '"', "\\", "NULL", null, ""], ["a,b", '"', "\\", "NULL", null, ""]],
    [
      "nested array",
      "int[]",
      [
        [1, 2],
        [3, 4],
      ],
      [
        [1, 2],
        [3, 4],
      ],
    ],
    ["empty array", "text[]", [], []],
    ["uuid", "uuid", "0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000001"],
  ])("%s comes back as it went", async (_name, type, value, expected) => {
    const { rows } = await sql.query(`select $1::${type} as value`, [value]);
    expect(rows).toEqual([{ value: expected }]);
  });

  it("carries bytes both ways", async () => {
    const bytes = Buffer.from([0, 1, 127, 128, 255]);
    const { rows } = await sql`select ${bytes}::bytea as value, length(${bytes}::bytea) as length`;
    expect(Buffer.from(rows[0]?.["value"]).equals(bytes)).toBe(true);
    expect(rows[0]?.["length"]).toBe(5);
  });

  it("describes the columns of an empty result", async () => {
    const result = await sql`select 1 as a, 'x'::text as b where false`;
    expect(result).toMatchObject({ command: "SELECT", rowCount: 0, rows: [] });
    expect(result.fields).toMatchObject([
      {
        name: "a",
        dataTypeID: 23,
        dataTypeSize: 4,
        dataTypeModifier: -1,
        tableID: 0,
        columnID: 0,
        format: "text",
      },
      { name: "b", dataTypeID: 25 },
    ]);
  });

  it("answers statements with and without rows", async () => {
    expect(await sql`create table things (id int primary key, name text)`).toMatchObject({
      command: "CREATE",
      rowCount: null,
      rows: [],
      fields: [],
    });
    expect(await sql`insert into things values (1, 'a'), (2, 'b')`).toMatchObject({
      command: "INSERT",
      rowCount: 2,
    });
    const inserted = await sql`insert into things values (3, 'c') returning id, name`;
    expect(inserted).toMatchObject({ command: "INSERT", rowCount: 1, rows: [{ id: 3, name: "c" }] });
    expect(await sql`update things set name = 'z' where id > 1`).toMatchObject({
      command: "UPDATE",
      rowCount: 2,
    });
    expect(await sql`delete from things where id = 9`).toMatchObject({ command: "DELETE", rowCount: 0 });
    expect(await sql.query("")).toMatchObject({ command: "", rowCount: null, rows: [] });
  });

  it("gives arrays or objects, for a query and for each of a batch", async () => {
    expect((await sql.query("select 1 as a, 2 as b", [], { arrayMode: true })).rows).toEqual([[1, 2]]);
    expect((await sql.query("select 1 as a, 2 as b")).rows).toEqual([{ a: 1, b: 2 }]);
    const both = await post(
      '{"queries":[{"query":"select 1 as a","arrayMode":true},{"query":"select 2 as a"}]}',
    );
    expect(both.body["results"]).toMatchObject([
      { rows: [[1]], rowAsArray: true },
      { rows: [{ a: 2 }], rowAsArray: false },
    ]);
  });

  it("carries a result of 10 MB while it answers others", async () => {
    const big = sql`select n, repeat('0123456789', 100) as text from generate_series(1, 10000) n`;
    const [{ rows }, small] = await Promise.all([big, sql`select 1 as one`]);
    expect(rows).toHaveLength(10_000);
    expect(rows[9999]).toEqual({ n: 10_000, text: "0123456789".repeat(100) });
    expect(small.rows).toEqual([{ one: 1 }]);
  });

  it("takes a parameter of 10 MB", async () => {
    const { rows } = await sql`select length(${"ü".repeat(5_000_000)}) as length`;
    expect(rows).toEqual([{ length: 5_000_000 }]);
  });

  it("refuses a result of more than 10 MiB, counted in bytes over the whole batch, and goes on", async () => {
    for (const refused of [
      failure(sql`select repeat('x', 1024 * 1024) from generate_series(1, 10)`),
      failure(sql`select repeat('ü', 512 * 1024) from generate_series(1, 10)`),
      failure(sql.transaction([1, 2].map(() => sql`select repeat('x', 5 * 1024 * 1024)`))),
    ])
      expect((await refused).message).toMatch(/507.*response is too large \(max is 10485760 bytes\)/);
    expect((await sql`select 1 as one`).rows).toEqual([{ one: 1 }]);
  });
});

describe("values without raw text", () => {
  it("converts as Neon's proxy does, and leaves all else text", async () => {
    const { status, body } = await post(
      query(`select true as b, 1::int2 as i2, 2::int4 as i4, 3::int8 as i8, 1.5::float8 as f, 'NaN'::float4 as nan,
        1.10::numeric as n, '{"a":[1,null]}'::jsonb as j, null::int as x, '{{1,2},{3,NULL}}'::int[] as a,
        array['a,"b\\', null, 'NULL', ''] as t, '[0:1]={t,f}'::bool[] as bounds, '{}'::text[] as e,
        array['{"k":1}'::jsonb] as js`),
    );
    expect(status).toBe(200);
    expect(body["rowAsArray"]).toBe(false);
    expect(body["rows"]).toEqual([
      {
        b: true,
        i2: 1,
        i4: 2,
        i8: "3",
        f: 1.5,
        nan: "NaN",
        n: "1.10",
        j: { a: [1, null] },
        x: null,
        a: [
          [1, 2],
          [3, null],
        ],
        t: ['a,"b\\', null, "NULL", ""],
        bounds: [true, false],
        e: [],
        js: [{ k: 1 }],
      },
    ]);
  });

  it("honours raw text and array mode one by one", async () => {
    const text = query('select 1 as "a""ü", true as b, null as c');
    expect((await post(text, { "Neon-Array-Mode": "true" })).body["rows"]).toEqual([[1, true, null]]);
    expect((await post(text, { "Neon-Raw-Text-Output": "true" })).body["rows"]).toEqual([
      { 'a"ü': "1", b: "t", c: null },
    ]);
  });

  it("turns JSON parameters into Postgres text", async () => {
    const params = [1, true, null, { a: 1 }, [1, [2], 'x"y\\', null], "s"];
    const { body } = await post(
      query("select $1::text, $2::text, $3::text, $4::text, $5::text, $6::text", params),
      {
        "Neon-Array-Mode": "true",
      },
    );
    expect(body["rows"]).toEqual([["1", "true", null, '{"a":1}', '{1,{2},"x\\"y\\\\",NULL}', "s"]]);
  });

  it("keeps every digit of a JSON number, also inside an array or an object", async () => {
    const params =
      '[9007199254740993, 0.12345678901234567890, [-9007199254740993], {"a":[9007199254740993]}]';
    const text = "select $1::text as a, $2::text as b, $3::int8[]::text as c, $4::text as d";
    const { body } = await post(`{"query":${JSON.stringify(text)},"params":${params}}`);
    expect(body["rows"]).toEqual([
      {
        a: "9007199254740993",
        b: "0.12345678901234567890",
        c: "{-9007199254740993}",
        d: '{"a":[9007199254740993]}',
      },
    ]);
  });
});

describe("batches", () => {
  it("is one transaction, answered in order", async () => {
    const results = await sql.transaction([
      sql`select txid_current()::text as x`,
      sql`select txid_current()::text as x`,
    ]);
    expect(results).toHaveLength(2);
    expect(results[0]?.rows).toEqual(results[1]?.rows);
  });

  it("answers an empty batch with no results", async () => {
    expect(await sql.transaction([])).toEqual([]);
  });

  it("rolls everything back and names the statement that failed", async () => {
    await sql`create table rolled (id int)`;
    const error = await failure(
      sql.transaction([
        sql`insert into rolled values (1)`,
        sql`select * from nowhere`,
        sql`insert into rolled values (2)`,
      ]),
    );
    expect(error).toMatchObject({
      code: "42P01",
      message: 'relation "nowhere" does not exist',
      position: "15",
    });
    expect((await sql`select * from rolled`).rows).toEqual([]);
  });

  it("fails when a deferred constraint fails at COMMIT", async () => {
    await sql`create table parents (id int primary key)`;
    await sql`create table children (parent int references parents deferrable initially deferred)`;
    const error = await failure(sql.transaction([sql`insert into children values (1)`, sql`select 1`]));
    expect(error).toMatchObject({ code: "23503", constraint: "children_parent_fkey", table: "children" });
    expect((await sql`select * from children`).rows).toEqual([]);
  });

  it.each([
    ["ReadUncommitted", "read uncommitted"],
    ["ReadCommitted", "read committed"],
    ["RepeatableRead", "repeatable read"],
    ["Serializable", "serializable"],
  ] as const)("runs at isolation level %s", async (isolationLevel, shown) => {
    const [result] = await sql.transaction([sql`show transaction_isolation`], { isolationLevel });
    expect(result?.rows).toEqual([{ transaction_isolation: shown }]);
  });

  it("runs serializable, read only and deferrable at once", async () => {
    const settings = sql`select current_setting('transaction_isolation') as level,
      current_setting('transaction_read_only') as read_only, current_setting('transaction_deferrable') as deferrable`;
    const options = { isolationLevel: "Serializable", readOnly: true, deferrable: true } as const;
    const [result] = await sql.transaction([settings], options);
    expect(result?.rows).toEqual([{ level: "serializable", read_only: "on", deferrable: "on" }]);
  });

  it("refuses to write in a read-only batch", async () => {
    const error = await failure(sql.transaction([sql`create table nope ()`], { readOnly: true }));
    expect(error).toMatchObject({ code: "25006" });
  });

  it.each(['{"queries":[]}', query("select 1")])("refuses an unknown isolation level of %s", async (text) => {
    const { status, body } = await post(text, { "Neon-Batch-Isolation-Level": "Chaos" });
    expect(status).toBe(400);
    expect(body["message"]).toBe("invalid isolation level");
  });

  it("confirms in headers how the transaction ran, if it was one and ran", async () => {
    const asked = {
      "Neon-Batch-Isolation-Level": "Serializable",
      "Neon-Batch-Read-Only": "true",
      "Neon-Batch-Deferrable": "false",
    };
    const told = async (body: string) => {
      const headers = { "Neon-Connection-String": stack.superuserUrl, ...asked };
      const answer = await fetch(stack.endpoint, { method: "POST", headers, body });
      return Object.keys(asked).map((name) => answer.headers.get(name));
    };
    expect(await told('{"queries":[{"query":"select 1"}]}')).toEqual(["Serializable", "true", null]);
    expect(await told(query("select 1"))).toEqual([null, null, null]);
    expect(await told('{"queries":[{"query":"selec"}]}')).toEqual([null, null, null]);
  });
});

describe("errors", () => {
  it("carries every field of a unique violation", async () => {
    await sql`create table people (email text constraint people_email_key unique)`;
    await sql`insert into people values ('a@b.c')`;
    expect(await failure(sql`insert into people values ('a@b.c')`)).toMatchObject({
      name: "NeonDbError",
      message: 'duplicate key value violates unique constraint "people_email_key"',
      severity: "ERROR",
      code: "23505",
      detail: "Key (email)=(a@b.c) already exists.",
      schema: "public",
      table: "people",
      constraint: "people_email_key",
      routine: "_bt_check_unique",
    });
  });

  it("carries column, hint, where and the inner query", async () => {
    await sql`create table needs (id int not null)`;
    expect(await failure(sql`insert into needs values (null)`)).toMatchObject({
      code: "23502",
      column: "id",
    });
    expect(await failure(sql`select lenght('x')`)).toMatchObject({ code: "42883", hint: expect.any(String) });
    const inner = await failure(sql`do $$ begin execute 'select * from gone'; end $$`);
    expect(inner).toMatchObject({ internalQuery: "select * from gone", internalPosition: "15" });
    expect(inner.where).toContain("PL/pgSQL");
  });

  it("has every field in the body, null when Postgres gave none", async () => {
    const { status, body } = await post(query("selec"));
    expect(status).toBe(400);
    expect(body).toMatchObject({
      code: "42601",
      severity: "ERROR",
      position: "1",
      detail: null,
      constraint: null,
    });
    expect(Object.keys(body)).toHaveLength(17);
  });

  it.each([
    ["two statements in one", "select 1; select 2", "42601"],
    ["COPY FROM STDIN", "copy pg_class from stdin", "0A000"],
    ["COPY TO STDOUT", "copy pg_class to stdout", "0A000"],
    ["a NUL in the text", "select 'a\0b'", "22021"],
  ])("refuses %s and goes on", async (_name, text, code) => {
    expect(await failure(sql.query(text))).toMatchObject({ code });
    expect((await sql`select 1 as one`).rows).toEqual([{ one: 1 }]);
  });

  it("refuses COPY in the middle of a batch, which is rolled back", async () => {
    await sql`create table copied (id int)`;
    await failure(
      sql.transaction([sql`insert into copied values (1)`, sql`copy copied from stdin`, sql`select 1`]),
    );
    expect((await sql`select * from copied`).rows).toEqual([]);
  });

  it("refuses a NUL in a parameter, and too many parameters", async () => {
    expect(await failure(sql`select ${"a\0b"}::text`)).toMatchObject({ code: "22021" });
    const params = Array.from({ length: 65_536 }, () => "1");
    expect(await failure(sql.query("select 1", params))).toMatchObject({ code: "54000" });
  });
});

describe("requests that are not queries", () => {
  it.each([
    ["no JSON", "{", 400, "could not parse the HTTP request body"],
    ["half of a surrogate pair", '{"query":"select $1::text","params":["\\ud800"]}', 400, "could not parse"],
    ["half of one in a key", '{"query":"select 1","\\udc00":1}', 400, "could not parse"],
    ["JSON of another shape", '{"sql":"select 1"}', 400, "The body must be"],
    ["no object", "null", 400, "The body must be"],
    ["a query that is no text", '{"query":1}', 400, "The body must be"],
    ["parameters that are no list", '{"query":"select 1","params":{}}', 400, "The body must be"],
    ["an array mode that is neither", '{"query":"select 1","arrayMode":1}', 400, "The body must be"],
    ["a batch that is no list", '{"queries":{}}', 400, "The body must be"],
    ["a batch with no query in it", '{"queries":[null]}', 400, "The body must be"],
  ])("answers %s with an error", async (_name, body, status, message) => {
    const answer = await post(body);
    expect(answer.status).toBe(status);
    expect(answer.body["message"]).toContain(message);
    expect(answer.body).toMatchObject({ code: "", severity: "", detail: null });
  });

  it.each([
    ["that is not UTF-8", '{"query":"select 1","params":["\xff"]}'],
    ["with half of a surrogate pair in UTF-8", '{"query":"select 1","params":["\xed\xa0\x80"]}'],
    ["with a byte order mark", '\xef\xbb\xbf{"query":"select 1"}'],
  ])("refuses a body %s", async (_name, bytes) => {
    const answer = await post(Uint8Array.from(Buffer.from(bytes, "latin1")));
    expect(answer).toMatchObject({ status: 400, body: { code: "" } });
    expect(answer.body["message"]).toContain("could not parse the HTTP request body");
  });

  it.each([
    ["", "missing"],
    ["nonsense", "not a URL"],
    ["mysql://a:b@c/d", "scheme"],
    ["postgres://c/d", "no user"],
    ["postgres://a@c/d", "no password"],
    ["postgres://a:b@c", "no database"],
    ["postgres://a:b@c/", "no database"],
    ["postgres://a:%zz@c/d", "percent-encoding"],
    ["postgres://a:b@c/d%00x", "NUL"],
  ])("refuses the connection string %j", async (connectionString, message) => {
    const { status, body } = await post(query("select 1"), { "Neon-Connection-String": connectionString });
    expect(status).toBe(400);
    expect(body["message"]).toContain(message);
  });

  it("answers other paths and methods with 404 and 405", async () => {
    expect(await post("{}", {}, "/other")).toMatchObject({ status: 404, body: { code: "" } });
    const response = await fetch(stack.endpoint);
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("POST");
    expect(await response.json()).toMatchObject({ message: expect.stringContaining("POST /sql") });
  });

  it("refuses a body of more than 10 MiB, whether its length is announced or not", async () => {
    const chunk = new Uint8Array(1024 * 1024).fill(32);
    const most = query("select 1").padEnd(10 * 1024 * 1024);
    expect(await post(most)).toMatchObject({ status: 200 });
    expect(await post(`${most} `)).toMatchObject({ status: 413 });
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        sent += 1;
        if (sent <= 11) controller.enqueue(chunk);
        else controller.close();
      },
    });
    const response = await fetch(stack.endpoint, {
      method: "POST",
      headers: { "Neon-Connection-String": stack.superuserUrl },
      body,
      duplex: "half",
    });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ message: "request is too large (max is 10485760 bytes)" });
  });

  it("cuts a request off after 15 seconds, as Neon does, and cancels its query", async () => {
    const answer = await slow;
    expect(answer.status).toBe(504);
    expect(answer.body["message"]).toContain("execution time exceeded 15 seconds");
    const running = "select count(*)::int as n from pg_stat_activity where query like 'select pg_sleep%'";
    await expect.poll(async () => (await sql.query(running)).rows).toEqual([{ n: 0 }]);
  });

  it("listens on loopback alone", async () => {
    expect(new URL(stack.endpoint).hostname).toBe("127.0.0.1");
    expect((await sql`show listen_addresses`).rows).toEqual([{ listen_addresses: "127.0.0.1" }]);
    expect((await sql`show unix_socket_directories`).rows).toEqual([{ unix_socket_directories: "" }]);
  });
});
