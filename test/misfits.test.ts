import { sql } from "drizzle-orm";
import {
  bigint,
  boolean,
  char,
  check,
  cidr,
  date,
  doublePrecision,
  foreignKey,
  inet,
  integer,
  interval,
  jsonb,
  macaddr,
  numeric,
  pgSchema,
  point,
  real,
  smallint,
  text,
  time,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
  varchar,
} from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/neon-http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as v from "valibot";
import { factory } from "../src/context.ts";
import { rethrow } from "../src/db/client.ts";
import { answerProblem, observe } from "../src/edge/gateway.ts";
import type { Fault } from "../src/http/faults.ts";
import { rowsOf } from "../src/http/rows.ts";
import { IdempotencyKey } from "../src/http/idempotency.ts";
import { IfMatch } from "../src/http/etag.ts";
import { ById, valid } from "../src/http/valid.ts";
import type { TenantDb } from "../src/tenant-db.ts";
import { stage } from "./support/client.ts";

// What a column cannot hold is the client's fault: 422 that points at it, whatever schema let it pass.

const schema = pgSchema("misfits");
const mood = schema.enum("mood", ["glad", "sad"]);
const parents = schema.table("parents", { id: uuid("id").primaryKey() });
const things = schema.table(
  "things",
  {
    id: uuid("id")
      .primaryKey()
      .$defaultFn(() => crypto.randomUUID()),
    version: integer("version").notNull().default(1),
    created_at: timestamp("created_at").notNull().defaultNow(),
    updated_at: timestamp("updated_at").notNull().defaultNow(),
    small: smallint("small"),
    number: integer("number"),
    big: bigint("big", { mode: "number" }),
    bigger: bigint("bigger", { mode: "bigint" }),
    single: real("single"),
    double: doublePrecision("double"),
    money: numeric("money", { precision: 12, scale: 2 }),
    exact: numeric("exact"),
    some: varchar("some", { length: 4 }),
    five: char("five", { length: 5 }),
    kind: text("kind", { enum: ["one", "two"] }),
    truth: boolean("truth"),
    name: uuid("name"),
    day: date("day", { mode: "string" }),
    clock: time("clock"),
    at: timestamp("at", { withTimezone: true, mode: "string" }),
    span: interval("span"),
    document: jsonb("document"),
    list: integer("list").array(),
    host: inet("host"),
    network: cidr("network"),
    device: macaddr("device"),
    place: point("place", { mode: "xy" }),
    mood: mood("mood"),
    parent: uuid("parent_id"),
    positive: integer("positive"),
    low: integer("low"),
    high: integer("high"),
    code: text("code"),
    needed: text("needed").notNull().default("here"),
  },
  (t) => [
    foreignKey({ name: "things_parent", columns: [t.parent], foreignColumns: [parents.id] }),
    unique("things_code").on(t.code),
    uniqueIndex("things_edges").on(t.low, t.high),
    check("positive", sql`${t.positive} > 0`),
    check("ordered", sql`low < high`),
  ],
);

/** A value that the column holds, and some that it does not. */
const VALUES: Record<string, { fits: unknown; misfits: unknown[] }> = {
  small: { fits: 1, misfits: [32_768, -32_769, 1.5] },
  number: { fits: 1, misfits: [2 ** 31, 1e300, 0.1] },
  big: { fits: Number.MAX_SAFE_INTEGER, misfits: [2 ** 63, -1e19] },
  bigger: { fits: 2n ** 63n - 1n, misfits: [2n ** 63n] },
  single: { fits: 1.5, misfits: [1e39] },
  double: { fits: 1e300, misfits: ["1e400", "x"] },
  money: { fits: "9999999999.994", misfits: ["10000000000", "9999999999.995", "-1e11", "1,5", "x", ""] },
  exact: { fits: "1".repeat(40), misfits: ["x", "1.2.3"] },
  some: { fits: "häus", misfits: ["house"] },
  five: { fits: "house", misfits: ["houses"] },
  kind: { fits: "one", misfits: ["three"] },
  truth: { fits: true, misfits: ["perhaps"] },
  name: { fits: crypto.randomUUID(), misfits: ["x", "01234567-89ab-7cde-8f01-23456789abcg"] },
  day: { fits: "2028-02-29", misfits: ["2026-02-30", "2026-13-01", "tomorrow", "0000-01-01"] },
  clock: { fits: "23:59:59", misfits: ["25:00", "noon o'clock"] },
  at: { fits: "2026-02-28T12:00:00Z", misfits: ["2026-02-30T12:00:00Z", "later", "300000-01-01"] },
  span: { fits: "1 day", misfits: ["long", "999999999 years"] },
  document: { fits: { a: 1 }, misfits: [{ a: "\0" }] },
  list: { fits: [1, 2], misfits: [[2 ** 31], "x"] },
  host: { fits: "::1", misfits: ["example.com"] },
  network: { fits: "10.0.0.0/8", misfits: ["10.0.0.1/8"] },
  device: { fits: "08:00:2b:01:02:03", misfits: ["x"] },
  mood: { fits: "glad", misfits: ["angry"] },
  parent: { fits: null, misfits: [crypto.randomUUID()] },
  positive: { fits: 1, misfits: [0] },
};
/** What only Postgres can tell: the answer points at the whole body. */
const BY_POSTGRES = new Set([
  "double",
  "exact",
  "truth",
  "clock",
  "at",
  "span",
  "document",
  "host",
  "network",
  "device",
]);

const Thing = v.object({ id: v.string() });
const rows = rowsOf(things, Thing);
const db = drizzle(stage);
const tenantDb: TenantDb = {
  read: () => {
    throw new Error("nothing is read");
  },
  async write(queries) {
    const named = Object.entries(typeof queries === "function" ? queries(db) : queries);
    const items = named.map(([, each]) => each);
    const results = await db.batch(items as never).catch(rethrow);
    return Object.fromEntries(named.map(([name], index) => [name, results[index]])) as never;
  },
};
let sent: Record<string, unknown>;
const app = factory
  .createApp()
  .use(observe, (c, next) => {
    c.set("db", tenantDb);
    return next();
  })
  .post("/", valid("header", IdempotencyKey), async (c) => c.json(await rows.create(c, sent), 201))
  .patch("/:id", valid("param", ById), valid("header", IfMatch), async (c) =>
    c.json(await rows.change(c, sent)),
  )
  .delete("/:id", valid("param", ById), valid("header", IfMatch), async (c) => c.json(await rows.remove(c)))
  .onError(answerProblem);

beforeAll(async () => {
  await stage.transaction([
    stage`create schema misfits`,
    stage`create type misfits.mood as enum ('glad', 'sad')`,
    stage`create table misfits.parents (id uuid primary key)`,
    stage`create table misfits.things (
      id uuid primary key, version int not null default 1, created_at timestamp not null default now(),
      updated_at timestamp not null default now(), small smallint, number int, big bigint, bigger bigint, single real,
      double float8, money numeric(12, 2), exact numeric, "some" varchar(4), five char(5), kind text, truth boolean, name uuid,
      day date, clock time, at timestamptz, span interval, document jsonb, list int[], host inet, network cidr, device macaddr,
      place point, mood misfits.mood, parent_id uuid constraint things_parent references misfits.parents, positive int,
      low int, high int, code text constraint things_code unique, needed text not null default 'here', constraint positive check (positive > 0),
      constraint ordered check (low < high),
      constraint apart exclude using gist (int4range(low, high) with &&) where (low >= 1000))`,
    stage`create unique index things_edges on misfits.things (low, high)`,
    stage`create table misfits.parts (
      thing_id uuid references misfits.things on delete restrict, also_of uuid references misfits.things)`,
  ]);
});
afterAll(() => stage`drop schema misfits cascade`);

const headers = { "content-type": "application/json" };
async function answerTo(method: "POST" | "PATCH", values: Record<string, unknown>, path = "/") {
  sent = values;
  const response = await app.request(path, { method, headers, body: "{}" });
  const { errors, ...rest } = await response.json<{ id?: string; errors?: Fault[] }>();
  const [pointers, details] = [errors?.map(({ pointer }) => pointer), errors?.map(({ detail }) => detail)];
  return { status: response.status, pointers, details, ...rest };
}

describe.each(Object.keys(VALUES))("a column %s", (name) => {
  const { fits, misfits } = VALUES[name] ?? { fits: undefined, misfits: [] };

  it("takes what it can hold", async () => {
    expect(await answerTo("POST", { [name]: fits })).toMatchObject({ status: 201 });
  });

  it.each(misfits.map(String))(
    "refuses %s with 422, when a row is made and when it is changed",
    async (shown) => {
      const misfit = misfits.find((each) => String(each) === shown);
      const pointers = [BY_POSTGRES.has(name) ? "" : `/${name}`];
      const { id } = await answerTo("POST", {});
      for (const [method, path] of [
        ["POST", "/"],
        ["PATCH", `/${id}`],
      ] as const)
        expect(await answerTo(method, { [name]: misfit }, path)).toMatchObject({ status: 422, pointers });
    },
  );
});

it("says of several values what is wrong with each", async () => {
  const { status, pointers } = await answerTo("POST", { day: "2026-02-30", small: 1e9, money: "x" });
  expect(status).toBe(422);
  expect(new Set(pointers)).toEqual(new Set(["/day", "/small", "/money"]));
});

it("names the members of a CHECK of several and points at none, and points at a column that needs a value", async () => {
  expect(await answerTo("POST", { low: 2, high: 1 })).toMatchObject({
    status: 422,
    pointers: [""],
    details: ["Values that are not allowed together: low, high."],
  });
  expect(await answerTo("POST", { needed: null })).toMatchObject({ status: 422, pointers: ["/needed"] });
});

it.each(["thing_id", "also_of"])(
  "keeps a row that another one refers to by %s, and says so",
  async (column) => {
    const { id } = await answerTo("POST", {});
    await stage.query(`insert into misfits.parts (${column}) values ($1)`, [id]);
    const remove = () => Promise.resolve(app.request(`/${id}`, { method: "DELETE" }));
    const refused = await remove();
    expect(refused.status).toBe(409);
    expect(await refused.json()).toMatchObject({ code: "row_in_use" });
    await stage.query(`delete from misfits.parts where ${column} = $1`, [id]);
    expect((await remove()).status).toBe(200);
  },
);

it("answers a value that another row has with 409, which points at it, also when a row is changed", async () => {
  const code = crypto.randomUUID();
  await answerTo("POST", { code, low: -7, high: -6 });
  const { id } = await answerTo("POST", {});
  for (const [method, path] of [
    ["POST", "/"],
    ["PATCH", `/${id}`],
  ] as const) {
    const taken = await answerTo(method, { code }, path);
    expect(taken).toMatchObject({ status: 409, code: "value_taken", pointers: ["/code"] });
    const pair = await answerTo(method, { low: -7, high: -6 }, path);
    expect(pair).toMatchObject({ status: 409, code: "value_taken", pointers: [""] });
  }
});

it("answers a row that an exclusion constraint keeps out with 409, also when a row is changed", async () => {
  expect(await answerTo("POST", { low: 1000, high: 1010 })).toMatchObject({ status: 201 });
  expect(await answerTo("POST", { low: 1005, high: 1015 })).toMatchObject({
    status: 409,
    code: "value_taken",
    pointers: [""],
  });
  const { id } = await answerTo("POST", { low: 1010, high: 1020 });
  const moved = await answerTo("PATCH", { low: 1009 }, `/${id}`);
  expect(moved).toMatchObject({ status: 409, code: "value_taken" });
});
