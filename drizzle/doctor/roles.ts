import type { Check } from "./check.ts";

/** The five roles: what they are, whose they are, what they may do. */
export const roles: Check[] = [
  {
    code: "role_missing",
    what: "is not there",
    why: "each kind of request needs a login of its own, or one injection holds them all",
    mend: "-- npm run db:migrate",
    sql: `select rolname as object from own_roles where oid is null`,
  },
  {
    code: "role_attributes",
    what: "has {attributes}",
    why: "SUPERUSER and BYPASSRLS do not see the wall; the others lead to them, or to a copy of the data",
    mend: "ALTER ROLE {object} {mend}",
    sql: `select quote_ident(r.rolname) as object, string_agg(a.name, ', ') as attributes,
      string_agg('NO' || a.name, ' ') as mend
      from own_roles join pg_roles r using (oid) cross join lateral (values ('SUPERUSER', r.rolsuper), ('BYPASSRLS', r.rolbypassrls),
        ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb), ('REPLICATION', r.rolreplication)) a (name, held)
      where a.held group by r.rolname`,
  },
  {
    code: "owner_logs_in",
    what: "can log in",
    why: "its password would open the keys and every table's definition; migrations become it with SET ROLE",
    mend: "ALTER ROLE {object} NOLOGIN",
    sql: `select rolname as object from own_roles where rolname = 'partywall_owner' and rolcanlogin`,
  },
  {
    code: "membership",
    what: "is a member of {role}",
    why: "SET ROLE gives it all that {role} has, beside the grants that were meant for it",
    mend: "REVOKE {role} FROM {object} GRANTED BY {grantor} CASCADE",
    sql: `select quote_ident(m.member::regrole::text) as object, quote_ident(m.roleid::regrole::text) as role,
      quote_ident(m.grantor::regrole::text) as grantor
      from pg_auth_members m where m.member in (select oid from own_roles)`,
  },
  {
    code: "owner_member",
    what: "is a member of partywall_owner, and not the login that owns the database",
    why: "it can switch the wall off and read the context keys; migrations need one login alone",
    mend: "REVOKE partywall_owner FROM {object} GRANTED BY {grantor} CASCADE",
    sql: `select quote_ident(m.member::regrole::text) as object, quote_ident(m.grantor::regrole::text) as grantor
      from pg_auth_members m join pg_roles r on r.oid = m.member, house join pg_database d on d.oid = house.database
      where m.roleid = house.owner and m.member <> d.datdba and not r.rolsuper
        and m.member not in (select oid from logins)`,
  },
  {
    code: "owned_by_login",
    what: "belongs to {role}",
    why: "a login that owns a thing may change, replace or grant it: a function, a schema, the database's settings",
    mend: "{mend}",
    sql: `select format('%s %s', o.type, o.identity) as object, quote_ident(l.rolname) as role,
      format('ALTER %s %s OWNER TO %s', o.type, o.identity,
        case when o.type = 'database' then 'CURRENT_USER' else 'partywall_owner' end) as mend
      from house, logins l join pg_shdepend d on d.refclassid = 'pg_authid'::regclass and d.refobjid = l.oid
        and d.deptype = 'o' cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) o
      where d.dbid in (0, house.database) and o.type not in ('default acl', 'user mapping', 'large object')
        and (d.classid, d.objid) not in (select 'pg_class'::regclass, oid from guarded union all
          select 'pg_proc'::regclass, oid from functions where is_ours union all
          select 'pg_class'::regclass, keys from house where keys is not null)`,
  },
];

/** Grants on what is no table, and strong ones on what is. */
export const grants: Check[] = [
  {
    code: "grant_strong",
    what: "lets {grantee} {privilege}",
    why: "TRUNCATE and REFERENCES do not ask the policies, a TRIGGER runs as whoever writes, MAINTAIN locks the table",
    mend: "REVOKE {privilege} ON {object} FROM {grantee}",
    sql: `select r.object, s.grantee, string_agg(distinct g.privilege, ', ') as privilege
      from relations r join grants g using (oid) join logins on logins.oid = g.grantee
      join strangers s on s.oid = g.grantee, house
      where r.relkind in ('r', 'p', 'f', 'v', 'm') and r.oid is distinct from house.keys
        and g.privilege in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN') group by r.object, s.grantee`,
  },
  {
    code: "grant_option",
    what: "lets {grantee} grant {privilege} on",
    why: "a tenant's SQL could open the table to roles that stand behind no wall",
    mend: "REVOKE GRANT OPTION FOR {privilege} ON {object} FROM {grantee} CASCADE",
    sql: `select r.object, s.grantee, string_agg(a.privilege_type, ', ' order by a.privilege_type) as privilege
      from relations r, house, aclexplode(r.relacl) a join strangers s on s.oid = a.grantee
      where a.is_grantable and a.grantee <> r.relowner and r.oid is distinct from house.keys group by r.object, s.grantee`,
  },
  {
    code: "schema_create",
    what: "is a schema in which {grantee} may create",
    why: "a table or function put there stands in for another of the same name in somebody else's query",
    mend: "REVOKE CREATE ON SCHEMA {object} FROM {grantee}",
    sql: `select quote_ident(n.nspname) as object, s.grantee from pg_namespace n, aclexplode(n.nspacl) a
      join strangers s on s.oid = a.grantee
      where a.privilege_type = 'CREATE' and a.grantee <> n.nspowner and n.nspname <> 'partywall'`,
  },
  {
    code: "schema_public",
    what: "is a schema that PUBLIC may enter",
    why: "a function made there is at once every role's, the app role's too",
    mend: "REVOKE USAGE ON SCHEMA {object} FROM PUBLIC",
    sql: `select quote_ident(n.nspname) as object from schemas n, aclexplode(n.nspacl) a
      where a.grantee = 0 and a.privilege_type = 'USAGE' and n.nspname not in ('public', 'partywall')`,
  },
  {
    code: "database_grant",
    what: "lets {grantee} {privilege}",
    why: "a temporary table or a schema of one's own stands in for a tenant table in a later query of the same session",
    mend: "REVOKE {privilege} ON DATABASE {object} FROM {grantee}",
    sql: `select quote_ident(d.datname) as object, s.grantee, string_agg(a.privilege_type, ', ' order by a.privilege_type) as privilege
      from house join pg_database d on d.oid = house.database,
        aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a join strangers s on s.oid = a.grantee
      where a.grantee <> d.datdba and (a.grantee = 0 or a.privilege_type <> 'CONNECT') group by d.datname, s.grantee`,
  },
  {
    code: "database_other",
    severity: "warning",
    what: "is another database that {grantee} may connect to",
    why: "injected SQL cannot cross databases, but a stolen connection string can",
    mend: "REVOKE ALL ON DATABASE {object} FROM {grantee}",
    sql: `select distinct quote_ident(d.datname) as object, s.grantee
      from house, pg_database d join pg_roles o on o.oid = d.datdba and not o.rolsuper,
        aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a join strangers s on s.oid = a.grantee
      where d.oid <> house.database and d.datallowconn and a.grantee <> d.datdba and a.privilege_type = 'CONNECT'`,
  },
  {
    code: "default_privileges",
    what: "gives {grantee} {privilege} on the {kind} that it will make",
    why: "the next table is open before anyone has looked at it",
    mend: "ALTER DEFAULT PRIVILEGES FOR ROLE {object}{place} REVOKE {privilege} ON {kind} FROM {grantee}",
    sql: `select quote_ident(d.defaclrole::regrole::text) as object, s.grantee, k.kind,
      string_agg(a.privilege_type, ', ' order by a.privilege_type) as privilege,
      coalesce(' IN SCHEMA ' || quote_ident(nullif(d.defaclnamespace, 0)::regnamespace::text), '') as place
      from pg_default_acl d join (values ('r', 'TABLES'), ('S', 'SEQUENCES'), ('f', 'FUNCTIONS'), ('n', 'SCHEMAS'),
        ('L', 'LARGE OBJECTS')) k (type, kind) on k.type = d.defaclobjtype::text,
        aclexplode(d.defaclacl) a join strangers s on s.oid = a.grantee
      where a.grantee <> d.defaclrole and not (d.defaclobjtype = 'f' and d.defaclnamespace = 0 and a.grantee = 0)
      group by d.defaclrole, s.grantee, k.kind, d.defaclnamespace`,
  },
  {
    code: "default_execute",
    what: "gives PUBLIC each function that it will make",
    why: "Postgres does unless told otherwise: the next function, SECURITY DEFINER or not, is the app role's at once",
    mend: "ALTER DEFAULT PRIVILEGES FOR ROLE {object} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    sql: `select 'partywall_owner' as object from house where house.owner is not null and exists (
      select from aclexplode(coalesce((select defaclacl from pg_default_acl
        where defaclrole = house.owner and defaclobjtype = 'f' and defaclnamespace = 0), acldefault('f', house.owner))) a
      where a.grantee = 0)`,
  },
];
