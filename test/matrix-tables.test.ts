import { beforeAll, describe, expect, it } from "vitest";
import { asOwner, attempt, app, codeOf, contextOf, lastRows, MISSING, migrator } from "./support/attacks.ts";
import type { Target } from "./support/attacks.ts";
import { login, newTenant } from "./support/client.ts";

// Every tenant table that the catalog knows, as the app role, and every identity table that says whose its rows are, as
// the identity role in a tenant's context: attacked in every way there is to touch another tenant's row. A new table
// joins by itself; one for which no row can be made up from its column types fails, and says what is missing.

type Column = { name: string; type: string; required: boolean; check: string | null };
type Reference = { name: string; table: string; columns: string[]; foreign: string[] };
type Role = "partywall_app" | "partywall_identity";
type Table = {
  name: string;
  /** Who serves it, and what that role may do to it. */
  role: Role;
  may: ("insert" | "update" | "delete")[];
  columns: Column[];
  primary: string[];
  uniques: { name: string; columns: string[] }[];
  references: Reference[];
};
type Tenant = Pick<Target, "tenant" | "actor">;
type Row = Record<string, unknown>;

const CATALOG = `
  select c.relname as name, s.role,
    (select coalesce(json_agg(p), '[]') from unnest(array['insert', 'update', 'delete']) p
      where has_table_privilege(s.role, c.oid, p)) as may,
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
  from pg_class c cross join (values ('partywall_app'), ('partywall_identity')) s (role)
  where c.relnamespace = 'public'::regnamespace and case s.role
    when 'partywall_app' then exists (select from pg_policy where polrelid = c.oid and polname = 'tenant_only'
      and not polpermissive)
    else c.relkind in ('r', 'p') and has_table_privilege(s.role, c.oid, 'select')
      and exists (select from pg_attribute where attrelid = c.oid and attname = 'tenant_id') end
  order by 1`;

const identity = login("IDENTITY_DATABASE_URL");
const tables = (await app.query(CATALOG)) as Table[];

let ada: Tenant;
let bob: Tenant;
const hers = new Map<string, Row>();
const his = new Map<string, Row>();

/** SQL in the tenant's own context, as the role that serves the table. */
const inside = ({ role }: Table, t: Tenant, ...statements: string[]) =>
  attempt(role === "partywall_app" ? app : identity, contextOf(t as Target, role), statements);

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
    bigint: "9007199254740991",
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
    bytea: String.raw`'\x${crypto.randomUUID().replaceAll("-", "")}'`,
    inet: "'192.0.2.1'",
  };
  const value = type.endsWith("[]") ? "'{}'" : values[type];
  if (value === undefined)
    throw new Error(
      `The matrix cannot fill ${table}.${name}: teach literal() in test/matrix-tables.test.ts the type ${type}.`,
    );
  return value;
}

/** Makes a row of the table in the tenant, and first the rows that it must refer to. */
async function plant(table: Table, t: Tenant, rows: Map<string, Row>): Promise<Row> {
  const known = rows.get(table.name);
  if (known) return known;
  const given = new Map<string, string>();
  for (const column of table.columns)
    if (column.required)
      given.set(column.name, column.name === "tenant_id" ? `'${t.tenant}'` : literal(table.name, column));
  for (const reference of table.references) {
    if (!reference.columns.some((name) => given.has(name))) continue;
    const referred = await referredBy(reference, t, rows, table.name);
    for (const [at, name] of reference.columns.entries())
      if (name !== "tenant_id") given.set(name, `'${String(referred[reference.foreign[at] ?? ""])}'`);
  }
  // Each tenant has its head already.
  const insert =
    table.name === "outbox_heads"
      ? "select * from outbox_heads"
      : `insert into ${table.name} (${[...given.keys()].join(", ")}) values (${[...given.values()].join(", ")}) returning *`;
  // What the role may not make, its owner makes.
  const outcome = await (table.may.includes("insert") || table.name === "outbox_heads"
    ? inside(table, t, insert)
    : attempt(migrator, contextOf(t as Target, "partywall_migrator"), [
        "set local role partywall_owner",
        insert,
      ]));
  const row = lastRows(outcome)[0] as Row | undefined;
  if (!row)
    throw new Error(
      `The matrix cannot make a row of ${table.name}: ${JSON.stringify(outcome.error)}. Teach it in test/matrix-tables.test.ts.`,
    );
  rows.set(table.name, row);
  return row;
}

/** The row of the tenant that the reference can point to. */
async function referredBy(to: Reference, t: Tenant, rows: Map<string, Row>, from: string): Promise<Row> {
  if (to.table === "memberships") return { tenant_id: t.tenant, user_id: t.actor };
  if (to.table === "tenants") return { id: t.tenant };
  if (to.table === "users") {
    const id = crypto.randomUUID();
    await identity`insert into users (id, email) values (${id}, ${`${id}@matrix.test`})`;
    return { id };
  }
  const parent = tables.find(({ name }) => name === to.table && name !== from);
  if (!parent)
    throw new Error(
      `The matrix cannot follow ${to.name} of ${from} to ${to.table}: it is no other of these tables. Teach referredBy().`,
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
    [...tables.filter(({ role }) => role === "partywall_app").map(({ name }) => name), "tenants"].sort(),
  );
  expect(new Set(tables.map(({ role }) => role)).size).toBe(2);
});

describe.each(tables.map((table) => [table.name, table] as const))("%s", (name, table) => {
  const isWalled = table.role === "partywall_app";
  const at = (row: Row | undefined) =>
    table.primary.map((column) => `${column} = '${String(row?.[column])}'`).join(" and ");
  const shown = async (t: Tenant) =>
    lastRows(await inside(table, t, `select * from ${name} order by ${table.primary.join(", ")}`));
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
    expect(before.length).toBeGreaterThan(0);
    const outcome = await inside(table, bob, statement);
    expect(await shown(ada)).toEqual(before);
    return outcome;
  }

  /** Whether the role may not do this at all: then not even to its own tenant's rows, as only the owner may. */
  async function lacks(privilege: Table["may"][number], statement: string): Promise<boolean> {
    if (table.may.includes(privilege)) return false;
    expect(await attacked(statement)).toMatchObject({ error: { code: "42501" } });
    expect(codeOf(await asOwner(bob as Target, statement))).not.toBe("42501");
    return true;
  }

  it("select: no row of the other tenant, by key or by none; its own tenant sees it", async () => {
    const byKey = `select * from ${name} where ${at(hers.get(name))}`;
    const byTenant = `select * from ${name} where tenant_id = '${ada.tenant}'`;
    expect(await inside(table, bob, byKey, byTenant)).toMatchObject({ rows: [[], []] });
    expect(new Set((await shown(bob)).map((row) => (row as Row)["tenant_id"]))).toEqual(
      new Set([bob.tenant]),
    );
    expect(lastRows(await inside(table, ada, byKey))).toHaveLength(1);
    const withoutContext = await attempt(isWalled ? app : identity, undefined, [byKey]);
    if (isWalled) expect(codeOf(withoutContext)).toBe("28000");
    else expect(lastRows(withoutContext)).toHaveLength(1);
  });

  it("insert: refused for the other tenant", async () => {
    expect(await attacked(copied(ada.tenant))).toMatchObject({ error: { code: "42501" } });
    if (await lacks("insert", copied(bob.tenant))) return;
    expect(codeOf(await inside(table, bob, copied(bob.tenant)))).toBe("23505");
  });

  it("update: finds no row of the other tenant, and gives none away", async () => {
    const set = (row: Row | undefined) =>
      `update ${name} set ${some} = ${some} where ${at(row)} returning ${some}`;
    if (await lacks("update", set(his.get(name)))) return;
    expect(await attacked(set(hers.get(name)))).toMatchObject({ rows: [[]] });
    expect(await attacked(`update ${name} set tenant_id = '${ada.tenant}'`)).toMatchObject({
      error: { code: "42501" },
    });
    expect(lastRows(await inside(table, bob, set(his.get(name))))).toHaveLength(1);
  });

  it("delete: finds no row of the other tenant", async () => {
    const gone = (row: Row | undefined) => `delete from ${name} where ${at(row)} returning ${some}`;
    if (await lacks("delete", gone(his.get(name)))) return;
    expect(await attacked(gone(hers.get(name)))).toMatchObject({ rows: [[]] });
    const control = await inside(table, bob, "savepoint s", gone(his.get(name)), "rollback to s");
    expect(control.rows[1]).toHaveLength(1);
  });

  it("upsert: neither sees nor changes the row in the way", async () => {
    const upsert = (into: string) =>
      `${copied(into)} on conflict (${table.primary.join(", ")}) do update set ${some} = excluded.${some} returning ${some}`;
    expect(await attacked(upsert(ada.tenant))).toMatchObject({ error: { code: "42501" } });
    expect(await attacked(`${copied(ada.tenant)} on conflict do nothing`)).toMatchObject({
      error: { code: "42501" },
    });
    if (await lacks("insert", upsert(bob.tenant))) return;
    expect(lastRows(await inside(table, bob, upsert(bob.tenant)))).toHaveLength(1);
  });

  // What is unique in all of identity is no tenant's to choose: ids, hashes.
  it.skipIf(!isWalled)(
    "unique: every key starts with tenant_id, so no tenant stumbles over another's",
    () => {
      for (const unique of table.uniques) expect(unique).toMatchObject({ columns: { 0: "tenant_id" } });
      expect(table.primary[0]).toBe("tenant_id");
    },
  );

  it.skipIf(!isWalled)("plan: Postgres takes each tenant for a large one, as wall.sql says", async () => {
    const column =
      "select attoptions from pg_attribute where attrelid = $1::regclass and attname = 'tenant_id'";
    expect(await app.query(column, [name])).toEqual([{ attoptions: ["n_distinct=500"] }]);
  });

  it("foreign reference: another tenant's row is refused as one that does not exist", async () => {
    for (const reference of table.references) {
      if (!isWalled && reference.foreign[0] !== "tenant_id") continue;
      // It names the tenant, and nothing of it.
      if (reference.columns.length === 1) continue;
      expect(reference.columns[0]).toBe("tenant_id");
      expect(reference.foreign[0]).toBe("tenant_id");
      const refer = async (referred: Row) => {
        const set = reference.columns
          .map((column, position) => [column, String(referred[reference.foreign[position] ?? ""])] as const)
          .filter(([column]) => column !== "tenant_id");
        const { error } = await inside(
          table,
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
