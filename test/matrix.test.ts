import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { app as worker } from "../src/app.ts";
import { settings } from "../src/env.ts";
import { attempt, app, codeOf, contextOf, lastRows, MISSING, type Target } from "./support/attacks.ts";
import { answered, newMember, newTenant, request, type SignedIn } from "./support/client.ts";

// First every tenant table that the catalog knows, then every route that takes a token, attacked in every way there
// is to touch another tenant's row. A new table or route joins by itself; one for which no row or request can be made
// up from its column types or its OpenAPI description fails, and says what is missing.

type Column = { name: string; type: string; required: boolean; check: string | null };
type Reference = { name: string; table: string; columns: string[]; foreign: string[] };
type Table = {
  name: string;
  columns: Column[];
  primary: string[];
  uniques: { name: string; columns: string[] }[];
  references: Reference[];
};
type Tenant = Pick<Target, "tenant" | "actor">;
type Row = Record<string, unknown>;

const CATALOG = `
  select c.relname as name,
    (select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, null),
        'required', a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = '',
        'check', (select string_agg(pg_get_constraintdef(k.oid), ' ') from pg_constraint k
          where k.conrelid = c.oid and k.contype = 'c' and a.attnum = any (k.conkey))) order by a.attnum)
      from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    (select json_agg(a.attname order by x.at) from pg_index i, unnest(i.indkey::int2[]) with ordinality x (num, at), pg_attribute a
      where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = x.num) as "primary",
    (select coalesce(json_agg(json_build_object('name', i.indexrelid::regclass::text, 'columns',
        (select json_agg(coalesce(a.attname, '(expression)') order by x.at)
          from unnest(i.indkey::int2[]) with ordinality x (num, at)
          left join pg_attribute a on a.attrelid = c.oid and a.attnum = x.num and x.num > 0))), '[]')
      from pg_index i where i.indrelid = c.oid and i.indisunique) as uniques,
    (select coalesce(json_agg(json_build_object('name', k.conname, 'table', f.relname,
        'columns', (select json_agg(a.attname order by x.at) from unnest(k.conkey) with ordinality x (num, at)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = x.num),
        'foreign', (select json_agg(a.attname order by x.at) from unnest(k.confkey) with ordinality x (num, at)
          join pg_attribute a on a.attrelid = f.oid and a.attnum = x.num))), '[]')
      from pg_constraint k join pg_class f on f.oid = k.confrelid where k.conrelid = c.oid and k.contype = 'f') as "references"
  from pg_class c join pg_policy p on p.polrelid = c.oid
  where p.polname = 'tenant_only' and not p.polpermissive order by c.relname`;

const tables = (await app.query(CATALOG)) as Table[];

let ada: Tenant;
let bob: Tenant;
const hers = new Map<string, Row>();
const his = new Map<string, Row>();

const inside = (t: Tenant, ...statements: string[]) => attempt(app, contextOf(t as Target), statements);

/** A literal of the column's type that its CHECK allows: the first text that the CHECK names, if it names one. */
function literal(table: string, { name, type, check }: Column): string {
  const [, named] = /'([^']*)'::text/.exec(check ?? "") ?? [];
  if (named !== undefined) return `'${named}'`;
  const values: Record<string, string> = {
    uuid: `'${crypto.randomUUID()}'`,
    text: "'matrix'",
    "character varying": "'matrix'",
    smallint: "1",
    integer: "1",
    bigint: "1",
    numeric: "1",
    real: "1",
    "double precision": "1",
    boolean: "true",
    date: "'2026-01-01'",
    "timestamp with time zone": "'2026-01-01T00:00:00Z'",
    "timestamp without time zone": "'2026-01-01T00:00:00'",
    interval: "'1 day'",
    json: "'{}'",
    jsonb: "'{}'",
    bytea: String.raw`'\x00'`,
    inet: "'192.0.2.1'",
  };
  const value = type.endsWith("[]") ? "'{}'" : values[type];
  if (value === undefined)
    throw new Error(
      `The matrix cannot fill ${table}.${name}: teach literal() in test/matrix.test.ts the type ${type}.`,
    );
  return value;
}

/** Makes a row of the table in the tenant, and first the rows that it must refer to. */
async function plant(table: Table, t: Tenant, rows: Map<string, Row>): Promise<Row> {
  const known = rows.get(table.name);
  if (known) return known;
  const given = new Map<string, string>();
  for (const column of table.columns)
    if (column.required && column.name !== "tenant_id") given.set(column.name, literal(table.name, column));
  for (const reference of table.references) {
    if (!reference.columns.some((name) => given.has(name))) continue;
    const referred = await referredBy(reference, t, rows, table.name);
    for (const [at, name] of reference.columns.entries())
      if (name !== "tenant_id") given.set(name, `'${String(referred[reference.foreign[at] ?? ""])}'`);
  }
  const { error, rows: made } = await inside(
    t,
    `insert into ${table.name} (${[...given.keys()].join(", ")}) values (${[...given.values()].join(", ")}) returning *`,
  );
  const row = made[0]?.[0] as Row | undefined;
  if (!row)
    throw new Error(
      `The matrix cannot make a row of ${table.name}: ${JSON.stringify(error)}. Teach it in test/matrix.test.ts.`,
    );
  rows.set(table.name, row);
  return row;
}

/** The row of the tenant that the reference can point to. */
async function referredBy(to: Reference, t: Tenant, rows: Map<string, Row>, from: string): Promise<Row> {
  if (to.table === "memberships") return { tenant_id: t.tenant, user_id: t.actor };
  const parent = tables.find(({ name }) => name === to.table && name !== from);
  if (!parent)
    throw new Error(
      `The matrix cannot follow ${to.name} of ${from} to ${to.table}: it is no other tenant table. Teach referredBy().`,
    );
  return plant(parent, t, rows);
}

beforeAll(async () => {
  [ada, bob] = (await Promise.all([newTenant(), newTenant()])).map(({ tenant, user }) => ({
    tenant: tenant.id,
    actor: user.id,
  })) as [Tenant, Tenant];
  for (const table of tables) {
    await plant(table, ada, hers);
    await plant(table, bob, his);
  }
});

it("finds tenant tables, and nothing else that the app role may touch but its own tenants row", async () => {
  const open =
    await app.query(`select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
      and (has_table_privilege('partywall_app', c.oid, 'select, insert, update, delete, truncate, references, trigger')
        or has_any_column_privilege('partywall_app', c.oid, 'select, insert, update, references')) order by 1`);
  expect(open.map(({ name }) => String(name)).sort()).toEqual(
    [...tables.map(({ name }) => name), "tenants"].sort(),
  );
  expect(tables.length).toBeGreaterThan(0);
});

describe.each(tables.map((table) => [table.name, table] as const))("%s", (name, table) => {
  const at = (row: Row | undefined) =>
    table.primary.map((column) => `${column} = '${String(row?.[column])}'`).join(" and ");
  const shown = async (t: Tenant) =>
    lastRows(await inside(t, `select * from ${name} order by ${table.primary.join(", ")}`));
  /** A column that an UPDATE may set to itself. */
  const some = table.columns.find((column) => column.name !== "tenant_id")?.name ?? "tenant_id";
  const copied = (into: string) => {
    const names = table.columns.map((column) => column.name);
    return `insert into ${name} (${names.join(", ")}) select ${names
      .map((column) => (column === "tenant_id" ? `'${into}'::uuid` : column))
      .join(", ")} from ${name} limit 1`;
  };

  /** What B's statement does must leave A's rows as they are. */
  async function attacked(statement: string) {
    const before = await shown(ada);
    expect(before).toHaveLength(1);
    const outcome = await inside(bob, statement);
    expect(await shown(ada)).toEqual(before);
    return outcome;
  }

  it("select: no row of the other tenant, by key or by none; its own tenant sees it", async () => {
    const byKey = `select * from ${name} where ${at(hers.get(name))}`;
    expect(await inside(bob, byKey, `select * from ${name} where tenant_id = '${ada.tenant}'`)).toMatchObject(
      {
        rows: [[], []],
      },
    );
    expect(new Set((await shown(bob)).map((row) => (row as Row)["tenant_id"]))).toEqual(
      new Set([bob.tenant]),
    );
    expect(lastRows(await inside(ada, byKey))).toHaveLength(1);
  });

  it("insert: refused for the other tenant", async () => {
    expect(await attacked(copied(ada.tenant))).toMatchObject({ error: { code: "42501" } });
    const control = await inside(bob, copied(bob.tenant));
    expect(codeOf(control)).toBe("23505");
  });

  it("update: finds no row of the other tenant, and gives none away", async () => {
    const set = (row: Row | undefined) =>
      `update ${name} set ${some} = ${some} where ${at(row)} returning ${some}`;
    expect(await attacked(set(hers.get(name)))).toMatchObject({ rows: [[]] });
    expect(await attacked(`update ${name} set tenant_id = '${ada.tenant}'`)).toMatchObject({
      error: { code: "42501" },
    });
    expect(lastRows(await inside(bob, set(his.get(name))))).toHaveLength(1);
  });

  it("delete: finds no row of the other tenant", async () => {
    const gone = (row: Row | undefined) => `delete from ${name} where ${at(row)} returning ${some}`;
    expect(await attacked(gone(hers.get(name)))).toMatchObject({ rows: [[]] });
    const control = await inside(bob, "savepoint s", gone(his.get(name)), "rollback to s");
    expect(control.rows[1]).toHaveLength(1);
  });

  it("upsert: neither sees nor changes the row in the way", async () => {
    const upsert = (into: string) =>
      `${copied(into)} on conflict (${table.primary.join(", ")}) do update set ${some} = excluded.${some} returning ${some}`;
    expect(await attacked(upsert(ada.tenant))).toMatchObject({ error: { code: "42501" } });
    expect(await attacked(`${copied(ada.tenant)} on conflict do nothing`)).toMatchObject({
      error: { code: "42501" },
    });
    expect(lastRows(await inside(bob, upsert(bob.tenant)))).toHaveLength(1);
  });

  it("unique: every key starts with tenant_id, so no tenant stumbles over another's", () => {
    for (const unique of table.uniques) expect(unique).toMatchObject({ columns: { 0: "tenant_id" } });
    expect(table.primary[0]).toBe("tenant_id");
  });

  it("foreign reference: another tenant's row is refused as one that does not exist", async () => {
    for (const reference of table.references) {
      expect(reference.columns[0]).toBe("tenant_id");
      expect(reference.foreign[0]).toBe("tenant_id");
      const refer = async (referred: Row) => {
        const set = reference.columns
          .map((column, position) => [column, String(referred[reference.foreign[position] ?? ""])] as const)
          .filter(([column]) => column !== "tenant_id");
        const { error } = await inside(
          bob,
          "savepoint s",
          `update ${name} set ${set.map(([column, value]) => `${column} = '${value}'`).join(", ")}`,
          "rollback to s",
        );
        const text = JSON.stringify([
          error?.["code"],
          error?.["message"],
          error?.["detail"],
          error?.["constraint"],
        ]);
        return {
          code: error?.["code"],
          text: set.reduce((said, [, value]) => said.replaceAll(value, "…"), text),
        };
      };
      const theirs = await referredBy(reference, ada, hers, name);
      const nobodys = Object.fromEntries(Object.keys(theirs).map((column) => [column, MISSING]));
      const foreign = await refer(theirs);
      expect(foreign.code).toBe("23503");
      expect(foreign).toEqual(await refer(nobodys));
      expect((await refer(await referredBy(reference, bob, his, name))).code).toBeUndefined();
    }
  });
});

// --- Routes ---

type Schema = {
  type?: string | string[];
  format?: string;
  pattern?: string;
  minLength?: number;
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
type Parameter = { name: string; in: string; required?: boolean; schema?: Schema };
type Operation = {
  security?: object[];
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, unknown>;
};
type Route = { name: string; method: string; path: string; operation: Operation };
type Api = {
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
};

const api = await answered<Api>(200, request("GET", "/openapi.json"));

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
  return operation.security?.length === 0 ? [] : [{ name, method, path, operation }];
});

/** A value that the schema takes. */
function example(of: Schema, where: string): unknown {
  const fail = (what: string): never => {
    throw new Error(`The matrix cannot make up ${where} (${what}): teach example() in test/matrix.test.ts.`);
  };
  if (of.$ref) {
    const referred = api.components?.schemas?.[of.$ref.replace("#/components/schemas/", "")];
    return referred ? example(referred, where) : fail(of.$ref);
  }
  if (of.const !== undefined) return of.const;
  if (of.enum) return of.enum[0];
  const [choice] = of.anyOf ?? of.oneOf ?? [];
  if (choice) return example(choice, where);
  switch (Array.isArray(of.type) ? of.type[0] : of.type) {
    case "string": {
      const word = `m${crypto.randomUUID().slice(0, 8)}`;
      const formats: Record<string, string> = {
        uuid: crypto.randomUUID(),
        email: `${word}@matrix.test`,
        date: "2026-01-01",
        "date-time": "2026-01-01T00:00:00Z",
        uri: `https://${word}.test`,
      };
      const text = of.format ? formats[of.format] : word.padEnd(of.minLength ?? 0, "x");
      if (text === undefined) return fail(`format ${String(of.format)}`);
      // A format's own pattern is as good as the format.
      if (of.pattern && !of.format && !new RegExp(of.pattern, "u").test(text))
        return fail(`pattern ${of.pattern}`);
      return text;
    }
    case "integer":
    case "number":
      return of.minimum ?? 1;
    case "boolean":
      return true;
    case "null":
      return null;
    case "array":
      return Array.from({ length: of.minItems ?? 0 }, () => example(of.items ?? {}, `${where}[]`));
    case "object":
      return Object.fromEntries(
        (of.required ?? []).map((name) => [name, example(of.properties?.[name] ?? {}, `${where}.${name}`)]),
      );
    default:
      return fail(`type ${String(of.type)}`);
  }
}

const bodySchema = ({ operation }: Route): Schema | undefined =>
  Object.values(operation.requestBody?.content ?? {})[0]?.schema;

/** A body that the route takes: what it requires, or else the first thing that it offers. */
function bodyOf(route: Route): object | undefined {
  const schema = bodySchema(route);
  if (!schema) return undefined;
  const body = example(schema, `the body of ${route.name}`) as Record<string, unknown>;
  const [first] = Object.entries(schema.properties ?? {});
  if (Object.keys(body).length === 0 && first)
    body[first[0]] = example(first[1], `${route.name} ${first[0]}`);
  return body;
}

const isId = (schema: Schema | undefined): boolean =>
  schema?.format === "uuid" || (schema?.anyOf ?? []).some((choice) => choice.format === "uuid");

/** What the parameter names: in `/v1/projects/{id}/tasks` the id is one of projects. */
const parametersOf = ({ path }: Route): [string, string][] =>
  [...path.matchAll(/([\w-]+)\/\{(\w+)\}/g)].map(([, resource = "", name = ""]) => [name, resource]);

/** The route's path with the ids of rows made for this by the tenant itself. */
async function own(route: Route, who: SignedIn): Promise<string> {
  let path = route.path;
  for (const [name, resource] of parametersOf(route))
    path = path.replace(`{${name}}`, await make(resource, who));
  if (path.includes("{"))
    throw new Error(`The matrix does not know what ${route.name} is an id of: name a resource before it.`);
  return path;
}

/** The id of a new row of the resource, made by the route that makes such rows. */
async function make(resource: string, who: SignedIn): Promise<string> {
  const maker = routes.find(({ method, path }) => method === "POST" && path.endsWith(`/${resource}`));
  if (!maker)
    throw new Error(
      `The matrix cannot make a row of ${resource}: there is no POST …/${resource}. Teach make().`,
    );
  return create(maker, await own(maker, who), who);
}

async function create(maker: Route, path: string, who: SignedIn): Promise<string> {
  const made = await answered<{ id?: string }>(
    201,
    request("POST", path, { token: who.token, body: bodyOf(maker) }),
  );
  if (!made.id) throw new Error(`${maker.name} answers no id: teach make() in test/matrix.test.ts.`);
  return made.id;
}

/** Only a route that deletes the tenant itself needs a tenant that nobody else uses. */
const callerOf = async ({ method, path }: Route, usual: SignedIn): Promise<SignedIn> =>
  method === "DELETE" && !path.includes("{") ? newTenant() : usual;

const described = ({ operation }: Route) => Object.keys(operation.responses).map(Number);

describe("every route that takes a token", () => {
  let alice: SignedIn;
  let ben: SignedIn;
  let viewer: SignedIn;
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
  const queryOf = ({ operation }: Route) =>
    (operation.parameters ?? []).filter((each) => each.in === "query");
  const pages = routes.filter((route) => queryOf(route).some(({ name }) => name === "cursor"));
  const filtersOf = (route: Route) => queryOf(route).filter(({ schema }) => isId(schema));
  const filtered = routes.filter((route) => filtersOf(route).length > 0);
  const idsInBody = (route: Route) =>
    Object.entries(bodySchema(route)?.properties ?? {}).flatMap(([name, schema]) =>
      isId(schema) ? [name] : [],
    );
  const refers = routes.filter((route) => idsInBody(route).length > 0);

  it("is found, and a fresh token signed here is good: the control of the tokens", async () => {
    for (const some of [takesIds, takesNone, writes, pages, filtered, refers])
      expect(some.length).toBeGreaterThan(0);
    const token = await resigned(alice.token, -1);
    expect((await request("GET", "/v1/me", { token })).status).toBe(200);
  });

  describe.each(named(routes))("%s", (_, route) => {
    it.each(refused)("answers %s with 401", async (_name, token) => {
      const path = route.path.replaceAll(/\{\w+\}/g, MISSING);
      const response = await request(route.method, path, { token: await token(), body: bodyOf(route) });
      expect(response.status).toBe(401);
      expect(described(route)).toContain(401);
    });

    it("answers its own tenant as it says it does", async () => {
      const caller = await callerOf(route, alice);
      const path = await own(route, caller);
      const response = await request(route.method, path, { token: caller.token, body: bodyOf(route) });
      expect(response.ok).toBe(true);
      expect(described(route)).toContain(response.status);
    });
  });

  it.each(named(writes))("%s answers a viewer with 403", async (_, route) => {
    const path = await own(route, alice);
    const response = await request(route.method, path, { token: viewer.token, body: bodyOf(route) });
    expect(response.status).toBe(403);
    expect(described(route)).toContain(403);
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
      const row = /^\/v1\/[\w-]+\/[\w-]{36}/.exec(target)?.[0] ?? "";
      const shown = () => answered<object>(200, request("GET", row, { token: alice.token }));
      const [before, body] = [await shown(), bodyOf(route)];
      const foreign = await toBen(route, target, body);
      expect(foreign.status).toBe(404);
      expect(described(route)).toContain(404);
      expect(foreign).toEqual(await toBen(route, route.path.replaceAll(/\{\w+\}/g, MISSING), body));
      expect(await shown()).toEqual(before);
    },
  );

  it.each(named(takesNone))("%s shows nothing that names another tenant", async (_, route) => {
    const caller = await callerOf(route, ben);
    const response = await request(route.method, route.path, { token: caller.token, body: bodyOf(route) });
    const text = await response.text();
    for (const id of [alice.tenant.id, alice.user.id, alice.tenant.slug, alice.user.email])
      expect(text).not.toContain(id);
    expect((await request("GET", "/v1/me", { token: alice.token })).status).toBe(200);
  });

  it.each(named(refers))("%s answers another tenant's ids in a body as missing ones", async (_, route) => {
    const [path, body] = [await own(route, ben), bodyOf(route)];
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
        const answer = request(route.method, `${path}?${name}=${id}`, { token: ben.token });
        expect((await answered<{ data: unknown[] }>(200, answer)).data).toEqual([]);
      }
    }
  });

  it.each(named(pages))("%s takes no cursor of another tenant's", async (_, route) => {
    const path = await own(route, alice);
    const maker = routes.find((each) => each.method === "POST" && each.path === route.path);
    const resource = route.path.split("/").at(-1) ?? "";
    for (let rows = 0; rows < 2; rows++) await (maker ? create(maker, path, alice) : make(resource, alice));
    const first = request(route.method, `${path}?limit=1`, { token: alice.token });
    const { next_cursor } = await answered<{ next_cursor: string | null }>(200, first);
    if (next_cursor === null)
      throw new Error(`The matrix got no second page of ${route.name}: teach it to make rows.`);
    const next = `?limit=1&cursor=${next_cursor}`;
    expect((await request(route.method, `${path}${next}`, { token: alice.token })).status).toBe(200);
    const response = await request(route.method, `${await own(route, ben)}${next}`, { token: ben.token });
    expect(response.status).toBe(400);
    expect(described(route)).toContain(400);
  });
});
