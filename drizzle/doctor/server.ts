import type { Check } from "./check.ts";

/** What is set, published, stored or running beside the tables. */
export const server: Check[] = [
  {
    code: "setting_dangerous",
    what: "sets {name} for its sessions",
    why: "a context, a role, a trigger mode or row security that comes with the connection is not the request's own",
    mend: "ALTER {object}{place} RESET {name}",
    sql: `select subject as object, place, name from settings s
      where (s.setrole = 0 or s.setrole in (select oid from own_roles))
        and (name like 'app.%' or name in ('row_security', 'session_replication_role', 'role', 'session_authorization',
          'session_preload_libraries', 'local_preload_libraries', 'lo_compat_privileges', 'allow_system_table_mods'))`,
  },
  {
    code: "setting_search_path",
    what: "does not pin its search_path to pg_catalog, {schema}, pg_temp",
    why: "an unqualified name in a query may mean a temporary table, or one of the other plane",
    mend: "ALTER ROLE {object} IN DATABASE {database} SET search_path = pg_catalog, {schema}, pg_temp",
    sql: `select quote_ident(l.rolname) as object, quote_ident(current_database()) as database, p.schema from logins l
      cross join lateral (select case when l.rolname in ('partywall_app', 'partywall_mover') then 'public' else 'control' end as schema) p
      left join lateral (select value from settings s where s.setrole in (0, l.oid) and s.name = 'search_path'
        order by rank desc limit 1) s on true
      where translate(s.value, '" ', '') is distinct from format('pg_catalog,%s,pg_temp', p.schema)`,
  },
  {
    code: "setting_timeout",
    what: "has no {name}",
    why: "one tenant's query, lock or forgotten transaction holds a connection that the others wait for",
    mend: "ALTER ROLE {object} IN DATABASE {database} SET {name} = '{value}'",
    sql: `select quote_ident(l.rolname) as object, quote_ident(current_database()) as database, t.name, t.value
      from logins l cross join (values ('statement_timeout', '10s'), ('lock_timeout', '5s'),
        ('idle_in_transaction_session_timeout', '10s')) t (name, value)
      left join lateral (select s.value from settings s where s.setrole in (0, l.oid) and s.name = t.name
        order by rank desc limit 1) s on true
      where coalesce(s.value ~ '^0+\\D*$', true)`,
  },
  {
    code: "setting_logs",
    severity: "warning",
    what: "logs statements with their parameters ({name})",
    why: "signed contexts, good for a minute, and tenants' content end in the server's log",
    mend: "ALTER {object}{place} RESET {name}",
    sql: `select subject as object, place, name from settings
      where name = 'log_statement' and value in ('mod', 'all')
        or name in ('log_min_duration_statement', 'log_min_duration_sample', 'auto_explain.log_min_duration')
          and value not like '-1%'`,
  },
  {
    code: "publication",
    what: "publishes {tables}",
    why: "whoever subscribes gets every tenant's rows: replication asks no policy",
    mend: "{mend}",
    sql: `select quote_ident(p.pubname) as object,
      case when p.puballtables then 'all tables' else string_agg(format('%I.%I', t.schemaname, t.tablename), ', ') end as tables,
      format('DROP PUBLICATION %I', p.pubname) as mend
      from pg_publication p left join pg_publication_tables t on t.pubname = p.pubname
        and (t.schemaname, t.tablename) in (select relnamespace::regnamespace::text, relname from pg_class
          where oid in (select oid from guarded union all select keys from house))
      where p.puballtables or t.pubname is not null group by p.oid, p.pubname, p.puballtables`,
  },
  {
    code: "large_object",
    what: "is a large object, of {role}",
    why: "large objects have no policies: whoever is the same role, as all tenants' requests are, reads and writes it",
    mend: "SELECT lo_unlink({object})",
    sql: `select m.oid::text as object, quote_ident(m.lomowner::regrole::text) as role from pg_largeobject_metadata m
      where m.lomowner in (select oid from logins)
        or exists (select from aclexplode(m.lomacl) a join strangers s on s.oid = a.grantee)`,
  },
  {
    // No error: a host patches when it patches, and what these defects need (policies for single roles, a key without
    // tenant_id) are errors here. The embedded server of `npm run dev` serves nobody.
    code: "server_version",
    severity: "warning",
    what: "has known defects in row level security (fixed in {fixed})",
    why: "CVE-2026-116311 sheds policies that name a role, CVE-2026-120154 sees hidden rows through ON CONFLICT",
    mend: "-- update the server to {fixed} or later",
    sql: `select format('PostgreSQL %s', current_setting('server_version')) as object, coalesce(f.fixed, '18.7') as fixed
      from (select current_setting('server_version_num')::int as number) n
      left join (values (15, 20, '15.20'), (16, 16, '16.16'), (17, 12, '17.12'), (18, 7, '18.7')) f (major, minor, fixed)
        on f.major = number / 10000
      where number < 150000 or number % 10000 < f.minor`,
  },
];
