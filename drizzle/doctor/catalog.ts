/**
 * What the checks ask about, as names for their SQL: the roles by id, whoever is not the owner's, the relations of all
 * schemas but Postgres' own, who is granted what on them, and the tables that must stand behind the wall.
 * Read from access control lists, not has_table_privilege(): a role that is too strong is one finding, not a hundred.
 */
export const HOUSE = `
with recursive house as (
  select (select oid from pg_roles where rolname = 'partywall_app') as app,
    (select oid from pg_roles where rolname = 'partywall_identity') as identity,
    (select oid from pg_roles where rolname = 'partywall_operator') as operator,
    (select oid from pg_roles where rolname = 'partywall_owner') as owner,
    (select oid from pg_database where datname = current_database()) as database,
    -- By name in the catalog: to_regclass() asks for USAGE on the schema, which no login has.
    (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relname = 'tenants') as tenants,
    (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relname = 'audit_events') as audit,
    (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'partywall' and c.relname = 'context_keys') as keys),
logins as (
  select oid, rolname from pg_roles
  where rolname in ('partywall_app', 'partywall_identity', 'partywall_operator')),
-- Whoever can log in as a role of partywall's, by name; PUBLIC is everyone.
strangers as (
  select oid, quote_ident(rolname) as grantee from logins union all select 0, 'PUBLIC'),
schemas as (
  select oid, nspname, nspowner, nspacl from pg_namespace
  where nspname !~ '^pg_' and nspname <> 'information_schema'),
relations as (
  select c.oid, c.oid::regclass::text as object, c.relkind, c.relowner, c.relacl, c.reloptions, c.relrowsecurity,
    c.relforcerowsecurity, c.relispartition or exists (select from pg_inherits where inhrelid = c.oid) as is_child,
    (select refobjid from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and objsubid = 0
      and deptype = 'e' limit 1) as extension
  from pg_class c join schemas on schemas.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')),
grants as (
  select r.oid, a.grantee, a.privilege_type as privilege, null::name as column
  from relations r, aclexplode(r.relacl) a where a.grantee <> r.relowner
  union all
  select r.oid, a.grantee, a.privilege_type, c.attname
  from relations r join pg_attribute c on c.attrelid = r.oid and not c.attisdropped, aclexplode(c.attacl) a
  where a.grantee <> r.relowner),
-- Relations of any kind that a tenant request may touch, and in the name of whom.
served as (
  select r.*, (select string_agg(distinct s.grantee, ', ') from grants g join strangers s on s.oid = g.grantee, house
    where g.oid = r.oid and g.grantee in (0, house.app)) as grantees from relations r),
walled as (
  select adrelid as oid from pg_attrdef join pg_attribute on attrelid = adrelid and attnum = adnum
  where attname = 'tenant_id' and pg_get_expr(adbin, adrelid) ~ '(current|claimed)_tenant_id\\(\\)'
  union
  select polrelid from pg_policy where polname in ('tenant_may', 'tenant_only')
    or concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) ~ 'current_tenant_id\\(\\)'),
-- A table that the app role may touch, or that is plainly meant to be walled. One that serves partywall_identity and
-- has no policy of a tenant's is an identity table. A tenant's own row in tenants is known by its id.
tables as (
  select r.*, r.oid = house.tenants as is_tenants, w.wall, a.attnum, a.atttypid, a.attnotnull
  from relations r cross join house
  cross join lateral (select case when r.oid = house.tenants then 'id' else 'tenant_id' end as wall) w
  left join pg_attribute a on a.attrelid = r.oid and a.attname = w.wall and not a.attisdropped
  where r.relkind in ('r', 'p') and not r.is_child and r.oid is distinct from house.keys
    and (r.oid = house.tenants or r.oid in (select oid from walled)
      or exists (select from grants g where g.oid = r.oid and g.grantee = house.app)
        and not exists (select from grants g where g.oid = r.oid and g.grantee = house.identity))),
-- A table of the people of all tenants, or of their credentials, which says whose each row is.
identities as (
  select r.* from house, relations r join pg_attribute a on a.attrelid = r.oid and a.attname = 'tenant_id'
    and not a.attisdropped
  where r.relkind in ('r', 'p') and not r.is_child and r.oid not in (select oid from tables)
    and exists (select from grants g where g.oid = r.oid and g.grantee = house.identity)),
-- Whatever holds tenants' rows, people or keys, whoever may touch it.
content as (
  select r.*, a.atttypid, a.attinhcount > 0 as is_parents from house, relations r
  left join pg_attribute a on a.attrelid = r.oid and a.attname = 'tenant_id' and not a.attisdropped
  where r.relkind in ('r', 'p', 'f') and (a.attnum is not null or r.oid = house.keys or r.oid in (select oid from tables)
    or exists (select from grants g where g.oid = r.oid and g.grantee = house.identity))),
-- What a view reads, itself or through other views.
sources (oid, source) as (
  select ev_class, refobjid from pg_rewrite join pg_depend on classid = 'pg_rewrite'::regclass
    and objid = pg_rewrite.oid and refclassid = 'pg_class'::regclass and refobjid <> ev_class
  union
  select s.oid, refobjid from sources s join pg_rewrite on ev_class = s.source join pg_depend
    on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid and refclassid = 'pg_class'::regclass),
-- What no login of partywall's may touch yet.
ungranted as (
  select * from relations r where extension is null
    and not exists (select from grants g join strangers s on s.oid = g.grantee where g.oid = r.oid)),
identity_policies as (
  select i.oid, i.object, p.polname, p.polpermissive, p.polpermissive and p.polcmd = '*' and p.polroles = '{0}'
    and q.using = e.bound and coalesce(q.check, q.using) = e.bound as is_right
  from identities i join pg_policy p on p.polrelid = i.oid
  cross join lateral (select pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as check) q
  cross join (select format('((%1$s IS NULL) OR (tenant_id = %1$s))',
    '( SELECT public.context_tenant_id() AS context_tenant_id)') as bound) e),
-- What the audit trail is about: neither itself, nor who signs in, nor which answers were given, nor what follows from it.
audited as (
  select a.oid, a.object, (select attname::text from pg_attribute where attrelid = a.oid and atttypid = 'uuid'::regtype
    and attname = case a.object when 'public.memberships' then 'user_id' else 'id' end) as key
  from (select oid, object from tables where attnum is not null union all select oid, object from identities) a
  where a.object not in ('public.audit_events', 'public.idempotency_keys', 'public.sessions', 'public.outbox',
    'public.outbox_heads')),
audit_triggers as (
  select t.tgrelid as oid, quote_ident(t.tgname) as name,
    -- After each row's INSERT, UPDATE and DELETE.
    t.tgtype = 29 and t.tgenabled in ('O', 'A') and t.tgqual is null and t.tgattr = '' as is_right
  from pg_trigger t join pg_proc p on p.oid = t.tgfoid
  where p.proname = 'audit_row' and p.pronamespace = 'public'::regnamespace),
-- The policies of tenant tables, each against the one that should be there: see verdict. Beside tenant_only the
-- permissive one says nothing of its own, or the same once more; that of tenants stands alone, and says it.
policies as (
  select t.object, t.oid, t.is_tenants, t.wall, p.polname, quote_ident(p.polname) as policy, p.polpermissive, p.polroles,
    p.polname = case when t.is_tenants then 'own_tenant' when p.polpermissive then 'tenant_may' else 'tenant_only' end
      as is_ours,
    concat(q.using, ' ', q.check) as text,
    p.polcmd = '*' and (q.using = e.wall or q.using = 'true' and p.polpermissive and p.polname = 'tenant_may' and not t.is_tenants)
      and coalesce(q.check, q.using) = q.using
      and (p.polroles = '{0}' or t.is_tenants and p.polpermissive and p.polroles = array[house.app]) as is_right
  from house, tables t join pg_policy p on p.polrelid = t.oid
  cross join lateral (select pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as check) q
  cross join lateral (
    select format('(%I = ( SELECT public.current_tenant_id() AS current_tenant_id))', t.wall) as wall) e
  where t.atttypid = 'uuid'::regtype),
judged as (
  select *, case when is_right then 'right'
    when replace(text, '( SELECT public.current_tenant_id() AS current_tenant_id)', '') ~ 'current_tenant_id\\(\\)'
      then 'per row'
    when not polpermissive and polroles <> '{0}' then 'shed'
    when is_ours then 'wrong'
    when polpermissive and (not is_tenants or polroles && (select array[0, app] from house)) then 'extra'
    end as verdict,
    case when not polpermissive then 'RESTRICTIVE' else 'PERMISSIVE' end as kind,
    case when is_tenants and polpermissive then 'partywall_app' else 'PUBLIC' end as roles,
    case when polpermissive and not is_tenants then 'USING (true) WITH CHECK (true)'
      else format('USING (%1$I = (SELECT public.current_tenant_id())) WITH CHECK (%1$I = (SELECT public.current_tenant_id()))',
        wall) end as rule
  from policies),
functions as (
  select p.oid, p.oid::regprocedure::text as object, p.proname, p.proowner, p.prosecdef, p.proconfig, p.proleakproof, p.prosrc,
    p.prolang, p.pronamespace, coalesce(p.proacl, acldefault('f', p.proowner)) as acl,
    schemas.nspname = 'public' and p.pronargs = 0 and p.proname in ('current_tenant_id', 'current_actor_id') as is_context,
    schemas.nspname = 'public' and p.pronargs = 0
      and p.proname in ('current_tenant_id', 'current_actor_id', 'context_tenant_id', 'audit_row') as is_ours
  from pg_proc p join schemas on schemas.oid = p.pronamespace
  where not exists (select from pg_depend where classid = 'pg_proc'::regclass and objid = p.oid and deptype = 'e')),
-- What is set for a role, for this database, or for both; the narrower one comes first.
settings as (
  select s.setrole, s.setdatabase, split_part(c, '=', 1) as name, substr(c, strpos(c, '=') + 1) as value,
    (s.setrole <> 0)::int * 1 + (s.setrole <> 0 and s.setdatabase <> 0)::int as rank,
    case when s.setrole = 0 then format('DATABASE %I', current_database())
      else format('ROLE %I', s.setrole::regrole::text) end as subject,
    case when s.setrole <> 0 and s.setdatabase <> 0 then format(' IN DATABASE %I', current_database()) else '' end as place
  from house, pg_db_role_setting s, unnest(s.setconfig) c where s.setdatabase in (0, house.database))
`;
