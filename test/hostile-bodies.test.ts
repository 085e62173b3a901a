import fc from "fast-check";
import * as v from "valibot";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { settings } from "../src/env.ts";
import {
  answered,
  newProject,
  newTask,
  newTenant,
  PASSWORD,
  signedUp,
  request,
  type SignedIn,
} from "./support/client.ts";
import { documented, type Route } from "./support/contract.ts";

// request() itself fails when an answer is not as /openapi.json says, which bounds the number and length of its errors.

const REQUESTS = Math.ceil(Number(process.env["FUZZ_RUNS"]) / 8);
const AT_ONCE = 5;
const MAX_BODY = 256 * 1024;
const MAX_ANSWER = 64 * 1024;
/** What valibot finds wrong in one request before it stops, and what it finds while it tries the arms of a union. */
const MAX_ISSUES = 40;

let owner: SignedIn;
let routes: Route[] = [];
const rows: Record<string, string> = {};
beforeAll(async () => {
  owner = await newTenant();
  const project = await newProject(owner.token);
  Object.assign(rows, { projects: project.id, tasks: (await newTask(owner.token, project.id)).id });
  routes = await documented();
});
afterEach(() => {
  vi.restoreAllMocks();
  v.deleteGlobalMessage();
});

/** As many of these as a body takes. */
const many = (
  open: string,
  item: string | ((index: number) => string),
  close: string,
  max = MAX_BODY - 2_000,
) => {
  let text = open;
  for (let index = 0; ; index++) {
    const next = `${index === 0 ? "" : ","}${typeof item === "string" ? item : item(index)}`;
    if (text.length + next.length + close.length > max) return text + close;
    text += next;
  }
};
const quoted = (unit: string) => `"${unit.repeat(Math.floor((MAX_BODY - 2_000) / unit.length))}"`;
const nested = (open: string, close: string, levels: number, inside: string) =>
  open.repeat(levels) + inside + close.repeat(levels);

/** Values in JSON that cost more than they look: nearly as long as a body may be. */
const SHAPES: Record<string, () => string> = {
  "objects in one another": () => nested('{"a":', "}", 40_000, "1"),
  "arrays in one another": () => nested("[", "]", 120_000, ""),
  "U+0000 13,000 levels down": () => nested('{"a":', "}", 13_000, many("[", '"\\u0000"', "]", 160_000)),
  "U+0000 31 levels down": () => nested('{"a":', "}", 30, many("[", '"\\u0000"', "]")),
  numbers: () => many("[", "1", "]"),
  nulls: () => many("[", "null", "]"),
  objects: () => many("[", "{}", "]"),
  arrays: () => many("[", "[]", "]"),
  "empty texts": () => many("[", '""', "]"),
  "texts of U+0000": () => many("[", '"\\u0000"', "]"),
  "halves of surrogate pairs": () => many("[", '"\\ud83c"', "]"),
  scopes: () => many("[", '"projects:read"', "]"),
  domains: () => many("[", '"acme.test"', "]"),
  policies: () => many("[", '{"name":"minute","limit":1,"window":60}', "]"),
  "unknown names": () => many("{", (index) => `"k${index}":0`, "}"),
  "roles by name": () => many("{", (index) => `"k${index}":"viewer"`, "}"),
  "names with U+0000": () => many("{", (index) => `"${index}\\u0000":"viewer"`, "}"),
  "one name again and again": () => many("{", '"a":1', "}"),
  "names of the prototype": () => many("{", '"__proto__":{"constructor":1}', "}"),
  "a long name": () => `{${quoted("n")}:1}`,
  "a long name that is escaped": () => `{${quoted("~/")}:"\\u0000"}`,
  "a long text": () => quoted("x"),
  "a long text of U+0001": () => quoted("\\u0001"),
  "a long text of U+0000": () => quoted("\\u0000"),
  "a long text of spaces": () => quoted(" "),
  "a long text from right to left": () => quoted("\\u202e\\u05d0"),
  "a long text that is nearly an address": () => quoted("a.").replace(/"$/, '@"'),
  "a long text that is nearly a domain": () => quoted("a-").replace(/"$/, '."'),
  "10,000 characters of six bytes": () => `"${"\\u0001".repeat(10_000)}"`,
  "10,000 characters of three bytes": () => `"${"€".repeat(10_000)}"`,
  "a number of many digits": () => "9".repeat(MAX_BODY - 2_000),
  "a number beyond all": () => "1e999",
  "an instant after the last year": () => '"9999-12-31T23:59:59-23:59"',
  "an instant before the first year": () => '"0001-01-01T00:00:00+23:59"',
  "no JSON": () => "[".repeat(MAX_BODY - 2_000),
};

const FORMS: Record<string, () => string> = {
  "many parameters": () => many("", (index) => `p${index}=1&`, "").replaceAll(",", ""),
  "one parameter again and again": () => "grant_type=x&".repeat(20_000),
  "a long token": () => `subject_token=${"x".repeat(250_000)}`,
  "a token of dots": () => `subject_token=${".".repeat(16_000)}&audience=${"a".repeat(200_000)}`,
  "U+0000": () => "subject_token=%00&".repeat(10_000),
  "no UTF-8": () => "subject_token=%ff%fe&".repeat(10_000),
  "names with U+0000": () => "%00=1&".repeat(40_000),
};

const QUERIES: Record<string, () => string> = {
  none: () => "",
  "many parameters": () => `?${Array.from({ length: 2_000 }, (_, index) => `p${index}=1`).join("&")}`,
  "one parameter again and again": () => `?${"limit=1&".repeat(2_000)}`,
  "a long name": () => `?${"n".repeat(16_000)}=1`,
  "a long cursor": () => `?cursor=${"c".repeat(16_000)}`,
  "U+0000": () => "?cursor=%00&limit=%00&status=%00",
};

const HEADERS: Record<string, () => Record<string, string>> = {
  none: () => ({}),
  "many ETags": () => ({ "if-match": '"1", '.repeat(3_000) + '"2"', "if-none-match": '"1", '.repeat(3_000) }),
  "a long key": () => ({ "idempotency-key": "k".repeat(16_000) }),
  "a long name of the client": () => ({ "user-agent": `${"x".repeat(199)}${"a".repeat(8_000)}` }),
};

type Schema = Record<string, unknown>;

/** Where in a body of this route something may stand: the whole, each member, and each member's members. */
function placesIn(schema: Schema | undefined, place: string[] = []): string[][] {
  const members = Object.entries<Schema>(Object(schema?.["properties"]));
  const others = schema?.["additionalProperties"] ? [[...place, "any"]] : [];
  return [place, ...others, ...members.flatMap(([name, of]) => placesIn(of, [...place, name]))];
}

const put = (place: string[], json: string) =>
  place.reduceRight((inside, name) => `{${JSON.stringify(name)}:${inside}}`, json);

/** What would end the session that all of this is sent with. */
const FINAL = new Set(["deleteTenant", "deleteSessions", "deleteSession"]);

const pathOf = ({ path }: Route) =>
  path.replaceAll(/\{(\w+)\}/g, () => rows[path.split("/")[2] ?? ""] ?? uuidv7());

function requestTo(route: Route) {
  const [media, content] = Object.entries(route.requestBody?.content ?? {})[0] ?? [
    "application/json",
    undefined,
  ];
  const isForm = media.includes("form");
  const hostile = fc.constantFrom(...Object.keys(isForm ? FORMS : SHAPES));
  const tokens = route.path.startsWith("/v1/operator")
    ? [settings.OPERATOR_TOKEN, undefined]
    : [FINAL.has(route.operationId) ? undefined : owner.token, undefined];
  return fc.record({
    route: fc.constant(route),
    media: fc.constant(media),
    hostile,
    place: fc.constantFrom(...placesIn(isForm ? undefined : content?.schema)),
    token: fc.constantFrom(...tokens),
    query: fc.oneof({ weight: 4, arbitrary: fc.constant("none") }, fc.constantFrom(...Object.keys(QUERIES))),
    headers: fc.oneof(
      { weight: 4, arbitrary: fc.constant("none") },
      fc.constantFrom(...Object.keys(HEADERS)),
    ),
  });
}

it(
  `every answer to a hostile body is short, takes bounded work, and is never an error of the Worker's own (${REQUESTS} requests)`,
  { timeout: 60_000 + REQUESTS * 100 },
  async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    let issues = 0;
    v.setGlobalMessage((issue) => {
      issues += 1;
      return issue.message;
    });
    const withBody = routes.filter(({ requestBody }) => requestBody);
    const any = fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...withBody) },
      { weight: 1, arbitrary: fc.constantFrom(...routes) },
    );
    const batch = fc.array(any.chain(requestTo), { minLength: AT_ONCE, maxLength: AT_ONCE });
    await fc.assert(
      fc.asyncProperty(batch, async (sent) => {
        issues = 0;
        await Promise.all(
          sent.map(async ({ route, media, hostile, place, token, query, headers }) => {
            const mayHaveBody = route.method !== "GET";
            const body = (FORMS[hostile] ?? (() => put(place, SHAPES[hostile]?.() ?? "")))();
            const response = await request(route.method, pathOf(route) + (QUERIES[query]?.() ?? ""), {
              token,
              headers: { "content-type": media, ...HEADERS[headers]?.() },
              ...(mayHaveBody ? { body } : {}),
            });
            const answer = new Uint8Array(await response.arrayBuffer());
            expect(response.status).not.toBe(500);
            if (mayHaveBody) expect(answer.length).toBeLessThanOrEqual(MAX_ANSWER);
            expect([...response.headers].join("").length).toBeLessThanOrEqual(4_096);
          }),
        );
        expect(issues).toBeLessThanOrEqual(AT_ONCE * MAX_ISSUES);
      }),
      { numRuns: Math.ceil(REQUESTS / AT_ONCE), endOnFailure: true },
    );
    expect(errors.mock.calls.filter(([line]) => line?.message === "internal")).toEqual([]);
  },
);

it("answers 253 KB of U+0000 deep inside a sign-in with one short fault", async () => {
  const body = SHAPES["U+0000 13,000 levels down"]?.() ?? "";
  const response = await request("POST", "/v1/sessions", { body });
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({
    errors: [{ pointer: "", detail: "This is nested deeper than 32 levels." }],
  });
});

it("answers 500 to nothing that a tenant may name a role after", async () => {
  for (const name of ["\0", "a\0b", "\ud83c", "\udfe0", "__proto__", "constructor", "", "🏠", "\u202e"]) {
    const issuer = { issuer: `https://${uuidv7()}.example.com`, audience: "a", email_domains: ["a.test"] };
    const role_map = JSON.stringify({ x: "viewer" }).replace('"x"', JSON.stringify(name));
    const body = JSON.stringify(issuer).replace("}", `,"role_map":${role_map}}`);
    expect((await request("POST", "/v1/issuers", { token: owner.token, body })).status).toBeOneOf([201, 422]);
  }
});

it("takes an expiry that the calendar and Postgres have, and no other", async () => {
  const made = async (expires_at: string) => {
    const body = { name: "k", scopes: ["tasks:read"], expires_at };
    return (await request("POST", "/v1/api-keys", { token: owner.token, body })).status;
  };
  expect(await made("9999-12-31T23:59:59Z")).toBe(201);
  expect(await made("2096-02-29T12:00:00.123456+05:30")).toBe(201);
  for (const expiry of [
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59.999-00:01",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "2095-02-29T00:00:00Z",
    "2095-04-31T00:00:00+02:00",
    "2095-06-30T23:59:60Z",
    "2095-06-30T24:00:00Z",
    "+275760-09-13T00:00:00Z",
    "275760-09-13T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "infinity",
    "2095-06-30",
  ])
    expect([expiry, await made(expiry)]).toEqual([expiry, 422]);
});

it("keeps a client's name without half of the character that it is cut in", async () => {
  const agents = [`${"x".repeat(199)}🏠🏠`, "🏠".repeat(150), `x${"🏠".repeat(150)}`];
  const { user, token } = await signedUp();
  const body = { email: user.email, password: PASSWORD };
  for (const agent of agents)
    await answered(201, request("POST", "/v1/sessions", { body, headers: { "user-agent": agent } }));
  type Sessions = { data: { user_agent: string }[] };
  const { data } = await answered<Sessions>(200, request("GET", "/v1/sessions", { token }));
  const kept = data.slice(0, 3).map(({ user_agent }) => user_agent);
  expect(kept).toEqual([`x${"🏠".repeat(99)}`, "🏠".repeat(100), "x".repeat(199)]);
});
