import type { Check } from "./check.ts";

/** Who may use what: relations, functions that run as their caller (the others are definer_open's), and schemas. */
const USES = `
  select case relkind when 'S' then 'SEQUENCE' else 'TABLE' end, object, is_control, grantee
  from relations join grants using (oid) where extension is null and nspname <> 'partywall'
  union
  select 'ROUTINE', f.object, f.is_control, a.grantee from functions f left join verifiers v using (object),
    aclexplode(f.acl) a
  where not f.prosecdef and a.grantee <> f.proowner and pg_get_userbyid(a.grantee) <> all (coalesce(v.runners, '{}'))
  union
  select 'SCHEMA', quote_ident(nspname), is_control, a.grantee from schemas, aclexplode(nspacl) a
  where a.grantee <> nspowner`;

const BY_HAND =
  "-- rewrite it: content knows people by its table members, and the control plane knows no content";

/**
 * Whatever keeps an expression or a query whose names Postgres has bound, and how to drop it. The policies of each plane's
 * wall, and the audit triggers, have checks of their own.
 */
const BOUND = `
  select 'pg_rewrite'::regclass, w.oid, r.object, r.is_control, 'query',
    format('DROP %s %s', case r.relkind when 'm' then 'MATERIALIZED VIEW' else 'VIEW' end, r.object)
  from relations r join pg_rewrite w on w.ev_class = r.oid where r.relkind in ('v', 'm')
  union all
  select 'pg_policy'::regclass, p.oid, r.object, r.is_control, format('policy %I', p.polname),
    format('DROP POLICY IF EXISTS %I ON %s', p.polname, r.object)
  from relations r join pg_policy p on p.polrelid = r.oid
  where p.polname not in ('tenant_may', 'tenant_only', 'across_tenants')
  union all
  select 'pg_attrdef'::regclass, d.oid, r.object, r.is_control, format('default of %I', a.attname),
    format('ALTER TABLE %s ALTER %I DROP DEFAULT', r.object, a.attname)
  from relations r join pg_attrdef d on d.adrelid = r.oid join pg_attribute a on a.attrelid = r.oid and a.attnum = d.adnum
  union all
  select 'pg_constraint'::regclass, c.oid, r.object, r.is_control, format('constraint %I', c.conname),
    format('ALTER TABLE %s DROP CONSTRAINT %I', r.object, c.conname)
  from relations r join pg_constraint c on c.conrelid = r.oid where c.contype = 'c'
  union all
  select 'pg_trigger'::regclass, t.oid, r.object, r.is_control, format('trigger %I', t.tgname),
    format('DROP TRIGGER %I ON %s', t.tgname, r.object)
  from relations r join pg_trigger t on t.tgrelid = r.oid join pg_proc f on f.oid = t.tgfoid
  where not t.tgisinternal and (f.proname <> 'audit_row' or r.oid not in (select oid from audited))
  union all
  select 'pg_proc'::regclass, oid, object, is_control, 'definition', '${BY_HAND}' from functions`;

/** What they may not name: relations and functions, each as what pg_depend refers to. */
const NAMED = `
  select 'pg_class'::regclass, oid, object, is_control from relations where nspname <> 'partywall'
  union all
  select 'pg_type'::regclass, t.oid, object, is_control from relations r join pg_type t on t.typrelid = r.oid
  where nspname <> 'partywall'
  union all
  select 'pg_proc'::regclass, oid, object, is_control from functions`;

const escaped = (name: string) => `regexp_replace(${name}, '(\\W)', '\\\\\\1', 'g')`;

/** What functions say. A body that is text is bound when it runs, so what it names is read from it and its search_path. */
const TEXTS = `
  select object, is_control, regexp_replace(prosrc, '--[^\\n]*', '', 'g'), array_to_string(proconfig, ' ') from functions`;

/** Whether the text, or else the search_path, names the schema. */
const names = (schema: string) =>
  `(t.text ~* '\\m${schema}"?\\s*\\.\\s*["\\w%]' or t.config ~* '\\m${schema}\\M')`;

/** No key and no query crosses between the planes, and no login works in both but by receive(). */
export const planes: Check[] = [
  {
    code: "control_open",
    what: "is a {kind} of the control plane, and partywall_app may use it",
    why: "SQL injected into a request for content would reach people and credentials",
    mend: "REVOKE ALL ON {kind} {object} FROM partywall_app",
    sql: `select u.kind, u.object from house, (${USES}) u (kind, object, is_control, grantee)
      where u.is_control and u.grantee = house.app`,
  },
  {
    code: "site_open",
    what: "is a {kind} of a site, and {role} may use it",
    why: "SQL injected into a request for the control plane would reach content",
    mend: "REVOKE ALL ON {kind} {object} FROM {role}",
    sql: `select u.kind, u.object, quote_ident(l.rolname) as role
      from (${USES}) u (kind, object, is_control, grantee) join logins l on l.oid = u.grantee
      where not u.is_control and l.rolname not in ('partywall_app', 'partywall_mover') and u.kind <> 'SCHEMA'`,
  },
  {
    code: "foreign_key_planes",
    what: "refers to {other} of the other plane: {constraint}",
    why: "a tenant's content can live in another database, where there is nothing to refer to",
    mend: "ALTER TABLE {object} DROP CONSTRAINT {constraint}",
    sql: `select r.object, o.object as other, quote_ident(c.conname) as constraint
      from pg_constraint c join relations r on r.oid = c.conrelid join relations o on o.oid = c.confrelid
      where c.contype = 'f' and c.conparentid = 0 and r.is_control <> o.is_control`,
  },
  {
    code: "foreign_key_sites",
    what: "refers to {other} of another site: {constraint}",
    why: "its check passes that site's wall by, and a tenant could not move without the other site's",
    mend: "ALTER TABLE {object} DROP CONSTRAINT {constraint}",
    sql: `select r.object, c.confrelid::regclass::text as other, quote_ident(c.conname) as constraint
      from pg_constraint c join relations r on r.oid = c.conrelid join pg_class o on o.oid = c.confrelid
      where c.contype = 'f' and c.conparentid = 0 and o.relnamespace::regnamespace::text <> r.nspname
        and (o.relnamespace::regnamespace::text ^@ 'site_' or r.nspname ^@ 'site_')`,
  },
  {
    code: "query_planes",
    what: "names {other} of the other plane in its {part}",
    why: "a tenant's content can live in another database, and each plane's wall binds its own logins only",
    mend: "{mend}",
    sql: `(select distinct on (b.classid, b.oid) b.object, b.part, o.object as other, b.mend
        from (${BOUND}) b (classid, oid, object, is_control, part, mend)
        join pg_depend d on d.classid = b.classid and d.objid = b.oid
        join (${NAMED}) o (classid, oid, object, is_control) on o.classid = d.refclassid and o.oid = d.refobjid
        where b.is_control <> o.is_control order by b.classid, b.oid, o.object)
      union all
      select t.object, 'body or search_path', o.object, '${BY_HAND}'
      from (${TEXTS}) t (object, is_control, text, config) cross join lateral (
        select 'schema control' where not t.is_control and ${names("control")}
        union all
        select 'schema public' where t.is_control and ${names("public")}
        union all
        select r.object from relations r where t.is_control and not r.is_control and r.extension is null
          and r.nspname not in ('partywall', 'drizzle') and r.relname not in (select relname from relations where is_control)
          and t.text ~* format('\\m(from|join|into|update|only|using|table|truncate)\\s+("?%s"?\\s*\\.\\s*)?"?%s(?!\\w|"?\\s*\\.)',
            ${escaped("r.nspname")}, ${escaped("r.relname")})
        limit 1) o (object)`,
  },
];
