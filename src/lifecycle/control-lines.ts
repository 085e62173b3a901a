import { sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { builder } from "../db/query.ts";
import {
  apiKeys,
  invitations,
  issuers,
  memberships,
  supportSessions,
  tenants,
  users,
} from "../db/control.ts";
import { controlOf } from "./jobs.ts";

/** Rows that are read at once. */
const PAGE_ROWS = 2000;

// What the control plane has of a tenant, as its export shows it: no hash, no secret. A test goes by the columns.
const SOURCES: Record<string, SQL> = {
  tenant: sql`select id, slug, name, plan, limits, created_at from ${tenants}`,
  members: sql`select m.user_id as id, u.email, m.role, m.created_at, m.updated_at
    from ${memberships} m join ${users} u on u.id = m.user_id`,
  invitations: sql`select id, email, role, invited_by, expires_at, created_at, updated_at from ${invitations}`,
  api_keys: sql`select id, name, scopes, hint, created_by, expires_at, last_used_at, created_at, updated_at from ${apiKeys}`,
  issuers: sql`select id, issuer, audience, role_claim, role_map, default_role, email_domains, just_in_time,
    domains_since, registered_by, suspended_at, created_at, updated_at from ${issuers}`,
  support_sessions: sql`select id, operator_id, operator, reason, minutes, write, created_at, approved_by, started_at,
    expires_at, ended_at, end_reason, ended_by_type, ended_by from ${supportSessions}`,
};

export const CONTROL_KINDS = Object.keys(SOURCES);

const Found = v.array(v.object({ line: v.string(), id: v.string() }));

/** The tenant's control plane of this kind, a page of lines of JSON after the other. */
export async function* linesOfControl(tenant: string, kind: string): AsyncGenerator<string[]> {
  const source = SOURCES[kind];
  if (!source) throw new Error(`there is no ${kind} in the control plane`);
  for (let after: string | null = null; ;) {
    const rows = await readPage(tenant, source, after);
    yield rows.map(({ line }) => line);
    if (rows.length < PAGE_ROWS) return;
    after = rows.at(-1)?.id ?? null;
  }
}

async function readPage(tenant: string, source: SQL, after: string | null) {
  const { page } = await controlOf(tenant).read({
    page: builder.execute(sql`
      select row_to_json(s)::text as line, s.id::text as id from (${source}) s
      where ${after}::uuid is null or s.id > ${after}::uuid order by s.id limit ${PAGE_ROWS}`),
  });
  return v.parse(Found, page.rows);
}
