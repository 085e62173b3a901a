import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { CONTROL, SHARED_SITE } from "../src/db/places.ts";
import {
  ACCOUNT,
  attempt,
  codeOf,
  CONTENT,
  contextOf,
  insideOf,
  lastRows,
  UNDO,
  UNDONE,
  type Lane,
  type Outcome,
  type Target,
} from "./support/attacks.ts";
import { login, newTenant, stage } from "./support/client.ts";
import { matching } from "./support/matching.ts";
import { AT_SITE, PLACE, SITE } from "./support/site.ts";

// Every table of both planes that the catalog knows, as each login that serves requests: attacked in every way there is
// to see or touch another tenant's row from inside a tenant's context. A new table joins by itself; one for which no row
// can be made up from its column types and CHECKs fails, and says what is missing; a product teaches it in
// test/product/matrix.ts.

type Privileges = { select: boolean; insert: boolean; update: boolean };
type Column = {
  name: string;
  type: string;
  /** Null, or refused, where an INSERT does not name it. */
  bare: boolean;
  required: boolean;
  generated: boolean;
  check: string | null;
};
type Reference = { name: string; table: string; columns: string[]; foreign: string[] };
type Table = {
  name: string;
  /** Which column says whose a row is; null when its members and issuers do, as of users. */
  tenant: string | null;
  columns: Column[];
  primary: string[];
  uniques: { name: string; columns: string[]; predicate: string | null }[];
  references: Reference[];
  /** What each role may do to which columns, and whether it may delete. */
  may: Record<string, { columns: Record<string, Privileges>; delete: boolean }>;
};
type Tenant = Pick<Target, "tenant" | "actor">;
type Row = Record<string, unknown>;

const ROLES = ["partywall_app", "partywall_account", "partywall_identity"];

const CATALOG = `
  select n.nspname || '.' || c.relname as name,
    case when exists (select from pg_attribute where attrelid = c.oid and attname = 'tenant_id') then 'tenant_id'
      when c.oid in (to_regclass('control.tenants'), to_regclass('control.erasures')) then 'id' end as tenant,
    (select json_object_agg(role, json_build_object('delete', has_table_privilege(role, c.oid, 'delete'),
        'columns', (select json_object_agg(attname, json_build_object(
            'select', has_column_privilege(role, c.oid, attnum, 'select'),
            'insert', has_column_privilege(role, c.oid, attnum, 'insert'),
            'update', has_column_privilege(role, c.oid, attnum, 'update')))
          from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped)))
      from unnest($1::text[]) role) as may,
    (select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, null),
        'generated', a.attgenerated <> '',
        'bare', not a.atthasdef and a.attidentity = '',
        'required', a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = '',
        'check', (select string_agg(pg_get_constraintdef(k.oid), ' ') from pg_constraint k
          where k.conrelid = c.oid and k.contype = 'c' and a.attnum = any (k.conkey))) order by a.attnum)
      from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    (select json_agg(a.attname order by x.at) from pg_index i, unnest(i.indkey::int2[]) with ordinality x (num, at), pg_attribute a
      where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = x.num) as "primary",
    (select coalesce(json_agg(json_build_object('name', u.relname, 'predicate', pg_get_expr(i.indpred, c.oid), 'columns',
        (select json_agg(coalesce(a.attname, '(expression)') order by x.at)
          from unnest(i.indkey::int2[]) with ordinality x (num, at)
          left join pg_attribute a on a.attrelid = c.oid and a.attnum = x.num and x.num > 0))), '[]')
      from pg_index i join pg_class u on u.oid = i.indexrelid where i.indrelid = c.oid and i.indisunique) as uniques,
    (select coalesce(json_agg(json_build_object('name', k.conname, 'table', f.relnamespace::regnamespace || '.' || f.relname,
        'columns', (select json_agg(a.attname order by x.at) from unnest(k.conkey) with ordinality x (num, at)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = x.num),
        'foreign', (select json_agg(a.attname order by x.at) from unnest(k.confkey) with ordinality x (num, at)
          join pg_attribute a on a.attrelid = f.oid and a.attnum = x.num))), '[]')
      from pg_constraint k join pg_class f on f.oid = k.confrelid where k.conrelid = c.oid and k.contype = 'f') as "references"
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $2 and c.relkind in ('r', 'p')
  order by 1`;

const tables = (
  await Promise.all([
    stage.query(CATALOG, [ROLES, CONTROL.schema]),
    AT_SITE.stage.query(CATALOG, [ROLES, PLACE.schema]),
  ])
).flat() as Table[];
const placeOf = ({ name }: Table) => (name.startsWith("control.") ? CONTROL : PLACE);
/** Those that this run attacks: with tenants at another site, the control plane is the same as with all others. */
const attackedTables = SITE === SHARED_SITE ? tables : tables.filter((table) => placeOf(table) !== CONTROL);
const [{ superuser }] = (await stage.query("select current_user as superuser")) as [{ superuser: string }];

const IDENTITY: Lane = {
  login: login("IDENTITY_DATABASE_URL"),
  role: "partywall_identity",
  place: CONTROL,
  content: [],
};
const LANES = [CONTENT, ACCOUNT, IDENTITY];
const stageAt = (table: Table) => (placeOf(table) === CONTROL ? stage : AT_SITE.stage);

let ada: Tenant;
let bob: Tenant;
const hers = new Map<string, Row>();
const his = new Map<string, Row>();

/** As a superuser whom no wall binds, in the tenant's context. */
const onStage = (table: Table, t: Tenant, ...statements: string[]): Promise<Outcome> =>
  attempt(stageAt(table), contextOf(t, superuser, Date.now(), placeOf(table)), statements, placeOf(table));

/** What a product's matrix.ts may export: SQL expressions by table, such as `public.notes`, and column. */
type Taught = { ROWS?: Record<string, Record<string, string>> };
const isProducts = process.env["PRODUCT"] === "src/product";
const files = isProducts ? import.meta.glob<Taught>("./product/matrix.ts", { eager: true }) : {};
const [taught = {}] = Object.values(files);

/** What a CHECK asks of a row that the types alone do not tell: expressions by column. */
const TAUGHT: Record<string, Record<string, string>> = {
  "control.sites": { name: "'m' || substr(gen_random_uuid()::text, 1, 8)" },
  "control.sessions": {
    issuer_id: "gen_random_uuid()",
    expires_at: "now() + interval '1 day'",
    revoked_at: "now()",
  },
  // What is of a person: of them, of a kind of which there may be several, and not over, since that is deleted.
  "control.mailed_links": { kind: "'email_undo'", user_id: "null", expires_at: "now() + interval '1 day'" },
  "control.factors": { confirmed_at: "now()", credential_id: "gen_random_uuid()" },
  "control.challenges": { user_id: "null", expires_at: "now() + interval '1 day'" },
  // Of people, and shown: their addresses are ones.
  "control.operators": { email: "gen_random_uuid() || '@matrix.test'" },
  // Not so old that a sweep of another test deletes it.
  "control.usage_hours": { hour: "date_trunc('hour', now())" },
  "control.usage_totals": { start: "clock_timestamp() - random() * interval '9000 days'" },
  // A tenant's request makes users of its issuers alone.
  "control.users": { issuer_id: "null", subject: "gen_random_uuid()" },
  ...taught.ROWS,
};

/** Keys over all tenants into which a tenant's request writes nothing but what its own issuer's users have. */
const GUARDED = new Set(["users_email", "users_subject"]);

/** Values of a key that no row has yet, by its type. */
const KEYS: Record<string, () => unknown> = {
  uuid: () => crypto.randomUUID(),
  bytea: () => String.raw`\x${crypto.randomUUID().replaceAll("-", "")}`,
  integer: () => Math.ceil(Math.random() * 2 ** 31) - 1,
  bigint: () => Math.ceil(Math.random() * 2 ** 48),
};

/**
 * A literal of the column's type that its CHECK allows: the first text that the CHECK names, or one that matches its
 * pattern, if it has either.
 */
function literal(table: string, { name, type, check }: Column): string {
  const [, named] = /ARRAY\['([^']*)'::text/.exec(check ?? "") ?? [];
  if (named !== undefined) return `'${named}'`;
  const [, pattern] = new RegExp(`\\(${name} ~ '([^']*)'::text\\)`).exec(check ?? "") ?? [];
  if (pattern !== undefined) return `'${fc.sample(matching(pattern), 1)[0]}'`;
  const values: Record<string, string> = {
    uuid: `'${crypto.randomUUID()}'`,
    text: `'matrix-${crypto.randomUUID()}'`,
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
      `The matrix cannot fill ${table}.${name} of the type ${type}: teach ROWS in test/product/matrix.ts.`,
    );
  return value;
}

/** Makes a row of the table in the tenant, and first the rows that it must refer to. */
async function plant(table: Table, t: Tenant, rows: Map<string, Row>): Promise<Row> {
  const known = rows.get(table.name);
  if (known) return known;
  const given = new Map(Object.entries(TAUGHT[table.name.replace(`${PLACE.schema}.`, "public.")] ?? {}));
  // A key that could be null is filled, too: nothing is in the way of a null.
  const isKey = ({ name, bare }: Column) =>
    placeOf(table) !== CONTROL && bare && table.uniques.some(({ columns }) => columns.includes(name));
  for (const column of table.columns)
    if (!given.has(column.name) && (column.required || isKey(column)))
      given.set(column.name, literal(table.name, column));
  if (table.tenant) given.set(table.tenant, `'${t.tenant}'`);
  for (const reference of table.references) {
    if (!reference.columns.some((name) => given.has(name) && name !== table.tenant)) continue;
    const referred = await referredBy(reference, t, rows, table.name);
    for (const [at, name] of reference.columns.entries())
      if (name !== table.tenant) given.set(name, `'${String(referred[reference.foreign[at] ?? ""])}'`);
  }
  const { name, primary, tenant } = table;
  // Each tenant has at most one row of a table whose key is the tenant, and may have it already.
  const isOne = primary.length === 1 && primary[0] === tenant;
  const there = isOne ? `select to_jsonb(x) as row from ${name} x where ${tenant} = '${t.tenant}'` : "select";
  const made = `insert into ${name} as x (${[...given.keys()].join(", ")})
    select ${[...given.values()].join(", ")} ${isOne ? `where not exists (${there})` : ""} returning to_jsonb(x) as row`;
  const outcome = await onStage(table, t, there, made);
  const row = [...outcome.rows].flat().find((found) => (found as Row)["row"]) as { row: Row } | undefined;
  if (!row)
    throw new Error(
      `The matrix cannot make a row of ${name}: ${JSON.stringify(outcome.error)}. Teach ROWS in test/product/matrix.ts.`,
    );
  rows.set(name, row.row);
  return row.row;
}

/** The row of the tenant that the reference can point to. */
function referredBy(to: Reference, t: Tenant, rows: Map<string, Row>, from: string): Promise<Row> {
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
  // A tenant sees the site where it is.
  for (const [t, rows] of [
    [ada, hers],
    [bob, his],
  ] as const)
    await stage`update control.tenants set site = ${rows.get("control.sites")?.["name"]} where id = ${t.tenant}`;
});

/** The columns of which the role may do this; nobody writes one that Postgres generates. */
function able(table: Table, role: string, what: keyof Privileges): string[] {
  const generated = table.columns.filter((column) => what !== "select" && column.generated);
  const unwritten = new Set(generated.map(({ name }) => name));
  return Object.entries(table.may[role]?.columns ?? {}).flatMap(([name, may]) =>
    may[what] && !unwritten.has(name) ? [name] : [],
  );
}

/** Whether the role may do anything at all to the table. */
const isOpen = (table: Table, role: string): boolean =>
  table.may[role]?.delete === true ||
  (["select", "insert", "update"] as const).some((what) => able(table, role, what).length > 0);

it("finds every relation that one of the logins may touch", async () => {
  /** In a database, but for the shared site where this run has another. */
  const open = async (as: typeof stage, role: string, hidden: string) => {
    const found = await as.query(
      `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p', 'v', 'm', 'f')
         and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', $2)
         and (has_table_privilege($1, c.oid, 'select, insert, update, delete, truncate, references, trigger')
           or has_any_column_privilege($1, c.oid, 'select, insert, update, references'))`,
      [role, hidden],
    );
    return found.map(({ name }) => String(name));
  };
  for (const role of ROLES) {
    const here = await open(stage, role, SITE === SHARED_SITE ? "" : SHARED_SITE.schema);
    const there = SITE.host === null ? [] : await open(AT_SITE.stage, role, "");
    expect([...here, ...there].sort()).toEqual(
      tables
        .filter((table) => isOpen(table, role))
        .map(({ name }) => name)
        .sort(),
    );
  }
});

it("serves each plane by its own logins", () => {
  const planes = (role: string) =>
    new Set(tables.filter((table) => isOpen(table, role)).map((table) => placeOf(table).schema));
  expect(ROLES.map((role) => [...planes(role)])).toEqual([[PLACE.schema], ["control"], ["control"]]);
});

describe.each(attackedTables.map((table) => [table.name, table] as const))("%s", (name, table) => {
  // What a site keeps about tenants, not of theirs, is for its own functions, which run as its owner.
  const isOwners = placeOf(table) !== CONTROL && !table.columns.some((column) => column.name === "tenant_id");

  it("is walled: its rows are shown and taken by policies that bind its owner too, or by none", async () => {
    expect(
      await stageAt(table).query(
        `select relrowsecurity, relforcerowsecurity, exists (select from pg_policy where polrelid = c.oid) as policies
         from pg_class c where oid = to_regclass($1)`,
        [name],
      ),
      `${name} has no wall: make it with tenantTable() of src/db/tenant-table.ts`,
    ).toEqual([{ relrowsecurity: true, relforcerowsecurity: !isOwners, policies: !isOwners }]);
    if (isOwners) expect(ROLES.filter((role) => isOpen(table, role))).toEqual([]);
  });

  it.skipIf(placeOf(table) === CONTROL || isOwners)(
    "unique: every key starts with tenant_id, so no tenant stumbles over another's",
    () => {
      for (const unique of table.uniques) expect(unique).toMatchObject({ columns: { 0: "tenant_id" } });
      expect(table.primary[0]).toBe("tenant_id");
    },
  );

  // An upsert's WHERE sees the row in the way before the wall hides it.
  it.skipIf(placeOf(table) !== CONTROL)(
    "unique: a key over all tenants has a column that no tenant's request chooses",
    () => {
      const chosen = new Set(able(table, ACCOUNT.role, "insert"));
      const open = table.uniques.filter(
        ({ name: index, columns }) =>
          columns[0] !== table.tenant && !GUARDED.has(index) && columns.every((column) => chosen.has(column)),
      );
      expect(open).toEqual([]);
    },
  );

  it.skipIf(placeOf(table) === CONTROL || isOwners)(
    "plan: Postgres takes each tenant for a large one, as wall.sql says",
    async () => {
      const column =
        "select attoptions from pg_attribute where attrelid = to_regclass($1) and attname = 'tenant_id'";
      expect(await stageAt(table).query(column, [name])).toEqual([{ attoptions: ["n_distinct=500"] }]);
    },
  );

  const lanes = (open: boolean) =>
    LANES.filter(({ role }) => isOpen(table, role) === open).map((lane) => [lane.role, lane] as const);

  it.each(lanes(false))("is closed to %s", async (_, lane) => {
    const [column] = table.primary;
    for (const statement of [
      `select 1 from ${name}`,
      `select ${column} from ${name}`,
      `insert into ${name} default values`,
      `insert into ${name} (${column}) values (null) on conflict do nothing`,
      `update ${name} set ${column} = ${column}`,
      `delete from ${name}`,
      `truncate ${name}`,
    ])
      expect(await insideOf(lane, bob, statement)).toMatchObject({ error: { code: "42501" } });
  });

  describe.each(lanes(true))("as %s", (role, lane) => {
    const shownColumns = able(table, role, "select");
    const filled = able(table, role, "insert");
    const changed = able(table, role, "update");
    const inside = (t: Tenant, ...statements: string[]) => insideOf(lane, t, ...statements);
    const undone = (t: Tenant, ...statements: string[]) => inside(t, ...statements, UNDO);
    const at = (row: Row | undefined) =>
      table.primary.map((column) => `x.${column} = '${String(row?.[column])}'`).join(" and ");
    const key = table.primary.join(", ");

    /** Her rows, whole; as the login sees them itself, and as they are. */
    const kept = async () => {
      const seen = await inside(ada, `select ${shownColumns.join(", ")} from ${name} x order by ${key}`);
      const there = await onStage(table, ada, `select x from ${name} x where ${at(hers.get(name))}`);
      return [lastRows(seen), lastRows(there)];
    };
    /** What Bob's statement does must leave Ada's rows as they are. */
    async function attacked(...statements: string[]) {
      const before = await kept();
      for (const rows of before) expect(rows.length).toBeGreaterThan(0);
      const outcome = await undone(bob, ...statements);
      expect(await kept()).toEqual(before);
      return outcome;
    }
    /** Refused to the role, for want of the privilege: a superuser is not. */
    async function refused(statement: string) {
      expect(await attacked(statement)).toMatchObject({ error: { code: "42501" } });
      const { error } = await onStage(table, bob, statement, UNDO);
      expect(error?.["message"]).not.toMatch(/permission denied/);
    }

    const record = (row: Row | undefined, change: Row = {}) =>
      `jsonb_populate_record(null::${name}, '${JSON.stringify({ ...row, ...change }).replaceAll("'", "''")}') r`;
    /** A row like this one, of the columns that the role may fill in, and of those named. */
    const copy = (row: Row | undefined, change: Row = {}, named = filled) => {
      const names = named.length > 0 ? named : [table.columns[0]?.name ?? ""];
      return `insert into ${name} as x (${names.join(", ")}) select ${names
        .map((column) => `r.${column}`)
        .join(", ")} from ${record(row, change)}`;
    };
    const owner = (t: Tenant): Row => (table.tenant ? { [table.tenant]: t.tenant } : {});
    /** A column that an UPDATE may set. */
    const some = changed.find((column) => column !== table.tenant && shownColumns.includes(column));

    it("select: no row of the other tenant, by key or by none; its own tenant sees it", async () => {
      const byKey = (row: Row | undefined) => `select 1 as one from ${name} x where ${at(row)}`;
      expect(lastRows(await inside(bob, byKey(hers.get(name))))).toEqual([]);
      expect(lastRows(await inside(bob, byKey(his.get(name))))).toHaveLength(1);
      if (table.tenant) {
        const all = await inside(bob, `select distinct ${table.tenant} as tenant from ${name}`);
        expect(lastRows(all)).toEqual([{ tenant: bob.tenant }]);
      }
      const alone = await attempt(lane.login, undefined, [byKey(hers.get(name))], lane.place);
      if (lane === IDENTITY) expect(lastRows(alone)).toHaveLength(1);
      else expect(codeOf(alone)).toBe("28000");
    });

    it("select: a column that the role may not see is refused", async () => {
      const hidden = table.columns.filter((column) => !shownColumns.includes(column.name));
      for (const column of hidden) await refused(`select ${column.name} from ${name}`);
      expect(hidden.length + shownColumns.length).toBe(table.columns.length);
    });

    it("insert: refused for the other tenant", async () => {
      const named = [...new Set([...filled, ...(table.tenant ? [table.tenant] : [])])];
      const rows = [hers.get(name), ...(table.tenant ? [{ ...his.get(name), ...owner(ada) }] : [])];
      for (const row of rows)
        expect(await attacked(copy(row, {}, named))).toMatchObject({ error: { code: "42501" } });
      // Her key, under his tenant.
      await attacked(copy(hers.get(name), owner(bob)));
      if (filled.length === 0) await refused(copy(his.get(name)));
      else expect(codeOf(await undone(bob, copy(his.get(name))))).toMatch(/23505|PW000/);
    });

    it("update: finds no row of the other tenant, and gives none away", async () => {
      const set = (row: Row | undefined, column: string) =>
        `update ${name} x set ${column} = ${column} where ${at(row)} returning 1 as one`;
      for (const { name: column, generated } of table.columns) {
        if (generated) continue;
        if (!changed.includes(column)) {
          await refused(set(his.get(name), column));
          continue;
        }
        if (!shownColumns.includes(column)) continue;
        const outcome = await inside(bob, set(hers.get(name), column));
        expect(outcome).toMatchObject({ rows: [[]], error: undefined });
        expect(await attacked(set(hers.get(name), column))).toMatchObject({ error: { code: UNDONE } });
        expect(lastRows(await inside(bob, set(his.get(name), column)))).toHaveLength(1);
      }
      if (table.tenant)
        expect(await attacked(`update ${name} set ${table.tenant} = '${ada.tenant}'`)).toMatchObject({
          error: { code: "42501" },
        });
    });

    it("delete: finds no row of the other tenant", async () => {
      const gone = (row: Row | undefined) => `delete from ${name} x where ${at(row)}`;
      if (!table.may[role]?.delete) {
        await attacked(gone(hers.get(name)));
        await refused(gone(his.get(name)));
        return;
      }
      expect(await attacked(gone(hers.get(name)))).toMatchObject({ error: { code: UNDONE } });
      const control = await inside(
        bob,
        "savepoint s",
        `${gone(his.get(name))} returning 1 as one`,
        "rollback to s",
      );
      // His own he reaches: it goes, or it is found to be referred to.
      if (!/^23(503|001)$/.test(String(codeOf(control)))) expect(control.rows[1]).toHaveLength(1);
    });

    it("upsert: neither sees nor changes the row in the way", async () => {
      for (const unique of table.uniques) {
        if (unique.columns.includes("(expression)")) continue;
        const predicate = unique.predicate ? `where ${unique.predicate}` : "";
        // A WHERE that saw the row would divide by zero.
        const upsert = (row: Row | undefined, change: Row) =>
          `${copy(row, change)} on conflict (${unique.columns.join(", ")}) ${predicate} do update set ${
            some ? `${some} = excluded.${some}` : `${table.primary[0]} = null`
          } where 1 / length(left(concat(x.${shownColumns.join(", x.")}), 0)) = 0`;
        // Where hers is numbered like his, his own is in the way.
        const isHis = unique.columns.every(
          (column) => column === table.tenant || hers.get(name)?.[column] === his.get(name)?.[column],
        );
        for (const change of [owner(ada), owner(bob)]) {
          const outcome = await attacked(upsert(hers.get(name), change));
          // partywall_identity need not: it may clear its context, and look across tenants.
          if (lane !== IDENTITY && !(isHis && change[table.tenant ?? ""] === bob.tenant))
            expect(codeOf(outcome)).not.toBe("22012");
          await attacked(`${copy(hers.get(name), change)} on conflict do nothing`);
        }
        if (
          !some ||
          filled.length === 0 ||
          !unique.columns.every((column) => filled.includes(column) || column === table.tenant)
        )
          continue;
        if (unique.predicate) continue;
        expect(codeOf(await undone(bob, upsert(his.get(name), owner(bob))))).toBe("22012");
      }
    });

    it("foreign reference: another tenant's row is refused as one that does not exist", async () => {
      for (const reference of table.references) {
        const named = reference.columns.filter((column) => column !== table.tenant);
        // It names the tenant, and nothing of it.
        if (named.length === 0) continue;
        const theirs = await referredBy(reference, ada, hers, name);
        const change = (referred: Row | undefined): Row =>
          Object.fromEntries(
            named.map((column) => [
              column,
              referred?.[reference.foreign[reference.columns.indexOf(column)] ?? ""] ?? crypto.randomUUID(),
            ]),
          );
        const said = async (referred: Row | undefined, statement: (to: Row) => string) => {
          const to = change(referred);
          const { error } = await undone(bob, statement(to));
          const { code, message, detail, constraint } = error ?? {};
          const text = JSON.stringify([code, message, detail, constraint]);
          return {
            code,
            text: Object.values(to).reduce<string>((all, value) => all.replaceAll(String(value), "…"), text),
          };
        };
        const updated = (to: Row) =>
          `update ${name} x set ${Object.entries(to)
            .map(([column, value]) => `${column} = '${String(value)}'`)
            .join(", ")} where ${at(his.get(name))}`;
        // With keys of its own, so that no unique index speaks first.
        const isKey = ({ name: column, type }: Column) =>
          type === "uuid"
            ? table.primary.includes(column)
            : table.uniques.some(({ columns }) => columns.includes(column)) && type in KEYS;
        const keys = table.columns.filter(isKey).map(({ name: column, type }) => [column, KEYS[type]?.()]);
        const fresh = (to: Row): Row => ({ ...Object.fromEntries(keys), ...owner(bob), ...to });
        const inserted = (to: Row) => copy(his.get(name), fresh(to));
        // Whom an invitation lets in is an account of any tenant: partywall_identity finds it across tenants.
        const ways =
          lane === IDENTITY && reference.foreign[0] !== "tenant_id" ? [updated] : [updated, inserted];
        for (const way of ways) {
          const foreign = await said(theirs, way);
          expect(foreign.code).toMatch(/23503|42501/);
          expect(foreign).toEqual(await said(undefined, way));
        }
        if (named.every((column) => changed.includes(column)))
          expect((await said(await referredBy(reference, bob, his, name), updated)).code).toBe(UNDONE);
      }
    });
  });
});
