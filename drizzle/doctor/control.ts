import type { Check } from "./check.ts";

const CURRENT = "( SELECT control.current_tenant_id() AS current_tenant_id)";
const isMember = (user: string) =>
  `(EXISTS ( SELECT FROM control.memberships m WHERE (m.user_id = ${user})))`;
const ITS_MEMBER = isMember("users.id");
const ITS_TENANTS = "(name IN ( SELECT t.site FROM control.tenants t))";
const OF_ITS_ISSUER = "(issuer_id IN ( SELECT i.id FROM control.issuers i))";

/** What tables that are of no tenant by a tenant_id alone show in a tenant's context, and take. */
const RULES: Record<string, readonly [shown: string, taken?: string]> = {
  users: [
    `(${ITS_MEMBER} OR ${OF_ITS_ISSUER})`,
    `(((issuer_id IS NULL) AND ${ITS_MEMBER}) OR ${OF_ITS_ISSUER})`,
  ],
  tenants: [`(id = ${CURRENT})`],
  erasures: [`(id = ${CURRENT})`],
  sites: [ITS_TENANTS],
  operators: ["false"],
  operator_sessions: ["false"],
  mailed_links: [isMember("mailed_links.user_id")],
  factors: [isMember("factors.user_id")],
  recovery_codes: [isMember("recovery_codes.user_id")],
  usage_totals: ["false"],
  challenges: [`((tenant_id = ${CURRENT}) AND ${isMember("challenges.user_id")})`],
};
const ruleOf = (at: 0 | 1) =>
  `case c.object ${Object.entries(RULES)
    .map(([table, rule]) => `when 'control.${table}' then '${rule[at] ?? rule[0]}'`)
    .join(" ")} else '(tenant_id = ${CURRENT})' end`;

/** The policies of each table, as Postgres prints them but for its line breaks. */
const WANTED = `
  select c.oid, c.object, w.* from controls c
  cross join (select array_agg(oid) as oids from own_roles
    where rolname in ('partywall_identity', 'partywall_operator', 'partywall_owner')) lookers
  cross join lateral (
    select 'tenant_only', 'PUBLIC', array[0::oid], ${ruleOf(0)}, ${ruleOf(1)}
    union all
    select 'across_tenants', 'partywall_identity, partywall_operator, partywall_owner', lookers.oids,
      '(${CURRENT} IS NULL)', '(${CURRENT} IS NULL)') w (policy, roles, oids, shown, taken)`;

const PRINTED = (expression: string) =>
  `regexp_replace(pg_get_expr(${expression}, polrelid), '\\s+', ' ', 'g')`;

/** The tables of the control plane: in a tenant's context each shows that tenant's rows alone. */
export const control: Check[] = [
  {
    code: "control_row_security",
    what: "has row level security off, or not forced",
    why: "a handler that forgets whose they are then reads and changes every tenant's people and credentials",
    mend: "ALTER TABLE {object} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    sql: `select object from controls where not (relrowsecurity and relforcerowsecurity)`,
  },
  {
    code: "control_policy",
    what: "has no policy {policy} to {roles}, or one with another rule",
    why: "tenant_only keeps a request with a context to its tenant's rows; across_tenants is for requests without one",
    mend: "{mend}",
    sql: `select w.object, w.policy, w.roles, case
        when w.shown ~ '^\\(tenant_id ' and not exists (select from pg_attribute
          where attrelid = w.oid and attname = 'tenant_id' and not attisdropped)
          then format('-- a tenant_id in %s, or a rule for it in drizzle/doctor/control.ts', w.object)
        else format('DROP POLICY IF EXISTS %1$s ON %2$s; CREATE POLICY %1$s ON %2$s TO %3$s USING %4$s WITH CHECK %5$s',
          w.policy, w.object, w.roles, w.shown, w.taken) end as mend
      from (${WANTED}) w
      where not exists (select from pg_policy where polrelid = w.oid and polname = w.policy and polpermissive
        and polcmd = '*' and polroles @> w.oids and polroles <@ w.oids
        and ${PRINTED("polqual")} = w.shown and ${PRINTED("coalesce(polwithcheck, polqual)")} = w.taken)`,
  },
  {
    code: "control_policy_extra",
    what: "has another permissive policy, {policy}",
    why: "permissive policies are joined by OR: it shows rows of other tenants than the context's",
    mend: "DROP POLICY {policy} ON {object}",
    sql: `select object, quote_ident(polname) as policy from controls join pg_policy on polrelid = controls.oid
      where polpermissive and polname not in ('tenant_only', 'across_tenants')`,
  },
  {
    code: "tenants_writable",
    what: "lets partywall_account {privileges}",
    why: "SQL injected into a tenant's request could make or delete a tenant, or give its own another plan or limits",
    mend: "{mend}",
    sql: `select object, string_agg(concat(privilege, ' (' || quote_ident(g.column) || ')'), ', ' order by privilege, g.column)
        as privileges,
      string_agg(format('REVOKE %s%s ON %s FROM partywall_account', privilege, ' (' || quote_ident(g.column) || ')', object),
        '; ' order by privilege, g.column) as mend
      from controls join grants g using (oid), house
      where object = 'control.tenants' and g.grantee = house.account and privilege in ('INSERT', 'UPDATE', 'DELETE')
        and (g.column is null or g.column in ('id', 'plan', 'limits')) group by object`,
  },
];
