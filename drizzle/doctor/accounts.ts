import type { Check } from "./check.ts";

const CONTEXT = "( SELECT public.context_tenant_id() AS context_tenant_id)";
const ITS_MEMBER = "(EXISTS ( SELECT FROM public.memberships m WHERE (m.user_id = users.id)))";
const OF_ITS_ISSUER = "(issuer_id IN ( SELECT i.id FROM public.issuers i))";

/** The policies that bind sign-in's login in a tenant's context, as Postgres prints them but for its line breaks. */
const POLICIES = [
  {
    table: "users",
    kind: "PERMISSIVE",
    using: `((${CONTEXT} IS NULL) OR ${ITS_MEMBER} OR ${OF_ITS_ISSUER})`,
    check: `((${CONTEXT} IS NULL) OR ((issuer_id IS NULL) AND ${ITS_MEMBER}) OR ${OF_ITS_ISSUER})`,
  },
  {
    table: "tenants",
    kind: "RESTRICTIVE",
    using: `((${CONTEXT} IS NULL) OR (id = ${CONTEXT}))`,
    check: `((${CONTEXT} IS NULL) OR (id = ${CONTEXT}))`,
  },
];

const WANTED = POLICIES.map(({ table, kind, using, check }) => {
  const object = `public.${table}`;
  const mend =
    `DROP POLICY IF EXISTS one_tenant ON ${object}; ` +
    `CREATE POLICY one_tenant ON ${object} AS ${kind} USING ${using} WITH CHECK ${check}`;
  return `('${object}', ${kind === "PERMISSIVE"}, '${using}', '${check}', '${mend}')`;
}).join(", ");

const PRINTED = (expression: string) =>
  `regexp_replace(pg_get_expr(${expression}, polrelid), '\\s+', ' ', 'g')`;

/** Accounts and tenants: in a tenant's context nobody sees those of another. */
export const accounts: Check[] = [
  {
    code: "account_policy",
    what: "is without the policy that keeps a request with a context to its tenant's",
    why: "a handler that forgets whose they are then reads every account, or every tenant",
    mend: "{mend}",
    sql: `select w.object, w.mend from (values ${WANTED}) w (object, permissive, using_text, check_text, mend)
      join relations r on r.object = w.object
      where not exists (select from pg_policy where polrelid = r.oid and polname = 'one_tenant' and polcmd = '*'
        and polroles = '{0}' and polpermissive = w.permissive
        and ${PRINTED("polqual")} = w.using_text and ${PRINTED("polwithcheck")} = w.check_text)`,
  },
  {
    code: "account_row_security",
    what: "has row level security off, or not forced",
    why: "a handler that forgets whose they are then reads and changes every account",
    mend: "ALTER TABLE {object} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    sql: `select object from relations where object = 'public.users' and not (relrowsecurity and relforcerowsecurity)`,
  },
  {
    code: "account_policy_extra",
    what: "has another permissive policy, {policy}",
    why: "permissive policies are joined by OR: it shows accounts of other tenants than the context's",
    mend: "DROP POLICY {policy} ON {object}",
    sql: `select r.object, quote_ident(polname) as policy from relations r join pg_policy on polrelid = r.oid
      where r.object = 'public.users' and polpermissive and polname <> 'one_tenant'`,
  },
];
