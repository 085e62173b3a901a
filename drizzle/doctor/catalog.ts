/**
 * What the checks ask about, as names for their SQL: the roles by id, whoever is not the owner's, the relations of all
 * schemas but Postgres' own, who is granted what on them, the tables of the control plane, and the tables that must stand
 * behind a site's wall. Whatever is not in schema `control` belongs to a site. In braces is what examine() fills in; names
 * in schema `public` are those of the site's schema.
 * Read from access control lists, not has_table_privilege(): a role that is too strong is one finding, not a hundred.
 */
export const HOUSE = `
with recursive own_roles as (
  select name as rolname, oid, rolcanlogin from unnest(array['partywall_owner', 'partywall_app', 'partywall_account',
    'partywall_identity', 'partywall_operator', 'partywall_mover']) name left join pg_roles on rolname = name),
house as (
  select (select oid from own_roles where rolname = 'partywall_app') as app,
    (select oid from own_roles where rolname = 'partywall_account') as account,
    (select oid from own_roles where rolname = 'partywall_owner') as owner,
    (select oid from pg_database where datname = current_database()) as database,
    -- By name in the catalog: to_regclass() asks for USAGE on the schema, which no login has.
    (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'partywall' and c.relname = 'context_keys') as keys),
logins as (
  select oid, rolname from own_roles where oid is not null and rolname <> 'partywall_owner'),
-- Whoever can log in as a role of partywall's, by name; PUBLIC is everyone.
strangers as (
  select oid, quote_ident(rolname) as grantee from logins union all select 0, 'PUBLIC'),
schemas as (
  select oid, nspname, nspowner, nspacl, nspname = 'control' as is_control from pg_namespace
  where nspname !~ '^pg_' and nspname <> 'information_schema' and {examined}),
relations as (
  select c.oid, c.oid::regclass::text as object, c.relname, c.relkind, c.relowner, c.relacl, c.reloptions, c.relrowsecurity,
    c.relforcerowsecurity, schemas.nspname, schemas.is_control,
    c.relispartition or exists (select from pg_inherits where inhrelid = c.oid) as is_child,
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
    where g.oid = r.oid and g.grantee in (0, house.app, house.account)) as grantees from relations r),
walled as (
  select adrelid as oid from pg_attrdef join pg_attribute on attrelid = adrelid and attnum = adnum
  where attname = 'tenant_id' and pg_get_expr(adbin, adrelid) ~ '(current|claimed)_tenant_id\\(\\)'
  union
  select polrelid from pg_policy where polname in ('tenant_may', 'tenant_only')
    or concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) ~ 'current_tenant_id\\(\\)'),
-- A table of a site that the app role may touch, or that is plainly meant to be walled.
tables as (
  select r.*, a.attnum, a.atttypid, a.attnotnull from house, relations r
  left join pg_attribute a on a.attrelid = r.oid and a.attname = 'tenant_id' and not a.attisdropped
  where not r.is_control and r.relkind in ('r', 'p') and not r.is_child and r.oid is distinct from house.keys
    and (r.oid in (select oid from walled)
      or exists (select from grants g where g.oid = r.oid and g.grantee = house.app))),
-- The tables of the control plane.
controls as (
  select r.oid, r.object, r.relowner, r.relrowsecurity, r.relforcerowsecurity from relations r
  where r.is_control and r.relkind in ('r', 'p') and not r.is_child),
-- The tables of both planes.
guarded as (
  select oid, object, relowner from tables union all select oid, object, relowner from controls),
-- Whatever holds tenants' rows, people or keys, whoever may touch it.
content as (
  select r.*, a.atttypid, a.attinhcount > 0 as is_parents from house, relations r
  left join pg_attribute a on a.attrelid = r.oid and a.attname = 'tenant_id' and not a.attisdropped
  where r.relkind in ('r', 'p', 'f')
    and (r.is_control or a.attnum is not null or r.oid = house.keys or r.oid in (select oid from tables))),
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
-- Tables whose changes are in the audit trail. Not the trail itself, the answers that were given, and what receive() writes.
-- "key" is the column that tells rows apart; null when the doctor cannot know it.
audited as (
  select oid, object, '{schema}' as plane, (select attname::text from pg_attribute where attrelid = tables.oid
    and attname = 'id' and atttypid = 'uuid'::regtype) as key
  from tables where attnum is not null and object not in ('public.audit_events', 'public.idempotency_keys', 'public.counters',
    'public.members', 'public.former_members', 'public.outbox_receipts')
  union all
  select oid, object, 'control', key from controls join (values ('control.memberships', 'user_id'),
    ('control.invitations', 'id'), ('control.api_keys', 'id'), ('control.issuers', 'id'), ('control.tenants', 'id'))
    told (object, key) using (object)),
audit_triggers as (
  select t.tgrelid as oid, quote_ident(t.tgname) as name,
    -- The plane's own, after each row's INSERT, UPDATE and DELETE; at a site but for those that the mover brings.
    n.nspname = a.plane and t.tgtype = 29 and t.tgenabled in ('O', 'A') and t.tgattr = ''
      and case a.plane when 'control' then t.tgqual is null
        else pg_get_triggerdef(t.oid) like '% WHEN ((SESSION_USER <> ''partywall_mover''::name)) EXECUTE %' end as is_right
  from audited a join pg_trigger t on t.tgrelid = a.oid join pg_proc p on p.oid = t.tgfoid
  join pg_namespace n on n.oid = p.pronamespace
  where p.proname = 'audit_row' and n.nspname in ('{schema}', 'control')),
-- What notes the changes of a tenant that is being moved, as it is to be on each tenant table.
log_triggers as (
  select oid, object, format('TRIGGER log_row AFTER INSERT OR DELETE OR UPDATE ON %s FOR EACH ROW'
    ' WHEN ((SESSION_USER <> ''partywall_mover''::name)) EXECUTE FUNCTION public.log_row(%s)', object, k.key) as definition
  from tables cross join lateral (
    select string_agg(quote_literal(attname), ', ' order by at) filter (where attname <> 'tenant_id') as key
    from pg_index, unnest(indkey) with ordinality as k (num, at) join pg_attribute on attnum = num
    where indrelid = oid and indisprimary and attrelid = oid having count(*) > 0) k
  where atttypid = 'uuid'::regtype),
-- The policies of tenant tables, each against the one that should be there: see verdict. Beside tenant_only the
-- permissive one says nothing of its own, or the same once more.
policies as (
  select t.object, t.oid, p.polname, quote_ident(p.polname) as policy, p.polpermissive, p.polroles,
    p.polname = case when p.polpermissive then 'tenant_may' else 'tenant_only' end as is_ours,
    concat(q.using, ' ', q.check) as text,
    p.polcmd = '*' and p.polroles = '{0}' and coalesce(q.check, q.using) = q.using
      and (q.using = '(tenant_id = ( SELECT public.current_tenant_id() AS current_tenant_id))'
        or q.using = 'true' and p.polpermissive and p.polname = 'tenant_may') as is_right
  from tables t join pg_policy p on p.polrelid = t.oid
  cross join lateral (select pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as check) q
  where t.atttypid = 'uuid'::regtype),
judged as (
  select *, case when is_right then 'right'
    when replace(text, '( SELECT public.current_tenant_id() AS current_tenant_id)', '') ~ 'public\\.current_tenant_id\\(\\)'
      then 'per row'
    when not polpermissive and polroles <> '{0}' then 'shed'
    when is_ours then 'wrong'
    when polpermissive then 'extra'
    end as verdict,
    case when polpermissive then 'PERMISSIVE' else 'RESTRICTIVE' end as kind,
    case when polpermissive then 'USING (true) WITH CHECK (true)' else 'USING (tenant_id = (SELECT public.current_tenant_id()))'
      ' WITH CHECK (tenant_id = (SELECT public.current_tenant_id()))' end as rule
  from policies),
-- See verifier.ts and examine.ts.
verifiers (object, hash, definer, volatile, parallel, config, attributes, runners, mend) as (values {verifiers}),
functions as (
  select p.oid, p.oid::regprocedure::text as object, p.proname, p.proowner, p.prosecdef, p.proconfig, p.proleakproof, p.prosrc,
    p.prolang, schemas.is_control, coalesce(p.proacl, acldefault('f', p.proowner)) as acl,
    p.oid::regprocedure::text in (select object from verifiers) as is_ours
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
