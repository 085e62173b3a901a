import type { Check } from "./check.ts";

/** Whatever else a tenant request can read or run: views, foreign tables, functions, extensions. */
export const code: Check[] = [
  {
    code: "view_definer",
    what: "is a view that reads as its owner, {owner}, for {grantees}",
    why: "row level security asks what the owner may see; if that role bypasses it, the view shows every tenant",
    mend: "ALTER VIEW {object} SET (security_invoker = true)",
    sql: `select r.object, quote_ident(r.relowner::regrole::text) as owner, string_agg(distinct s.grantee, ', ') as grantees
      from relations r join grants g on g.oid = r.oid join strangers s on s.oid = g.grantee
      where r.relkind = 'v' and r.extension is null and not exists (select from pg_options_to_table(r.reloptions)
        where option_name = 'security_invoker' and option_value::boolean) group by r.object, r.relowner`,
  },
  {
    code: "view_definer_ungranted",
    severity: "warning",
    what: "is a view of tenants' rows that reads as its owner, {owner}, and that no login may read yet",
    why: "once it is granted, row level security asks what the owner may see, not whose request it is",
    mend: "ALTER VIEW {object} SET (security_invoker = true)",
    sql: `select object, quote_ident(relowner::regrole::text) as owner from ungranted
      where relkind = 'v' and oid in (select oid from sources where source in (select oid from content))
        and not exists (select from pg_options_to_table(reloptions)
          where option_name = 'security_invoker' and option_value::boolean)`,
  },
  {
    code: "unwallable_ungranted",
    severity: "warning",
    what: "is a {kind} of tenants' rows, and no login may read it yet",
    why: "no policy can stand before it: once it is granted, it shows every tenant",
    mend: "-- grant it to nobody; what tenants read belongs in a tenantTable()",
    sql: `select object, case relkind when 'm' then 'materialised view' else 'foreign table' end as kind from ungranted
      where relkind = 'f' and not is_child and oid in (select oid from content)
        or relkind = 'm' and oid in (select oid from sources where source in (select oid from content))`,
  },
  {
    code: "view_of_extension",
    what: "is a view of the extension {extension}, open to {grantees}",
    why: "such views read as a superuser: pg_stat_statements, for one, shows every tenant's queries to the one app role",
    mend: "{mend}",
    sql: `select v.object, quote_ident(e.extname) as extension, v.grantees,
      format('REVOKE ALL ON %s FROM %s', v.object, v.grantees) || coalesce((select string_agg(
        format('; REVOKE EXECUTE ON FUNCTION %s FROM %s', d.objid::regprocedure, v.grantees), '') from pg_depend d
        where d.classid = 'pg_proc'::regclass and d.refobjid = e.oid and d.deptype = 'e'), '') as mend
      from served v join pg_extension e on e.oid = v.extension where v.grantees is not null and v.relkind in ('v', 'm')`,
  },
  {
    code: "materialized_view",
    what: "is a materialised view, open to {grantees}",
    why: "it keeps what its owner saw, and no policy can stand before it",
    mend: "REVOKE ALL ON {object} FROM {grantees}",
    sql: `select object, grantees from served where grantees is not null and relkind = 'm' and extension is null`,
  },
  {
    code: "foreign_table",
    what: "is a foreign table, open to {grantees}",
    why: "no policy can stand before it, and the other database does not know whose request this is",
    mend: "REVOKE ALL ON {object} FROM {grantees}",
    sql: `select object, grantees from served where grantees is not null and relkind = 'f' and not is_child`,
  },
  {
    code: "foreign_server",
    what: "is a foreign {kind} that {grantee} may use",
    why: "a tenant's SQL could make queries elsewhere, with credentials of its own choice",
    mend: "REVOKE ALL ON {kind} {object} FROM {grantee}",
    sql: `select quote_ident(f.name) as object, f.kind, s.grantee from (
        select srvname, 'FOREIGN SERVER', coalesce(srvacl, acldefault('S', srvowner)), srvowner from pg_foreign_server
        union all select fdwname, 'FOREIGN DATA WRAPPER', coalesce(fdwacl, acldefault('F', fdwowner)), fdwowner
        from pg_foreign_data_wrapper) f (name, kind, acl, owner), aclexplode(f.acl) a
      join strangers s on s.oid = a.grantee where a.grantee <> f.owner`,
  },
  {
    code: "sequence",
    what: "is a sequence that {grantees} may use",
    why: "it counts for all tenants: its value tells one how much the others do, and setval() makes them collide",
    mend: "REVOKE ALL ON SEQUENCE {object} FROM {grantees}",
    sql: `select object, grantees from served where grantees is not null and relkind = 'S'`,
  },
  {
    code: "definer_search_path",
    what: "is SECURITY DEFINER and does not pin its search_path",
    why: "whoever calls it chooses which tables and operators its names mean, and runs them as its owner",
    mend: "ALTER ROUTINE {object} SET search_path = ''",
    // Of partywall's own, only when the migrations have it so; else verifier_attributes says it.
    sql: `select object from functions left join verifiers v using (object)
      where prosecdef and (v.object is null or proconfig is not distinct from v.config)
      and not exists (select from unnest(proconfig) c where c like 'search\\_path=%' and c not like '%$user%')`,
  },
  {
    code: "definer_open",
    what: "is SECURITY DEFINER, and {grantees} may run it",
    why: "it runs as its owner, so a flaw in it is a door in the wall; each login needs a few of partywall's own alone",
    mend: "REVOKE EXECUTE ON ROUTINE {object} FROM {grantees}",
    sql: `select f.object, string_agg(distinct s.grantee, ', ') as grantees from functions f
      left join verifiers v using (object), aclexplode(f.acl) a join strangers s on s.oid = a.grantee
      where f.prosecdef and s.grantee <> all (coalesce(v.runners, '{}')) and a.grantee <> f.proowner group by f.object`,
  },
  {
    code: "definer_ungranted",
    severity: "warning",
    what: "is SECURITY DEFINER, and nobody but its owner may run it yet",
    why: "once it is granted, a flaw in it is a door in the wall; its owner needs no SECURITY DEFINER",
    mend: "ALTER ROUTINE {object} SECURITY INVOKER",
    sql: `select f.object from functions f join pg_proc p using (oid) where f.prosecdef and not f.is_ours
      and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
      and not exists (select from aclexplode(f.acl) a where a.grantee <> f.proowner)`,
  },
  {
    code: "definer_owner",
    what: "is SECURITY DEFINER and belongs to {owner}, who bypasses row level security",
    why: "no policy binds what it does, whoever set it off: a call, a trigger, a view",
    mend: "ALTER ROUTINE {object} OWNER TO partywall_owner",
    sql: `select f.object, quote_ident(r.rolname) as owner from functions f join pg_roles r on r.oid = f.proowner
      where f.prosecdef and not f.is_ours and (r.rolsuper or r.rolbypassrls)`,
  },
  {
    code: "function_public",
    what: "may be run by PUBLIC",
    why: "every function made later would be the app role's too; each should be granted by name",
    mend: "REVOKE EXECUTE ON ROUTINE {object} FROM PUBLIC",
    sql: `select f.object from functions f join pg_language l on l.oid = f.prolang, aclexplode(f.acl) a
      where a.grantee = 0 and not prosecdef and (lanpltrusted or lanname = 'internal')`,
  },
  {
    code: "function_untrusted",
    what: "is written in {language}, and {grantees} may run it",
    why: "an untrusted language reads files and memory of the server, past every policy",
    mend: "REVOKE EXECUTE ON ROUTINE {object} FROM {grantees}",
    sql: `select f.object, quote_ident(l.lanname) as language, string_agg(distinct s.grantee, ', ') as grantees
      from functions f join pg_language l on l.oid = f.prolang, aclexplode(f.acl) a join strangers s on s.oid = a.grantee
      where not l.lanpltrusted and l.lanname <> 'internal' and not f.prosecdef group by f.object, l.lanname`,
  },
  {
    code: "function_leakproof",
    what: "claims to be LEAKPROOF",
    why: "Postgres runs it on other tenants' rows, before the policy has hidden them",
    mend: "ALTER FUNCTION {object} NOT LEAKPROOF",
    sql: `select object from functions where proleakproof`,
  },
  {
    code: "extension",
    what: "is installed",
    why: "it gives whoever may run its functions another connection, the server's files or pages, or untrusted code",
    mend: "DROP EXTENSION {object}",
    sql: `select quote_ident(extname) as object from pg_extension where extname in ('adminpack', 'amcheck', 'dblink',
      'file_fdw', 'http', 'lo', 'pageinspect', 'pg_buffercache', 'pg_freespacemap', 'pg_net', 'pg_surgery',
      'pg_visibility', 'pg_walinspect', 'pgrowlocks', 'pgstattuple', 'plperlu', 'plpython3u', 'plsh', 'pltclu',
      'postgres_fdw', 'xml2')`,
  },
  {
    code: "event_trigger",
    what: "is an event trigger on {event}",
    why: "partywall has none: it runs unseen at each login or change of the schema, as whoever logs in or migrates",
    mend: "DROP EVENT TRIGGER {object}",
    sql: `select quote_ident(evtname) as object, evtevent as event from pg_event_trigger
      where evtenabled <> 'D' and not exists (select from pg_depend
        where classid = 'pg_event_trigger'::regclass and objid = pg_event_trigger.oid and deptype = 'e')`,
  },
];

/** The signed context: the functions that verify it and write on its word, and its keys. */
export const context: Check[] = [
  {
    code: "verifier_missing",
    what: "is not there",
    why: "the policies have nothing to ask for the tenant, the tables nothing to ask for the actor or to tell of changes",
    mend: "{mend}",
    sql: `select object, mend from verifiers where object not in (select object from functions)`,
  },
  {
    code: "verifier_body",
    what: "is not the one of the migrations",
    why: "a context that is forged, expired or made for another place or role may open the wall, or a change go untold",
    mend: "{mend}",
    sql: `select object, v.mend from functions f join verifiers v using (object)
      where encode(sha256(convert_to(coalesce(pg_get_function_sqlbody(f.oid), f.prosrc), 'UTF8')), 'hex') <> v.hash`,
  },
  {
    code: "verifier_attributes",
    what: "has not the attributes of the migrations ({attributes}), or does not belong to partywall_owner",
    why: "volatile it runs once a row; otherwise its caller sees what it sees, or chooses what its names mean",
    mend: "{mend}",
    sql: `select object, v.attributes, v.mend from functions f join verifiers v using (object) join pg_proc p using (oid), house
      where not (p.prosecdef = v.definer and p.provolatile = v.volatile and p.proparallel = v.parallel and not p.proleakproof
        and p.proconfig is not distinct from v.config and p.proowner = house.owner)`,
  },
  {
    code: "keys_missing",
    what: "is not there",
    why: "no context can be verified",
    mend: "-- npm run db:migrate",
    sql: `select 'partywall.context_keys' as object from house where keys is null`,
  },
  {
    code: "keys_open",
    what: "is open to {grantee}",
    why: "whoever reads or writes a context key signs contexts for every tenant",
    mend: "REVOKE ALL ON {object} FROM {grantee} CASCADE",
    sql: `select distinct r.object, case g.grantee when 0 then 'PUBLIC' else quote_ident(g.grantee::regrole::text) end as grantee
      from relations r join grants g using (oid), house where r.oid = house.keys`,
  },
  {
    code: "keys_schema_open",
    what: "is a schema of the context keys', and {grantee} may enter it",
    why: "the first of the two locks before the keys is open",
    mend: "REVOKE ALL ON SCHEMA {object} FROM {grantee} CASCADE",
    sql: `select distinct quote_ident(n.nspname) as object,
      case a.grantee when 0 then 'PUBLIC' else quote_ident(a.grantee::regrole::text) end as grantee
      from schemas n, aclexplode(n.nspacl) a where n.nspname = 'partywall' and a.grantee <> n.nspowner`,
  },
  {
    code: "keys_row_security",
    what: "has row level security off, or a policy",
    why: "with it and no policy, not even a grant made by mistake shows a key",
    mend: "ALTER TABLE {object} ENABLE ROW LEVEL SECURITY{drops}",
    sql: `select r.object, coalesce((select string_agg(format('; DROP POLICY %I ON %s', polname, r.object), '')
        from pg_policy where polrelid = r.oid), '') as drops
      from relations r, house where r.oid = house.keys
        and (not r.relrowsecurity or exists (select from pg_policy where polrelid = r.oid))`,
  },
  {
    code: "keys_owner",
    what: "belongs to {role}",
    why: "its owner reads every key; it must be partywall_owner, as whom nobody logs in",
    mend: "ALTER TABLE {object} OWNER TO partywall_owner",
    sql: `select r.object, quote_ident(relowner::regrole::text) as role from relations r, house
      where r.oid = house.keys and r.relowner <> house.owner`,
  },
];
