import fc from "fast-check";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { parse, type Fault } from "../src/http/faults.ts";
import { factory } from "../src/context.ts";
import { valid } from "../src/http/valid.ts";
import { listOf } from "../src/list-of.ts";
import { answerProblem, observe } from "../src/edge/gateway.ts";

const RUNS = Number(process.env["PROPERTY_RUNS"]);

/** What is wrong with a value, and how often its schema was asked. */
async function faultsIn(schemaOf: (asked: v.GenericSchema) => v.GenericSchema, value: unknown) {
  let asked = 0;
  const part = v.pipe(
    v.unknown(),
    v.check(() => {
      asked += 1;
      return false;
    }),
  );
  const parsed = await parse(schemaOf(part), value);
  return { faults: "faults" in parsed ? parsed.faults : [], asked };
}

const wide = Array.from({ length: 120_000 }, (_, index) => index);
const named = Object.fromEntries(wide.map((index) => [`k${index}`, index]));

it("looks at no item of a list that is too long, also of one whose items are valid", async () => {
  const { faults, asked } = await faultsIn((part) => v.object({ list: v.nullable(listOf(part, 1, 5)) }), {
    list: wide,
  });
  expect(faults).toEqual([{ pointer: "/list", detail: "Expected at most 5 items." }]);
  expect(asked).toBe(0);
});

describe("of a value with 120,000 faults, 20 are looked for", () => {
  it.each<[string, (part: v.GenericSchema) => v.GenericSchema, unknown]>([
    ["in an array", (part) => v.array(part), wide],
    ["in a record", (part) => v.record(v.string(), part), named],
    ["in a record's names", (part) => v.record(part as v.GenericSchema<string>, v.unknown()), named],
    ["in arrays of arrays", (part) => v.array(v.array(part)), wide.map((index) => [index])],
    ["in objects", (part) => v.array(v.strictObject({ a: part })), wide.map((a) => ({ a }))],
    ["deep inside", (part) => v.object({ a: v.object({ b: v.array(part) }) }), { a: { b: wide } }],
    ["behind a maximum", (part) => v.pipe(v.array(part), v.maxLength(5)), wide],
    ["in an array that may be left out", (part) => v.optional(v.nullable(v.array(part))), wide],
  ])("%s", async (_, schemaOf, value) => {
    const { faults, asked } = await faultsIn(schemaOf, value);
    expect(faults).toHaveLength(20);
    expect(asked).toBe(20);
  });

  it("each item is asked about once where it is valid", async () => {
    const parsed = await parse(v.array(v.number()), wide);
    expect(parsed).toEqual({ output: wide });
  });
});

it("a value that is too long is told of once, and no check after that one is made", async () => {
  const Scopes = v.pipe(
    v.array(v.string()),
    v.maxLength(3),
    v.checkItems(() => false),
  );
  const parsed = await parse(
    Scopes,
    wide.map((index) => String(index)),
  );
  expect(parsed).toEqual({
    faults: [{ pointer: "", detail: "Expected at most 3 items." }],
  });
});

it("says nothing of the value that it refuses", async () => {
  const secret = "a secret that was put into the wrong member";
  const schema = v.strictObject({
    email: v.optional(v.pipe(v.string(), v.email())),
    role: v.optional(v.picklist(["admin", "member"])),
    age: v.optional(v.number()),
    slug: v.optional(v.pipe(v.string(), v.startsWith("x"))),
  });
  for (const name of ["email", "role", "age", "slug"]) {
    const { faults } = (await parse(schema, { [name]: secret })) as { faults: Fault[] };
    expect(faults).toHaveLength(1);
    expect(faults[0]?.detail).not.toContain("secret");
  }
  expect(await parse(schema, { [secret]: 1 })).toEqual({
    faults: [{ pointer: `/${secret}`, detail: "There is no such member here." }],
  });
});

it.each<[string, v.GenericSchema, unknown]>([
  ["This is missing.", v.strictObject({ a: v.string() }), {}],
  ["There is no such member here.", v.strictObject({}), { a: 1 }],
  ["Expected a string.", v.object({ a: v.string() }), { a: 1 }],
  ["Expected a string or null.", v.object({ a: v.union([v.string(), v.null()]) }), { a: 1 }],
  ['Expected "active" or "archived".', v.object({ a: v.picklist(["active", "archived"]) }), { a: "open" }],
  ["Expected an array.", v.object({ a: v.array(v.string()) }), { a: "x" }],
  ["Expected an object.", v.object({ a: v.strictObject({}) }), { a: "x" }],
  ["Expected true or false.", v.object({ a: v.boolean() }), { a: "x" }],
  ["Expected at least 8 characters.", v.object({ a: v.pipe(v.string(), v.minLength(8)) }), { a: "x" }],
  ["Expected at least 1 character.", v.object({ a: v.pipe(v.string(), v.nonEmpty()) }), { a: "" }],
  ["Expected at least 1 item.", v.object({ a: listOf(v.string(), 1, 5) }), { a: [] }],
  ["Expected exactly 2 items.", v.object({ a: v.pipe(v.array(v.number()), v.length(2)) }), { a: [1] }],
  ["Expected at most 60.", v.object({ a: v.pipe(v.number(), v.maxValue(60)) }), { a: 61 }],
  ["Expected a whole number.", v.object({ a: v.pipe(v.number(), v.integer()) }), { a: 1.5 }],
  ["Expected an email address.", v.object({ a: v.pipe(v.string(), v.rfcEmail()) }), { a: "x" }],
  ["Expected another value.", v.object({ a: v.pipe(v.string(), v.startsWith("x")) }), { a: "y" }],
  [
    "Expected a day.",
    v.object({
      a: v.pipe(
        v.string(),
        v.check(() => false, "a day"),
      ),
    }),
    { a: "y" },
  ],
  [
    "No day.",
    v.object({
      a: v.pipe(
        v.string(),
        v.check(() => false, "No day."),
      ),
    }),
    { a: "y" },
  ],
])("says what is wrong as a sentence: %s", async (detail, schema, value) => {
  expect(await parse(schema, value)).toEqual({ faults: [{ pointer: "/a", detail }] });
});

it("tells of a value nested 32 levels deep what its schema says, and of a deeper one that it is deeper", async () => {
  const nested = (levels: number, innermost: unknown): unknown =>
    levels === 0 ? innermost : { a: nested(levels - 1, innermost) };
  const value = nested(32, "x");
  expect(await parse(v.unknown(), value)).toEqual({ output: value });
  const deeper = { faults: [{ pointer: "", detail: "This is nested deeper than 32 levels." }] };
  expect(await parse(v.unknown(), nested(33, "x"))).toEqual(deeper);
  expect(
    await parse(
      v.unknown(),
      nested(
        33,
        wide.map(() => "\0"),
      ),
    ),
  ).toEqual(deeper);
});

it("points at what encloses a value where a pointer would be longer than 200 characters", async () => {
  const long = "n".repeat(199);
  const at = async (value: unknown) =>
    ((await parse(v.unknown(), value)) as { faults: Fault[] }).faults[0]?.pointer;
  expect(await at({ [long]: "\0" })).toBe(`/${long}`);
  expect(await at({ [`${long}n`]: "\0" })).toBe("");
  expect(await at({ a: { ["~".repeat(100)]: "\0" } })).toBe("/a");
  expect(await at({ a: { ["~".repeat(98)]: ["\0"] } })).toBe(`/a/${"~0".repeat(98)}`);
});

it("finds a name and a text with U+0000 or half of a surrogate pair, wherever they are", async () => {
  const odd = fc.constantFrom("\0", "a\0b", "\ud83c", "\udfe0x");
  const fit = fc.string({ unit: "binary", maxLength: 5 }).filter((text) => !text.includes("\0"));
  const around = fc.array(fc.oneof(fit, fc.constant(0)), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(odd, fc.boolean(), around, async (text, isName, keys) => {
      const inside: unknown = isName ? { [text]: 1 } : text;
      const value = keys.reduceRight(
        (within: unknown, key) => (typeof key === "number" ? [within] : { [key]: within }),
        inside,
      );
      const found = (await parse(v.unknown(), value)) as { faults: Fault[] };
      const steps = [...keys, ...(isName ? [text] : [])];
      expect(found.faults).toEqual([
        {
          pointer: steps
            .map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`)
            .join(""),
          detail: `This ${isName ? "name" : "text"} has U+0000 or half of a surrogate pair in it.`,
        },
      ]);
      expect(await parse(v.unknown(), keys)).toEqual({ output: keys });
    }),
    { numRuns: RUNS },
  );
});

it("finds 20 texts that Postgres cannot hold, and no more", async () => {
  const value = [1, Object.fromEntries(wide.map((index) => [`\0${index}`, "\0"]))];
  expect(await parse(v.unknown(), value)).toHaveProperty("faults.length", 20);
});

describe("a part of a request that is no body", () => {
  const Free = v.object({ q: v.optional(v.string()), "x-free": v.optional(v.string()) });
  const app = factory
    .createApp()
    .use(observe)
    .get("/query", valid("query", Free), (c) => c.json(c.req.valid("query")))
    .get("/header", valid("header", Free), (c) => c.json(c.req.valid("header")))
    .get("/param/:q", valid("param", Free), (c) => c.json(c.req.valid("param")))
    .post("/form", valid("form", Free), (c) => c.json(c.req.valid("form")))
    .onError(answerProblem);
  const form = (body: string) =>
    app.request("/form", {
      method: "POST",
      body,
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });

  it("is refused with U+0000 in it, which no column of text takes", async () => {
    expect((await app.request("/query?q=a%00b")).status).toBe(422);
    expect((await app.request("/param/a%00b")).status).toBe(404);
    expect((await form("q=a%00b")).status).toBe(422);
    expect(await (await app.request("/param/%F0%9F%8F%A0")).json()).toEqual({ q: "🏠" });
    expect(await (await form("q=a+%C3%A4&other=1")).json()).toEqual({ q: "a ä" });
    expect(await (await app.request("/header", { headers: { "x-free": "a" } })).json()).toEqual({
      "x-free": "a",
    });
  });

  it("is told of in 20 faults at most, however many parameters it has", async () => {
    const many = wide.slice(0, 5_000).map((index) => `p${index}=1`);
    const problem = await (await app.request(`/query?${many.join("&")}`)).json<{ errors: Fault[] }>();
    expect(problem.errors).toHaveLength(20);
    expect(problem.errors[0]).toEqual({ pointer: "/p0", detail: "There is no such query parameter here." });
    expect((await app.request(`/query?${"q=1&".repeat(5_000)}`)).status).toBe(422);
    expect((await app.request("/query?__proto__=1")).status).toBe(422);
    expect((await form(many.join("&"))).status).toBe(200);
  });
});
