import type { Check } from "./check.ts";

const MINE = "tenant_id = (SELECT public.current_tenant_id())";

/** The tables themselves: whose rows they hold, and whether row level security stands before them. */
export const tables: Check[] = [
  {
    code: "public_grant",
    what: "is open to PUBLIC",
    why: "PUBLIC is every role, so the grants that keep tenant content and identity apart mean nothing",
    mend: "REVOKE ALL ON {object} FROM PUBLIC",
    sql: `select distinct object from relations join grants using (oid), house
      where oid is distinct from keys and relkind in ('r', 'p') and not is_child and extension is null and grantee = 0`,
  },
  {
    code: "tenant_id_missing",
    what: "is open to partywall_app and has no tenant_id",
    why: "no policy can tell whose rows these are, so every tenant sees and writes all of them",
    mend: "REVOKE ALL ON {object} FROM partywall_app",
    sql: `select object from tables where attnum is null`,
  },
  {
    code: "tenant_table_unwalled",
    severity: "warning",
    what: "has a tenant_id and no wall",
    why: "no tenant request may touch it yet: once one may, it sees and writes every tenant's rows",
    mend: `{type}ALTER TABLE {object} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY tenant_only ON {object} AS RESTRICTIVE USING (${MINE}) WITH CHECK (${MINE}); CREATE POLICY tenant_may ON {object} USING (true) WITH CHECK (true)`,
    sql: `select c.object, case when atttypid = 'uuid'::regtype then ''
        else format('ALTER TABLE %s ALTER tenant_id TYPE uuid USING tenant_id::uuid; ', c.object) end as type
      from content c where relkind in ('r', 'p') and not is_control and not is_parents and extension is null
        and oid not in (select oid from tables union all select oid from walled)`,
  },
  {
    code: "tenant_id_not_uuid",
    what: "has a tenant_id that is no uuid",
    why: "a policy compares it through a cast, which keeps it from indexes and takes two spellings for one tenant",
    mend: `{drops}ALTER TABLE {object} ALTER tenant_id DROP DEFAULT, ALTER tenant_id TYPE uuid USING tenant_id::uuid, ALTER tenant_id SET DEFAULT public.claimed_tenant_id(); CREATE POLICY tenant_only ON {object} AS RESTRICTIVE USING (${MINE}); CREATE POLICY tenant_may ON {object} USING (true) WITH CHECK (true)`,
    sql: `select t.object, coalesce(string_agg(format('DROP POLICY %I ON %s; ', p.polname, t.object), ''), '') as drops
      from tables t left join pg_policy p on p.polrelid = t.oid where t.atttypid <> 'uuid'::regtype group by t.object`,
  },
  {
    code: "tenant_id_nullable",
    what: "lets tenant_id be null",
    why: "a row without an owner is in no tenant's export or deletion, and foreign keys with a null are not checked",
    mend: "ALTER TABLE {object} ALTER tenant_id SET NOT NULL",
    sql: `select object from tables where not attnotnull`,
  },
  {
    code: "rls_off",
    what: "has row level security off",
    why: "its policies are not applied: every tenant sees and writes all rows",
    mend: "ALTER TABLE {object} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    sql: `select object from tables where not relrowsecurity and attnum is not null`,
  },
  {
    code: "rls_not_forced",
    what: "does not force row level security on its owner",
    why: "whatever runs as the owner (a view, a SECURITY DEFINER function, a migration) sees every tenant",
    mend: "ALTER TABLE {object} FORCE ROW LEVEL SECURITY",
    sql: `select object from tables where relrowsecurity and not relforcerowsecurity and attnum is not null`,
  },
  {
    code: "table_owner",
    what: "belongs to {role}",
    why: "an owner can switch the wall off; only partywall_owner, as whom nobody logs in, may own what it guards",
    mend: "ALTER TABLE {object} OWNER TO partywall_owner{regrant}",
    sql: `select object, quote_ident(relowner::regrole::text) as role,
      case when relowner = house.app and oid in (select oid from tables)
        then format('; GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO partywall_app', object) else '' end as regrant
      from guarded, house where relowner <> house.owner`,
  },
  {
    code: "child_reachable",
    what: "is a partition or child of a walled table, and {grantees} may touch it directly",
    why: "only the parent's policies stand before its rows, and a query of the child does not pass them",
    mend: "REVOKE ALL ON {object} FROM {grantees}",
    sql: `select object, grantees from served where grantees is not null and relkind in ('r', 'p', 'f') and is_child`,
  },
  {
    code: "child_inherits",
    what: "inherits from {parent}",
    why: "keys and foreign keys of the parent do not cover its children, so one tenant's key may stand there twice",
    mend: "ALTER TABLE {object} NO INHERIT {parent}",
    sql: `select c.oid::regclass::text as object, t.object as parent from tables t join pg_inherits on inhparent = t.oid
      join pg_class c on c.oid = inhrelid and not c.relispartition`,
  },
  {
    code: "identity_column",
    what: "counts {column} up for all tenants together",
    why: "two inserts of one tenant tell how many rows the others made between them",
    mend: "ALTER TABLE {object} ALTER {column} DROP IDENTITY",
    sql: `select object, quote_ident(a.attname) as column from tables t join pg_attribute a on a.attrelid = t.oid
      where a.attidentity <> '' and not a.attisdropped`,
  },
  {
    code: "serial_column",
    severity: "warning",
    what: "fills {column} from the sequence {sequence}, which partywall_app may not use yet",
    why: "until it may, a tenant's insert fails; once it may, the sequence counts for all tenants together",
    mend: "ALTER TABLE {object} ALTER {column} DROP DEFAULT",
    sql: `select t.object, quote_ident(a.attname) as column, s.object as sequence
      from tables t join pg_attribute a on a.attrelid = t.oid join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
      join pg_depend on classid = 'pg_attrdef'::regclass and objid = d.oid and refclassid = 'pg_class'::regclass
      join served s on s.oid = refobjid and s.relkind = 'S' and s.grantees is null`,
  },
  {
    code: "rule",
    what: "has the rewrite rule {rule}",
    why: "a rule's actions run with the rights of the table's owner, not of whoever asks",
    mend: "DROP RULE {rule} ON {object}",
    sql: `select object, quote_ident(rulename) as rule from relations join pg_rewrite on ev_class = relations.oid
      where rulename <> '_RETURN' and extension is null`,
  },
];

/** The audit trail: every change is in it, and nobody but its trigger writes there. */
export const audit: Check[] = [
  {
    code: "audit_writable",
    what: "lets partywall_app {privileges}",
    why: "SQL injected into a tenant's request could forge, change or wipe out the trail that tells of it",
    mend: "REVOKE INSERT, UPDATE, DELETE ON {object} FROM partywall_app",
    sql: `select r.object, string_agg(distinct privilege, ', ') as privileges
      from relations r join grants g using (oid), house
      where r.object = 'public.audit_events' and g.grantee = house.app and g.privilege in ('INSERT', 'UPDATE', 'DELETE')
      group by r.object`,
  },
  {
    code: "received_writable",
    what: "is for receive() to write, and lets partywall_app {privileges}",
    why: "SQL injected into a tenant's request could make up members, or keep the control plane's news out",
    mend: "REVOKE INSERT, UPDATE, DELETE ON {object} FROM partywall_app",
    sql: `select object, string_agg(distinct privilege, ', ') as privileges from relations join grants g using (oid), house
      where object in ('public.members', 'public.former_members', 'public.outbox_receipts')
        and g.grantee = house.app and g.privilege in ('INSERT', 'UPDATE', 'DELETE') group by object`,
  },
  {
    code: "audit_trigger",
    what: "has its audit trigger {trigger} disabled, for some changes only, or of the other plane",
    why: "what it leaves out nobody hears of",
    mend: "CREATE OR REPLACE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {object} FOR EACH ROW {when}EXECUTE FUNCTION {plane}.audit_row({key})",
    sql: `select a.object, a.plane, t.name as trigger, quote_literal(coalesce(a.key, 'id')) as key,
        case a.plane when 'control' then '' else 'WHEN (session_user <> ''partywall_mover'') ' end as when
      from audited a join audit_triggers t using (oid) where not t.is_right`,
  },
  {
    code: "audit_missing",
    severity: "warning",
    what: "has no audit trigger",
    why: "nobody hears who changed its rows",
    mend: "{mend}",
    sql: `select object, format('%sCREATE TRIGGER audit_row AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW %s'
        'EXECUTE FUNCTION %s.audit_row(%L)', case when key is null then '-- ' else '' end, object,
        case plane when 'control' then '' else 'WHEN (session_user <> ''partywall_mover'') ' end, plane,
        coalesce(key, 'the uuid that tells its rows apart')) as mend
      from audited where oid not in (select oid from audit_triggers)`,
  },
  {
    code: "log_trigger",
    what: "has no log trigger, or one that leaves changes out",
    why: "a row that is changed while its tenant moves stays as it was at the new place",
    mend: "CREATE OR REPLACE {definition}",
    sql: `select object, definition from log_triggers l where not exists (select from pg_trigger t
      where t.tgrelid = l.oid and t.tgenabled in ('O', 'A') and pg_get_triggerdef(t.oid) = 'CREATE ' || definition)`,
  },
];

// The old one goes last: without a restrictive policy the table would be open meanwhile.
const REMAKE =
  "ALTER POLICY {policy} ON {object} RENAME TO old_policy; CREATE POLICY {policy} ON {object} AS {kind} FOR ALL " +
  "TO PUBLIC {rule}; DROP POLICY old_policy ON {object}";

/** The two policies of each table: there, right, and alone. */
export const policies: Check[] = [
  {
    code: "policy_missing",
    what: "has no {kind} policy {policy}",
    why: "the restrictive one is the wall, whatever others say; without a permissive one nobody sees a row",
    mend: "DROP POLICY IF EXISTS {policy} ON {object}; CREATE POLICY {policy} ON {object} AS {kind} FOR ALL TO PUBLIC {rule}",
    sql: `select t.object, k.* from tables t, (values
        (true, 'PERMISSIVE', 'tenant_may', 'USING (true) WITH CHECK (true)'),
        (false, 'RESTRICTIVE', 'tenant_only', 'USING (${MINE}) WITH CHECK (${MINE})')) k (permissive, kind, policy, rule)
      where t.atttypid = 'uuid'::regtype
        and not exists (select from judged j where j.oid = t.oid and j.polpermissive = k.permissive
          and (j.verdict = 'right' or j.is_ours))`,
  },
  {
    code: "policy_wrong",
    what: "has another rule in its policy {policy}",
    why: "USING and WITH CHECK must both be tenant_id = (select current_tenant_id()), or true in tenant_may, for all commands and all roles",
    mend: REMAKE,
    sql: `select * from judged where verdict = 'wrong'`,
  },
  {
    code: "policy_per_row",
    what: "verifies the context once a row in its policy {policy}",
    why: "without (select …) one large query of one tenant's takes minutes, index or not, and stalls the others",
    mend: "{mend}",
    sql: `select object, policy, case when is_ours then format('ALTER POLICY %1$s ON %2$s RENAME TO old_policy; CREATE'
        ' POLICY %1$s ON %2$s AS %3$s FOR ALL TO PUBLIC %4$s; DROP POLICY old_policy ON %2$s', policy, object, kind, rule)
        else format('DROP POLICY %s ON %s', policy, object) end as mend
      from judged where verdict = 'per row'`,
  },
  {
    code: "policy_shed",
    what: "has the restrictive policy {policy} for some roles only",
    why: "a role sheds restrictive policies that name it with DROP OWNED BY (CVE-2026-116311); TO PUBLIC it cannot",
    mend: "ALTER POLICY {policy} ON {object} TO PUBLIC",
    sql: `select object, policy from judged where verdict = 'shed'`,
  },
  {
    code: "policy_extra",
    what: "has another permissive policy, {policy}",
    why: "permissive policies are joined by OR: it shows more rows than the tenant's wherever no restrictive one stands",
    mend: "DROP POLICY {policy} ON {object}",
    sql: `select object, policy from judged where verdict = 'extra'`,
  },
];
