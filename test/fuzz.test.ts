import fc, { type Arbitrary } from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { memberships, users } from "../src/db/control.ts";
import { settings } from "../src/env.ts";
import {
  answered,
  newMember,
  newProject,
  newTask,
  newTenant,
  request,
  type Row,
  stage,
  stageDb,
} from "./support/client.ts";
import { documented, type Parameter, type Route } from "./support/contract.ts";
import { exportTenant } from "./support/lifecycle.ts";
import { matching } from "./support/matching.ts";

// request() itself fails when an answer is not as /openapi.json says: a status, a header, a member of a body.

const REQUESTS = Number(process.env["FUZZ_RUNS"]);
/** Requests more, at most, to a route that no valid one has reached. */
const MORE = 200;
/** So many at once, as one client's. */
const AT_ONCE = 25;

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Schema = Parameter["schema"];
type Sent = {
  method: string;
  path: string;
  query: Record<string, string>;
  caller: string;
  headers: Record<string, string>;
  body?: Json | undefined;
};

/** What would end the callers' own sessions, or the tenant: these are sent by whoever may not, and once in earnest. */
const FINAL = new Set([
  "deleteMe",
  "deleteTenant",
  "deleteSessions",
  "deleteSession",
  "switchSession",
  "eraseOperatorTenant",
]);
/** What hashes a password, for a tenth of a second, when its body is valid. */
const SLOW = new Set([
  "createSignup",
  "createSession",
  "acceptInvitation",
  "changePassword",
  "changeEmail",
  "stepUpSession",
  "createOperatorSession",
]);

const tokens: Record<string, string | undefined> = { nobody: undefined, forged: "eyJhbGciOiJub25lIn0.e30." };
const ids: Record<string, string[]> = {};
let routes: Route[] = [];

beforeAll(async () => {
  const [owner, spare] = await Promise.all([newTenant(), newTenant()]);
  const { token, tenant } = owner;
  const roles = ["admin", "member", "viewer"] as const;
  const people = await Promise.all(roles.map((role) => newMember(tenant.id, role)));
  for (const [index, role] of roles.entries()) tokens[role] = people[index]?.token;
  const { key } = await answered<{ key: string }>(
    201,
    request("POST", "/v1/api-keys", {
      token,
      body: { name: "fuzz", scopes: ["projects:read", "projects:write", "tasks:read", "tasks:write"] },
    }),
  );
  Object.assign(tokens, { owner: token, key, operator: settings.OPERATOR_TOKEN });

  const colleagues = Array.from({ length: 8 }, () => uuidv7());
  await stageDb
    .insert(users)
    .values(colleagues.map((id) => ({ id, email: `${id}@fuzz.test`, password_hash: "none" })));
  await stageDb
    .insert(memberships)
    .values(colleagues.map((user_id) => ({ user_id, tenant_id: tenant.id, role: "member" as const })));
  const projects = await Promise.all(Array.from({ length: 12 }, () => newProject(token)));
  // The first few of each are deleted: a task's project is not among them, or would take it along.
  const made = await Promise.all(projects.toReversed().map(({ id }) => newTask(token, id)));
  const keys = await Promise.all(
    Array.from({ length: 8 }, () =>
      answered<Row>(
        201,
        request("POST", "/v1/api-keys", { token, body: { name: "x", scopes: ["tasks:read"] } }),
      ),
    ),
  );
  const issuers = await Promise.all(
    colleagues.map((name) =>
      answered<Row>(
        201,
        request("POST", "/v1/issuers", {
          token,
          body: { issuer: `https://${name}.example.com`, audience: "fuzz", email_domains: ["fuzz.test"] },
        }),
      ),
    ),
  );
  ids["issuers"] = issuers.map((issuer) => issuer.id);
  ids["projects"] = ids["project_id"] = projects.map(({ id }) => id);
  ids["tasks"] = made.map(({ id }) => id);
  ids["members"] = ids["assignee_id"] = ids["actor_id"] = colleagues;
  ids["api-keys"] = keys.map(({ id }) => id);
  ids["operator"] = [spare.tenant.id];
  ids["erasures"] = [uuidv7()];
  await stage`insert into control.erasures (id, places) values (${ids["erasures"][0]}, '[]')`;
  const exported: string[] = [];
  // One after the other: two at once would be one.
  for (let more = 6; more > 0; more--) exported.push((await exportTenant(token)).id);
  const imported = await stage`
    insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, finished_at, outcome)
    select gen_random_uuid(), ${tenant.id}, 'import', 'shared', 'shared', 1, 1, now(), 'failed'
    from generate_series(1, 6) returning id`;
  ids["tenant"] = [...exported, ...imported.map(({ id }) => String(id))];
  routes = await documented();
  // Six exports, one after the other.
}, 60_000);

const oddText = fc.constantFrom(
  "",
  " ",
  "null",
  "-1",
  "'; drop table projects; --",
  "\u0000",
  "\ud800",
  "🏠".repeat(300),
  "../../etc/passwd",
  "%00",
  "$1",
  "9".repeat(400),
  "2026-02-30",
  "0000-01-01",
  "__proto__",
);
const oddValue: Arbitrary<Json> = fc.oneof(
  oddText,
  fc.constantFrom<Json>(null, true, 0, -1, 1e308, 2 ** 53, 0.1, [], {}, [[]], { "": null }, [null]),
  fc.jsonValue({ maxDepth: 2 }).map((value) => value as Json),
);

const id = (kind: string) => fc.oneof(fc.constantFrom(...(ids[kind] ?? [uuidv7()])), fc.uuid());

/** A value that this schema allows, by the keywords that the document uses; `name` is the member's. */
function allowed(schema: Schema, name = ""): Arbitrary<Json> {
  if ("const" in schema) return fc.constant(schema["const"] as Json);
  if (Array.isArray(schema["enum"])) return fc.constantFrom(...(schema["enum"] as Json[]));
  if (Array.isArray(schema["anyOf"]))
    return fc.oneof(...schema["anyOf"].map((of: Schema) => allowed(of, name)));
  const bound = (keyword: string, otherwise: number) => Number(schema[keyword] ?? otherwise);
  switch (schema["type"]) {
    case "string":
      return text(schema, name, bound("minLength", 0), Math.min(bound("maxLength", 40), 40));
    case "integer":
    case "number":
      return fc.integer({ min: bound("minimum", 0), max: bound("maximum", 1000) });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array":
      return fc.uniqueArray(allowed(schema["items"] as Schema, name), {
        minLength: bound("minItems", 0),
        maxLength: Math.min(bound("maxItems", 3), 3),
      });
    default: {
      const members = Object.entries<Schema>(Object(schema["properties"]));
      const model = Object.fromEntries(members.map(([member, of]) => [member, allowed(of, member)]));
      return fc.record(model, { requiredKeys: schema["required"] ?? [] }) as Arbitrary<Json>;
    }
  }
}

function text(schema: Schema, name: string, minLength: number, maxLength: number): Arbitrary<string> {
  if (schema["format"] === "uuid") return id(name);
  if (schema["format"] === "date") return fc.constantFrom("2026-01-31", "2028-02-29");
  if (schema["format"] === "date-time")
    return fc.constantFrom("2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000Z");
  if (schema["format"] === "email") return fc.uuid().map((uuid) => `${uuid}@fuzz.test`);
  if (schema["format"] === "uri") return fc.uuid().map((uuid) => `https://${uuid}.example.com`);
  if (typeof schema["pattern"] === "string")
    return matching(schema["pattern"]).map((match) => match.slice(0, maxLength));
  return fc.string({ minLength: Math.max(minLength, 1), maxLength });
}

/** Something like it that is mostly not allowed: a member lost, added, or something else. */
const broken = (value: Json): Arbitrary<Json> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return oddValue;
  const names = Object.keys(value);
  return fc.oneof(
    oddValue,
    fc
      .record({ name: fc.constantFrom("unknown", "__proto__", "a/b~c", ...names), odd: oddValue })
      .map(({ name, odd }) => Object.fromEntries([...Object.entries(value), [name, odd]]) as Json),
    ...(names.length > 0
      ? [
          fc
            .constantFrom(...names)
            .map(
              (lost) => Object.fromEntries(Object.entries(value).filter(([name]) => name !== lost)) as Json,
            ),
        ]
      : []),
  );
};

function requestOf(route: Route): Arbitrary<Sent> {
  const { method, operationId, parameters = [], requestBody } = route;
  const [media, content] = Object.entries(requestBody?.content ?? {})[0] ?? [];
  const good = content ? allowed(content.schema) : fc.constant(undefined);
  const bad = good.chain((value) => (value === undefined ? fc.constant(undefined) : broken(value)));
  const of = (place: Parameter["in"]) => parameters.filter((parameter) => parameter.in === place);
  // A cursor is a page's own: a made-up one is always refused.
  const value = ({ name, schema }: Parameter) =>
    fc
      .oneof(
        { weight: name === "cursor" ? 0 : 9, arbitrary: allowed(schema, name) },
        { weight: 1, arbitrary: oddText },
      )
      .map(String);
  const values = (place: Parameter["in"]) =>
    fc
      .tuple(...of(place).map((parameter) => fc.tuple(value(parameter), fc.integer({ min: 0, max: 9 }))))
      .map((given) =>
        Object.fromEntries(
          of(place).flatMap(({ name, required }, index) => {
            const [sent, chance] = given[index] ?? ["", 0];
            return required || chance < (name === "cursor" ? 1 : 3) ? [[name, sent]] : [];
          }),
        ),
      );
  const kind = route.path.split("/")[2] ?? "";
  // Some rows stay, for the other operations.
  const row = method === "DELETE" ? fc.constantFrom(...(ids[kind] ?? [uuidv7()]).slice(0, 4)) : id(kind);
  const callers = Object.keys(tokens).filter(
    (name) => !FINAL.has(operationId) || !["owner", "admin", "member", "viewer", "operator"].includes(name),
  );
  const usual =
    kind === "operator" && callers.includes("operator")
      ? "operator"
      : callers.includes("owner")
        ? "owner"
        : "key";
  return fc
    .record({
      caller: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...callers) },
        { weight: 2, arbitrary: fc.constant(usual) },
      ),
      path: fc.record({ given: values("path"), row, isReal: fc.integer({ min: 0, max: 3 }) }),
      query: values("query"),
      headers: values("header"),
      body: fc.oneof(
        { weight: SLOW.has(operationId) ? 0 : 2, arbitrary: good },
        { weight: 1, arbitrary: bad },
      ),
      other: fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: oddText }),
    })
    .map(({ caller, path, query, headers, body, other }) => ({
      method,
      path: route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
        path.isReal > 0 && name.endsWith("id") ? path.row : segment(path.given[name] ?? ""),
      ),
      query: other === undefined || method !== "GET" ? query : { ...query, [other]: "x" },
      caller,
      headers: {
        ...Object.fromEntries(Object.entries(headers).filter(([, sent]) => /^[\x20-\x7e]+$/.test(sent))),
        ...(body === undefined
          ? {}
          : { "content-type": other === undefined ? (media ?? "") : "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
    }));
}

/** A path's part, of whatever text: never empty or dots, which would name another path. */
const segment = (value: string) => encodeURIComponent(value.toWellFormed()).replace(/^(\.*)$/, "x$1");

/** Sends it, and fails when the answer is one that no client should ever get. */
async function send({ method, path, query, caller, headers, body }: Sent): Promise<number> {
  const search = new URLSearchParams(query).toString();
  const isForm = headers["content-type"] === "application/x-www-form-urlencoded";
  const response = await request(method, search ? `${path}?${search}` : path, {
    token: tokens[caller],
    headers,
    ...(body === undefined ? {} : { body: isForm ? formOf(body) : JSON.stringify(body) }),
  });
  const { status } = response;
  if (status >= 500 && !(await isMail(response))) throw new Error(`${status}: ${await response.text()}`);
  if (status === 422) {
    const { errors = [] } = await response.clone().json<{ errors?: { pointer: string }[] }>();
    const isRefused = response.headers.get("content-type") === "application/problem+json";
    for (const { pointer } of errors)
      if (!leadsInto(body, pointer) && !leadsInto(query, pointer))
        throw new Error(`${pointer} points at nothing that was sent`);
    expect(isRefused).toBe(true);
  }
  return status;
}

const formOf = (body: Json) =>
  new URLSearchParams(
    Object.entries(Object(body)).map(([name, value]) => [
      name,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  ).toString();

const isMail = async (response: Response) =>
  response.status === 503 && (await response.clone().text()).includes("/problems/mail_");

/** Whether a JSON pointer leads to a value, or to where a member is missing from an object. */
function leadsInto(value: unknown, pointer: string): boolean {
  const steps = pointer
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  let at = value;
  for (const [index, step] of steps.entries()) {
    if (typeof at !== "object" || at === null) return false;
    if (!Object.hasOwn(at, step)) return index === steps.length - 1;
    at = Reflect.get(at, step);
  }
  return true;
}

describe("whatever is sent", () => {
  it(
    `is answered as /openapi.json says, and never with an error of the Worker's own (${REQUESTS} requests)`,
    { timeout: 60_000 + REQUESTS * 40 },
    async () => {
      const seen = new Map<string, Set<number>>();
      const slow = routes.filter(({ operationId }) => SLOW.has(operationId));
      const hopeless = routes.filter((route) => !slow.includes(route) && UNREACHED.has(route.operationId));
      const fast = routes.filter((route) => !slow.includes(route) && !hopeless.includes(route));
      const any = fc.oneof(
        { weight: 20, arbitrary: fc.constantFrom(...fast) },
        { weight: 3, arbitrary: fc.constantFrom(...hopeless) },
        { weight: 1, arbitrary: fc.constantFrom(...slow) },
      );
      const requests = fc.array(
        any.chain((route) => fc.record({ name: fc.constant(route.operationId), sent: requestOf(route) })),
        { minLength: AT_ONCE, maxLength: AT_ONCE },
      );
      await fc.assert(
        fc.asyncProperty(requests, async (batch) => {
          await Promise.all(
            batch.map(async ({ name, sent }) => {
              const statuses = seen.get(name) ?? new Set();
              seen.set(name, statuses.add(await send(sent)));
            }),
          );
        }),
        { numRuns: Math.ceil(REQUESTS / AT_ONCE), endOnFailure: true },
      );
      // Every operation was there, and those that may succeed did.
      expect([...seen.keys()].sort()).toEqual(routes.map(({ operationId }) => operationId).sort());
      const isDone = ({ operationId: name }: Route) =>
        FINAL.has(name) ||
        SLOW.has(name) ||
        UNREACHED.has(name) ||
        [...(seen.get(name) ?? [])].some((status) => status < 300);
      // Which of them were sent a valid request is chance: the others are sent more.
      for (const route of routes)
        for (const sent of isDone(route) ? [] : fc.sample(requestOf(route), MORE)) {
          seen.get(route.operationId)?.add(await send(sent));
          if (isDone(route)) break;
        }
      expect(routes.filter((route) => !isDone(route)).map(({ operationId }) => operationId)).toEqual([]);
    },
  );

  it("ends the sessions and tenants of whoever asks for it, and nothing else", async () => {
    const [staying, leaving, closing] = await Promise.all([newTenant(), newTenant(), newTenant()]);
    const end = (method: string, path: string, token: string) => request(method, path, { token });
    expect((await end("DELETE", "/v1/sessions/current", staying.token)).status).toBe(204);
    expect((await end("DELETE", "/v1/sessions", leaving.token)).status).toBe(204);
    expect((await end("DELETE", "/v1/tenant", closing.token)).status).toBe(202);
    expect((await end("GET", "/v1/projects", closing.token)).status).toBe(403);
    expect((await end("POST", "/v1/tenant/restore", closing.token)).status).toBe(200);
  });
});

/** What needs something that no generated request has: a token of another party's, a mailed link, a password, a second factor. */
const UNREACHED = new Set([
  "createToken",
  "refreshSession",
  "createInvitation",
  "getInvitation",
  "deleteInvitation",
  "createImport",
  "createFactorSession",
  "createFactorEnrolment",
  "createPasskeySession",
  "confirmEmail",
  "confirmPasswordReset",
  "confirmEmailChange",
  "undoEmailChange",
  "updateFactor",
  "deleteFactor",
  "confirmFactor",
  "createRecoveryCodes",
  "deleteMemberFactors",
  // An API key in a path.
  "receiveHook",
  // An operator who is a person, whom the tenant has let in.
  "createSupportSession",
  "getSupportSession",
  "endSupportSession",
  "createSupportToken",
  "approveSupportSession",
  "deleteSupportSession",
  "deleteOperatorSession",
  "changeOperatorPassword",
  // The version of the console that is served.
  "getConsoleFile",
]);
