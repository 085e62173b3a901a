import fc from "fast-check";
import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT } from "jose";
import { Secret, TOTP } from "otpauth";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { app as worker } from "../src/app.ts";
import { settings } from "../src/env.ts";
import { API_KEY_SCOPES, SCOPES, SUPPORT_SCOPES } from "../src/authority.ts";
import { documentOf } from "../src/openapi/document.ts";
import { CONTENT, contextOf, MISSING } from "./support/attacks.ts";
import {
  anotherSession,
  answered,
  newMember,
  newTenant,
  PASSWORD,
  request,
  stage,
} from "./support/client.ts";
import { exportTenant, sendArchive } from "./support/lifecycle.ts";
import { newOperator } from "./support/operators.ts";
import { enterTenant, setMode } from "./support/support.ts";
import { matching } from "./support/matching.ts";
import { AT_SITE, PLACE } from "./support/site.ts";
import type { SignedIn } from "./support/client.ts";

// Every route that takes a token, attacked in every way there is to touch another tenant's row. A new route joins by
// itself: what a body must refer to is made first. One for which no request can be made up from its OpenAPI description
// and the catalog fails, and says what is missing; a product teaches it in test/product/matrix.ts.

/** What a product's matrix.ts may export. */
type Taught = {
  /** By resource, the last part of a path: makes a row of it, and returns its id. */
  MAKERS?: Record<string, (who: SignedIn) => Promise<string>>;
  /** By route, such as `POST /v1/notes`: a body that it takes. */
  BODIES?: Record<string, (who: SignedIn) => object | Promise<object>>;
};
const isProducts = process.env["PRODUCT"] === "src/product";
const files = isProducts ? import.meta.glob<Taught>("./product/matrix.ts", { eager: true }) : {};
const [taught = {}] = Object.values(files);

type Schema = {
  type?: string | string[];
  format?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  examples?: unknown[];
  minimum?: number;
  minItems?: number;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  $ref?: string;
};
type Reference = { $ref: string };
type Parameter = { name: string; in: string; required?: boolean; schema?: Schema };
type Operation = {
  security?: Record<string, string[]>[];
  parameters?: (Parameter | Reference)[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, unknown>;
};
type Route = { name: string; method: string; path: string; operation: Operation };
type Api = {
  paths: Record<string, Record<string, Operation>>;
  components?: Record<string, Record<string, unknown>>;
};

const api = JSON.parse(await documentOf(worker)) as Api;

/** What stands where the document refers to one of its components. */
function resolved<T extends object>(of: T | Reference): T {
  if (!("$ref" in of) || typeof of.$ref !== "string") return of as T;
  const [kind = "", name = ""] = of.$ref.split("/").slice(2);
  const referred = api.components?.[kind]?.[name];
  if (!referred) throw new Error(`/openapi.json refers to nothing: ${of.$ref}`);
  return resolved(referred as T);
}

/** `/v1/projects/:id` as OpenAPI writes it. */
const templateOf = (path: string) => path.replace(/:(\w+)(\{[^}]*\})?\??/g, "{$1}");

const routes: Route[] = [
  ...new Map(
    worker.routes
      .filter(({ method, path }) => method !== "ALL" && path.startsWith("/v1/"))
      .map(({ method, path }) => [`${method} ${path}`, { method, path: templateOf(path) }]),
  ),
].flatMap(([name, { method, path }]) => {
  const operation = api.paths[path]?.[method.toLowerCase()];
  if (!operation) throw new Error(`${name} is not in /openapi.json: describe it with operation().`);
  // Not those without a token, nor the operator's, whose token no tenant has.
  const isTenants = operation.security?.some((scheme) => "accessToken" in scheme);
  return isTenants ? [{ name, method, path: path + requiredQuery(name, operation), operation }] : [];
});

/** The query that a route cannot do without. */
function requiredQuery(name: string, { parameters = [] }: Operation): string {
  const required = parameters.map(resolved).filter((each) => each.in === "query" && each.required);
  const values = required.map((each) => [each.name, textOf(each.schema ?? {}, `${name} ?${each.name}`)]);
  return values.length === 0 ? "" : `?${new URLSearchParams(values).toString()}`;
}

const and = (path: string, query: string) => `${path}${path.includes("?") ? "&" : "?"}${query}`;

/** The tables that a column of this name refers to, by foreign key: `projects` of `project_id`. */
const referred = new Map<string, string>(
  (
    await AT_SITE.stage`
      select a.attname as name, f.relname as "table" from pg_constraint k join pg_class f on f.oid = k.confrelid
      join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[cardinality(k.conkey)]
      where k.contype = 'f' and k.connamespace = ${PLACE.schema}::regnamespace`
  ).map(({ name, table }) => [String(name), String(table)]),
);

/** A text that the schema takes, as far as it says what it takes. */
function textOf(schema: Schema, where: string): string {
  const { format, pattern = "", minLength = 0, maxLength = Infinity, examples = [] } = resolved(schema);
  const word = `m${crypto.randomUUID().slice(0, 8)}`;
  const formats: Record<string, string> = {
    uuid: crypto.randomUUID(),
    email: `${word}@matrix.test`,
    date: "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    uri: `https://${word}.test`,
  };
  // A format's own pattern is as good as the format.
  if (format && formats[format]) return formats[format];
  const isTaken = (text: string) =>
    new RegExp(pattern, "u").test(text) && text.length >= minLength && text.length <= maxLength;
  // A text of its own first: two rows may not have the same.
  const texts = [
    word.padEnd(minLength, "x").slice(0, maxLength),
    `${word}.test`,
    ...examples.map(String),
    "1",
  ];
  const text = texts.find(isTaken) ?? fc.sample(matching(pattern, "u"), 100).find(isTaken);
  if (text === undefined)
    throw new Error(`The matrix cannot make up ${where} (${pattern}): teach it in test/product/matrix.ts.`);
  return text;
}

/** A value that the schema takes; the id of a row that is there where one is named. */
async function example(schema: Schema, where: string, who: SignedIn, name = ""): Promise<unknown> {
  const of = resolved(schema);
  if (of.const !== undefined) return of.const;
  if (of.enum) return of.enum[0];
  const [choice] = of.anyOf ?? of.oneOf ?? [];
  if (choice) return example(choice, where, who, name);
  switch (Array.isArray(of.type) ? of.type[0] : of.type) {
    case "string": {
      const table = of.format === "uuid" && referred.get(name);
      return table ? make(table.replaceAll("_", "-"), who) : textOf(of, where);
    }
    case "integer":
    case "number":
      return of.minimum ?? 1;
    case "boolean":
      return true;
    case "null":
      return null;
    case "array":
      return Promise.all(
        Array.from({ length: of.minItems ?? 0 }, () => example(of.items ?? {}, `${where}[]`, who, name)),
      );
    case "object": {
      const entries = (of.required ?? []).map(async (member) => [
        member,
        await example(of.properties?.[member] ?? {}, `${where}.${member}`, who, member),
      ]);
      return Object.fromEntries((await Promise.all(entries)) as [string, unknown][]);
    }
    default:
      throw new Error(
        `The matrix cannot make up ${where} (type ${String(of.type)}): teach it in test/product/matrix.ts.`,
      );
  }
}

function bodySchema({ operation }: Route): Schema | undefined {
  const [body] = Object.values(operation.requestBody?.content ?? {});
  return body && resolved(body.schema);
}

/** Bodies that must name what is there. */
const BODIES: Required<Taught>["BODIES"] = {
  "POST /v1/sessions/switch": ({ tenant }) => ({ tenant: tenant.slug }),
  "POST /v1/sessions/current/step-up": () => ({ password: PASSWORD }),
  "POST /v1/me/password": () => ({ current_password: PASSWORD, password: "another long enough one" }),
  "POST /v1/me/email": () => ({ email: `${crypto.randomUUID()}@matrix.test`, password: PASSWORD }),
  "POST /v1/me/factors": () => ({ type: "totp", name: "Phone" }),
  "POST /v1/me/factors/:id/confirm": () => ({
    code: new TOTP({ secret: Secret.fromBase32(newestSecret) }).generate(),
  }),
  ...taught.BODIES,
};

/** Of the authenticator app that was last added and is not confirmed yet. */
let newestSecret = "AAAAAAAA";

/** People who were made for one route about their account. */
const accounts = new WeakSet<SignedIn>();

/** A factor of the caller's own, for the route that confirms it or for one that counts. */
async function makeFactor(who: SignedIn, isConfirmed: boolean): Promise<string> {
  // Whoever has one is asked for it: not somebody who other tests sign in.
  const { token, user } = accounts.has(who) ? who : await newMember(who.tenant.id, "member");
  if (isConfirmed) {
    const [row] = await stage`
      insert into control.factors (id, user_id, type, name, credential_id, public_key, counter, confirmed_at)
      values (gen_random_uuid(), ${user.id}, 'passkey', 'Key', gen_random_uuid(), '', 0, now()) returning id`;
    return String(row?.["id"]);
  }
  const body = { type: "totp", name: "Phone" };
  const made = await answered<{ id: string; secret: string }>(
    201,
    request("POST", "/v1/me/factors", { token, body }),
  );
  newestSecret = made.secret;
  return made.id;
}

/** A body that the route takes: what it requires, or else the first thing that it offers. */
async function bodyOf(route: Route, who: SignedIn): Promise<object | undefined> {
  const schema = bodySchema(route);
  if (!schema) return undefined;
  const special = BODIES[route.name];
  if (special) return special(who);
  const body = (await example(schema, `the body of ${route.name}`, who)) as Record<string, unknown>;
  const [first] = Object.entries(schema.properties ?? {});
  if (Object.keys(body).length === 0 && first)
    body[first[0]] = await example(first[1], `${route.name} ${first[0]}`, who, first[0]);
  return body;
}

function isId(schema: Schema | undefined): boolean {
  if (!schema) return false;
  const { format, anyOf = [] } = resolved(schema);
  return format === "uuid" || anyOf.some(isId);
}

/** What the parameter names: in `/v1/projects/{id}/tasks` the id is one of projects. */
const parametersOf = ({ path }: Route): [string, string][] =>
  [...path.matchAll(/([\w-]+)\/\{(\w+)\}/g)].map(([, resource = "", name = ""]) => [name, resource]);

/** The route's path with the ids of rows made for this by the tenant itself. */
async function own(route: Route, who: SignedIn): Promise<string> {
  let path = route.path;
  for (const [name, resource] of parametersOf(route))
    path = path.replace(
      `{${name}}`,
      await (resource === "factors"
        ? makeFactor(who, !route.path.endsWith("/confirm"))
        : make(resource, who)),
    );
  if (path.includes("{"))
    throw new Error(`The matrix does not know what ${route.name} is an id of: name a resource before it.`);
  return path;
}

/** Resources without a route that makes one. */
const MAKERS: Required<Taught>["MAKERS"] = {
  members: async ({ tenant }) => (await newMember(tenant.id, "member")).user.id,
  sessions: async (who) => (await anotherSession(who, who.tenant.slug)).session.id,
  // Each change is one; no route takes the id of an event.
  "audit-events": (who) => make("api-keys", who),
  exports: async ({ token }) => (await exportTenant(token)).id,
  imports: async ({ tenant }) => {
    const [row] = await stage`
      insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, finished_at, outcome)
      values (gen_random_uuid(), ${tenant.id}, 'import', 'shared', 'shared', 1, 1, now(), 'failed') returning id`;
    return String(row?.["id"]);
  },
  // Asked by an operator, whose route is not the tenant's.
  "support-sessions": async ({ tenant }) => {
    const [row] = await stage`
      insert into control.support_sessions (tenant_id, id, operator_id, operator, reason, minutes, write)
      values (${tenant.id}, gen_random_uuid(), gen_random_uuid(), 'matrix', 'matrix', 5, false) returning id`;
    return String(row?.["id"]);
  },
  ...taught.MAKERS,
};

/** The id of a new row of the resource, made by the route that makes such rows. */
async function make(resource: string, who: SignedIn): Promise<string> {
  const special = MAKERS[resource];
  if (special) return special(who);
  const maker = routes.find(({ method, path }) => method === "POST" && path.endsWith(`/${resource}`));
  if (!maker)
    throw new Error(
      `The matrix cannot make a row of ${resource}: there is no POST …/${resource}. Teach MAKERS in test/product/matrix.ts.`,
    );
  return create(maker, await own(maker, who), who);
}

/** The answer of a route that takes the body. Throws with both if it does not, and says where to teach a better one. */
async function taken(route: Route, body: unknown, answer: Response): Promise<Response> {
  if (answer.ok) return answer;
  const { status } = answer;
  throw new Error(
    `${route.name} answers ${status} to ${JSON.stringify(body)}: ${await answer.text()}. ` +
      `If the body breaks a rule that its schema does not say, teach BODIES["${route.name}"] in test/product/matrix.ts.`,
  );
}

async function create(maker: Route, path: string, who: SignedIn): Promise<string> {
  const body = await bodyOf(maker, who);
  const answer = await taken(maker, body, await request("POST", path, { token: who.token, body }));
  const made = await answered<{ id?: string }>(201, answer);
  if (!made.id) throw new Error(`${maker.name} answers no id: teach MAKERS in test/product/matrix.ts.`);
  return made.id;
}

/** What is of the caller's own account, whatever they are in the tenant. */
const isOwn = ({ path }: Route) => /^\/v1\/(me|email-verifications)\b/.test(path);

/** What a user of any role may do: no writes but of the caller's own sessions and account. */
function isViewers(route: Route): boolean {
  const { method, path, operation } = route;
  if (path.startsWith("/v1/sessions") || isOwn(route)) return true;
  const scopes = operation.security?.flatMap((scheme) => scheme["accessToken"] ?? []) ?? [];
  return method === "GET" && scopes.every((scope) => VIEWERS.includes(scope));
}
const VIEWERS: readonly string[] = SCOPES.viewer;

/** What takes no scope and may be asked by anybody who is in the tenant. */
const ANYBODYS = new Set(["GET /v1/me", "GET /v1/tenant/limits"]);
/** What is between a tenant and its operators is for the tenant alone. */
const isAboutSupport = ({ path }: Route) => path.startsWith("/v1/tenant/support-");

/** Whether a route is for operators whom the tenant has let in: by its scopes, and without one hardly any is. */
function opensTo(route: Route, role: "support" | "support_write"): boolean {
  const scopes = route.operation.security?.flatMap((scheme) => scheme["accessToken"] ?? []) ?? [];
  if (scopes.length === 0) return ANYBODYS.has(route.name);
  const theirs: readonly string[] = SUPPORT_SCOPES[role];
  return scopes.every((scope) => theirs.includes(scope)) && !isAboutSupport(route);
}

/** Takes an archive, which no JSON is. */
const IMPORT = "POST /v1/tenant/imports";

/**
 * A route that deletes the tenant itself, or all of a kind, or needs an empty one, gets a tenant that nobody else uses; one about
 * the caller's account gets somebody whose password is known.
 */
async function callerOf(route: Route, usual: SignedIn): Promise<SignedIn> {
  const { name, method, path } = route;
  if (isOwn(route) || path.endsWith("/step-up")) {
    const member = await newMember(usual.tenant.id, "member", PASSWORD);
    accounts.add(member);
    if (path.endsWith("/recovery-codes")) await makeFactor(member, true);
    return member;
  }
  return name === IMPORT || (method === "DELETE" && !path.includes("{")) ? newTenant() : usual;
}

const described = ({ operation }: Route) => Object.keys(operation.responses).map(Number);

describe("every route that takes a token", () => {
  let alice: SignedIn;
  let ben: SignedIn;
  let viewer: SignedIn;
  let readingKey: string;
  const refused: [string, () => Promise<string | undefined> | string | undefined][] = [
    ["no token", () => undefined],
    ["a malformed token", () => "not-a-token"],
    ["a token cut short", () => alice.token.slice(0, -2)],
    ["a token with another signature", () => alice.token.replace(/[^.]+$/, ben.token.split(".")[2] ?? "")],
    ["an expired token", () => resigned(alice.token, -700)],
  ];

  beforeAll(async () => {
    [alice, ben] = await Promise.all([newTenant(), newTenant()]);
    viewer = await newMember(alice.tenant.id, "viewer");
    const body = { name: "Reads", scopes: API_KEY_SCOPES.filter((scope) => VIEWERS.includes(scope)) };
    const made = request("POST", "/v1/api-keys", { token: alice.token, body });
    readingKey = (await answered<{ key: string }>(201, made)).key;
  });

  /** The same claims as of so many seconds ago, signed with this deployment's own key. */
  async function resigned(token: string, ago: number): Promise<string> {
    const [jwk] = settings.TOKEN_SIGNING_KEYS.keys;
    const { alg = "", typ = "", kid = "" } = decodeProtectedHeader(token);
    const { iat = 0, exp = 0, ...claims } = decodeJwt(token);
    return new SignJWT({ ...claims, iat: iat + ago, exp: exp + ago })
      .setProtectedHeader({ alg, typ, kid })
      .sign(await importJWK({ ...jwk }));
  }

  const named = (some: Route[]) => some.map((route) => [route.name, route] as const);
  const takesIds = routes.filter(({ path }) => path.includes("{"));
  const takesNone = routes.filter(({ path }) => !path.includes("{"));
  const writes = routes.filter(({ method }) => method !== "GET");
  const guarded = routes.filter((route) => writes.includes(route) || !isViewers(route));
  const queryOf = ({ operation }: Route) =>
    (operation.parameters ?? []).map(resolved).filter((each) => each.in === "query");
  const pages = routes.filter((route) => queryOf(route).some(({ name }) => name === "cursor"));
  const filtersOf = (route: Route) => queryOf(route).filter(({ schema }) => isId(schema));
  const filtered = routes.filter((route) => filtersOf(route).length > 0);
  const idsInBody = (route: Route) =>
    Object.entries(bodySchema(route)?.properties ?? {}).flatMap(([name, schema]) =>
      isId(schema) ? [name] : [],
    );
  const refers = routes.filter((route) => idsInBody(route).length > 0);

  it("is found, and a fresh token signed here is good: the control of the tokens", async () => {
    for (const some of [takesIds, takesNone, writes, pages, filtered]) expect(some.length).toBeGreaterThan(0);
    // What is in src/product may have no body that names another row.
    if (process.env["PRODUCT"] === "the tests'") expect(refers.length).toBeGreaterThan(0);
    const token = await resigned(alice.token, -1);
    expect((await request("GET", "/v1/me", { token })).status).toBe(200);
    expect((await request("GET", "/v1/members", { token: readingKey })).status).toBe(200);
  });

  afterEach(() => vi.restoreAllMocks());

  describe.each(named(routes))("%s", (_, route) => {
    it.each(refused)("answers %s with 401", async (_name, token) => {
      const path = route.path.replaceAll(/\{\w+\}/g, MISSING);
      const response = await request(route.method, path, {
        token: await token(),
        body: await bodyOf(route, alice),
      });
      expect(response.status).toBe(401);
      expect(described(route)).toContain(401);
    });

    it("answers its own tenant as it says it does", async () => {
      const caller = await callerOf(route, alice);
      const path = await own(route, caller);
      const body = await bodyOf(route, caller);
      const host = `${caller.tenant.slug}.${settings.BASE_DOMAIN}`;
      const response =
        route.name === IMPORT
          ? await sendArchive(caller.token, Buffer.from("not checked yet"))
          : await request(route.method, path, { token: caller.token, body, host });
      await taken(route, body, response);
      expect(described(route)).toContain(response.status);
    });

    it("answers another tenant's host with 403", async () => {
      const path = route.path.replaceAll(/\{\w+\}/g, MISSING);
      const host = `${ben.tenant.slug}.${settings.BASE_DOMAIN}`;
      const response = await request(route.method, path, {
        token: alice.token,
        body: await bodyOf(route, alice),
        host,
      });
      expect(response.status).toBe(403);
      expect(described(route)).toContain(403);
    });
  });

  it.each(named(guarded))("%s answers a viewer and an API key that only reads with 403", async (_, route) => {
    const path = await own(route, alice);
    const body = await bodyOf(route, alice);
    for (const token of isViewers(route) ? [readingKey] : [viewer.token, readingKey])
      expect((await request(route.method, path, { token, body })).status).toBe(403);
    expect(described(route)).toContain(403);
  });

  describe("of an operator whom the tenant lets in", () => {
    let cleo: SignedIn;
    const tokens = new Map<boolean, string>();
    beforeAll(async () => {
      cleo = await newTenant();
      await answered(200, setMode(cleo, "on"));
      for (const write of [false, true]) {
        const session = await enterTenant(await newOperator("support"), cleo, { write, minutes: 60 });
        tokens.set(write, session.access_token);
      }
    });

    it.each(named(routes))("%s takes the token as far as it was granted", async (_, route) => {
      for (const [write, token] of tokens) {
        const path = await own(route, cleo);
        const body = await bodyOf(route, cleo);
        const response = await request(route.method, path, { token, body });
        const isOpen = opensTo(route, write ? "support_write" : "support");
        if (isOpen) await taken(route, body, response);
        else expect(response.status).toBe(403);
      }
    });

    it("are some, and not all: the control of the above", () => {
      const open = (role: "support" | "support_write") => routes.filter((route) => opensTo(route, role));
      expect(open("support").length).toBeGreaterThan(5);
      expect(open("support").filter(({ method }) => method !== "GET")).toEqual([]);
      expect(open("support_write").some(({ method }) => method !== "GET")).toBe(true);
      expect(open("support_write").length).toBeLessThan(routes.length / 2);
    });
  });

  /** The answer to Ben, whole, to compare it with another. */
  async function toBen({ method }: Route, path: string, body: object | undefined) {
    const headers = { "x-request-id": "matrix-request" };
    const response = await request(method, path, { token: ben.token, body, headers });
    return { status: response.status, body: await response.text() };
  }

  it.each(named(takesIds))(
    "%s answers another tenant's ids as missing ones, and touches nothing",
    async (_, route) => {
      const target = await own(route, alice);
      const [, list = "", row = ""] = /^(\/v1(?:\/[\w-]+)+?)(\/[\w-]{36})/.exec(target) ?? [];
      const isShown = routes.some(
        ({ method, path }) => method === "GET" && path.replace(/\{\w+\}$/, row.slice(1)) === list + row,
      );
      const shown = () =>
        answered<object>(
          200,
          request("GET", isShown ? list + row : `${list}?limit=100`, { token: alice.token }),
        );
      const body = await bodyOf(route, ben);
      const before = await shown();
      const foreign = await toBen(route, target, body);
      expect(foreign.status).toBe(404);
      expect(described(route)).toContain(404);
      expect(foreign).toEqual(await toBen(route, route.path.replaceAll(/\{\w+\}/g, MISSING), body));
      expect(await shown()).toEqual(before);
    },
  );

  it.each(named(takesNone))("%s shows nothing that names another tenant", async (_, route) => {
    const caller = await callerOf(route, ben);
    const body = await bodyOf(route, caller);
    const response = await request(route.method, route.path, { token: caller.token, body });
    const text = await response.text();
    for (const id of [alice.tenant.id, alice.user.id, alice.tenant.slug, alice.user.email])
      expect(text).not.toContain(id);
    expect((await request("GET", "/v1/me", { token: alice.token })).status).toBe(200);
  });

  it.each(named(refers))("%s answers another tenant's ids in a body as missing ones", async (_, route) => {
    const [path, body] = [await own(route, ben), await bodyOf(route, ben)];
    for (const name of idsInBody(route)) {
      const missing = await toBen(route, path, { ...body, [name]: MISSING });
      expect([404, 422]).toContain(missing.status);
      expect(described(route)).toContain(missing.status);
      for (const id of [alice.user.id, alice.tenant.id])
        expect(await toBen(route, path, { ...body, [name]: id })).toEqual(missing);
    }
  });

  it.each(named(filtered))("%s finds nothing by another tenant's ids in a filter", async (_, route) => {
    const path = await own(route, ben);
    for (const { name } of filtersOf(route)) {
      const resource = `${name.replace(/_id$/, "")}s`;
      const isMade = routes.some((each) => each.method === "POST" && each.path.endsWith(`/${resource}`));
      for (const id of isMade ? [await make(resource, alice), alice.user.id] : [alice.user.id]) {
        const answer = request(route.method, and(path, `${name}=${id}`), { token: ben.token });
        expect((await answered<{ data: unknown[] }>(200, answer)).data).toEqual([]);
      }
    }
  });

  it.each(named(pages))("%s takes no cursor of another tenant's", async (_, route) => {
    const path = await own(route, alice);
    const maker = routes.find((each) => each.method === "POST" && each.path === route.path);
    const resource = route.path.split("/").at(-1) ?? "";
    for (let rows = 0; rows < 2; rows++)
      await (maker && !(resource in MAKERS) ? create(maker, path, alice) : make(resource, alice));
    const first = request(route.method, and(path, "limit=1"), { token: alice.token });
    const { next_cursor } = await answered<{ next_cursor: string | null }>(200, first);
    if (next_cursor === null)
      throw new Error(`The matrix got no second page of ${route.name}: teach it to make rows.`);
    const next = `limit=1&cursor=${next_cursor}`;
    expect((await request(route.method, and(path, next), { token: alice.token })).status).toBe(200);
    const response = await request(route.method, and(await own(route, ben), next), { token: ben.token });
    expect(response.status).toBe(400);
    expect(described(route)).toContain(400);
  });

  /** Each order of a list: its query, or nothing for the usual one. */
  const orders = pages.flatMap((route) => {
    const sort = queryOf(route).find(({ name }) => name === "sort")?.schema?.enum ?? [];
    return ["", ...sort.map((order) => `sort=${String(order)}`)].map(
      (order) => [route.name, order, route] as const,
    );
  });

  it.each(orders)(
    "%s?%s is read in the order of an index that begins with the tenant",
    async (_, order, route) => {
      const sent = vi.spyOn(globalThis, "fetch");
      await answered(200, request("GET", and(await own(route, alice), order), { token: alice.token }));
      const lists = sent.mock.calls.flatMap(([, init]) => listsOf(init));
      for (const { query, params } of lists) {
        const context = contextOf({ tenant: alice.tenant.id, actor: alice.user.id });
        const results = await CONTENT.login.transaction([
          CONTENT.login`select set_config('app.tenant', ${context}, true), set_config('search_path', ${PLACE.schema}, true)`,
          ...["seqscan", "bitmapscan", "sort"].map((way) =>
            CONTENT.login.query(`set local enable_${way} = off`),
          ),
          CONTENT.login.query(`explain ${query}`, params),
        ]);
        const plan = (results.at(-1) ?? []).map((row) => Object.values(row).join());
        expect(plan.join("\n")).toMatch(/Index Cond: .*tenant_id/);
        const sorts = plan.filter((line) => line.includes("Sort"));
        expect(sorts, "needs an index on tenant_id, what it is ordered by, and id").toEqual([]);
      }
      // The control plane's lists are read by another login.
      if (!isControls(route)) expect(lists).toHaveLength(1);
    },
  );
});

type Query = { query: string; params: unknown[] };

/** The queries of content, in a request to the database, that read a list. */
function listsOf(init: RequestInit | undefined): Query[] {
  const login = new Headers(init?.headers).get("neon-connection-string");
  if (!login || new URL(login).username !== CONTENT.role) return [];
  const { queries } = JSON.parse(String(init?.body)) as { queries: Query[] };
  return queries.filter(({ query }) => query.includes("order by"));
}

/** Lists of the control plane. */
const isControls = ({ path }: Route) =>
  /^\/v1\/(sessions|members|invitations|api-keys|issuers|tenant\/(exports|support-sessions))$/.test(path);
