import { expect, it } from "vitest";
import { sweep } from "../src/lifecycle/sweep.ts";
import { newProject, newTenant, operate, stage, storedKey, type SignedIn } from "./support/client.ts";

/** How many rows of the tenant each of these tables has. */
async function rowsOf(tenantId: string): Promise<Record<string, number>> {
  const [row] = await stage`select
    (select count(*)::int from control.sessions where tenant_id = ${tenantId}) as sessions,
    (select count(*)::int from control.invitations where tenant_id = ${tenantId}) as invitations,
    (select count(*)::int from control.api_keys where tenant_id = ${tenantId}) as api_keys,
    (select count(*)::int from control.jobs where tenant_id = ${tenantId}) as jobs,
    (select count(*)::int from public.idempotency_keys where tenant_id = ${tenantId}) as idempotency_keys,
    (select count(*)::int from public.audit_events where tenant_id = ${tenantId}) as audit_events`;
  return row as Record<string, number>;
}

/** Of all tenants that there are these alone are due: other files' may be more than one sweep looks at. */
async function othersAreSwept(...due: readonly SignedIn[]): Promise<void> {
  const ids = due.map(({ tenant }) => tenant.id);
  // Only those that are due: other files look at theirs meanwhile.
  await stage`update control.outbox_heads set swept_at = case when tenant_id = any (${ids}::uuid[]) then '-infinity' else now() end
    where tenant_id = any (${ids}::uuid[]) or swept_at < now() - interval '1 hour'`;
}

/** Adds rows of each kind that is to go, so many days old. */
async function addOld(tenantId: string, userId: string, days: number, rows: number): Promise<void> {
  const ago = `${days} days`;
  await stage`insert into control.sessions (tenant_id, user_id, refresh_hash, expires_at)
    select ${tenantId}, ${userId}, '\\x00', now() - ${ago}::interval from generate_series(1, ${rows})`;
  await stage`insert into control.sessions (tenant_id, user_id, refresh_hash, expires_at, revoked_at)
    select ${tenantId}, ${userId}, '\\x00', now() + interval '1 day', now() - ${ago}::interval from generate_series(1, ${rows})`;
  await stage`insert into control.invitations (id, tenant_id, email, role, token_hash, invited_by, expires_at)
    select gen_random_uuid(), ${tenantId}, ${`x${days}@`} || g, 'member', '\\x00', ${userId}, now() - ${ago}::interval
    from generate_series(1, ${rows}) g`;
  await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, finished_at, outcome)
    select gen_random_uuid(), ${tenantId}, 'import', 'shared', 'shared', 1, 1, now() - ${ago}::interval, 'failed'
    from generate_series(1, ${rows}) g`;
  await stage`insert into public.idempotency_keys (tenant_id, actor_id, key, request_hash, created_at)
    select ${tenantId}, ${userId}, ${`k${days} `} || g, '\\x00', now() - ${ago}::interval from generate_series(1, ${rows}) g`;
  await stage`insert into public.audit_events
      (tenant_id, id, created_at, actor_id, actor_type, action, resource, resource_id, changed)
    select ${tenantId}, gen_random_uuid(), now() - ${ago}::interval, ${userId}, 'user', 'create', 'notes', ${userId}, '{}'
    from generate_series(1, ${rows}) g`;
}

// 60,000 rows, beside other files at the same database.
it(
  "what is old goes, of tenants that work and of those that are idle; what is not stays",
  { timeout: 60_000 },
  async () => {
    const [owner, other] = await Promise.all([newTenant(), newTenant()]);
    await newProject(owner.token);
    await storedKey(owner);
    const usual = await rowsOf(owner.tenant.id);
    const others = await rowsOf(other.tenant.id);
    await storedKey(owner, { expires_at: new Date(Date.now() - 100 * 86_400_000) });
    await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, finished_at, outcome)
    values (gen_random_uuid(), ${owner.tenant.id}, 'import', 'shared', 'shared', 1, 7, now() - interval '100 days', 'failed')`;
    await addOld(owner.tenant.id, owner.user.id, 100, 5000);
    // Not old enough, of some kinds.
    await addOld(owner.tenant.id, owner.user.id, 0, 3);
    const sessions = (usual["sessions"] ?? 0) + 6;
    // Another file's sweep may hold some of these rows, which this one then skips: the next one finds them.
    const kept = async () =>
      Object.values(await rowsOf(owner.tenant.id)).reduce((sum, rows) => sum + rows, 0);
    let sweeps = 0;
    do {
      await othersAreSwept(owner, other);
      await sweep(Date.now());
    } while (++sweeps < 4 && (await kept()) > 100);
    expect(await rowsOf(owner.tenant.id)).toEqual({
      sessions,
      invitations: 3,
      api_keys: usual["api_keys"],
      // The latest stays, and what has ended lately.
      jobs: 4,
      idempotency_keys: 3,
      audit_events: (usual["audit_events"] ?? 0) + 3,
    });
    expect(await rowsOf(other.tenant.id)).toEqual(others);
  },
);

it("the audit trail is kept for as long as the tenant's plan says", async () => {
  const owner = await newTenant();
  await operate(owner.tenant.id, { plan: "startup" });
  const { audit_events: usual = 0 } = await rowsOf(owner.tenant.id);
  await addOld(owner.tenant.id, owner.user.id, 100, 2);
  await addOld(owner.tenant.id, owner.user.id, 400, 2);
  await othersAreSwept(owner);
  await sweep(Date.now());
  expect(await rowsOf(owner.tenant.id)).toMatchObject({ audit_events: usual + 2, idempotency_keys: 0 });
  await operate(owner.tenant.id, { plan: "enterprise" });
  await addOld(owner.tenant.id, owner.user.id, 4000, 2);
  // Only once a day.
  await sweep(Date.now());
  expect(await rowsOf(owner.tenant.id)).toMatchObject({ idempotency_keys: 2 });
  await othersAreSwept(owner);
  await sweep(Date.now());
  // With the change of the plan.
  expect(await rowsOf(owner.tenant.id)).toMatchObject({ audit_events: usual + 5, idempotency_keys: 0 });
});

it("links and challenges that have expired go, and factors that nobody has confirmed", async () => {
  const { user, tenant } = await newTenant();
  for (const ago of ["1 minute", "-1 minute"]) {
    await stage`insert into control.mailed_links (id, kind, user_id, email, token_hash, expires_at)
      select gen_random_uuid(), 'email_undo', ${user.id}, 'x@x.test', '\\x00', now() - ${ago}::interval`;
    await stage`insert into control.challenges (id, user_id, tenant_id, expires_at)
      select gen_random_uuid(), ${user.id}, ${tenant.id}, now() - ${ago}::interval`;
  }
  for (const [type, age] of [
    ["totp", "2 days"],
    ["passkey", "1 hour"],
  ] as const)
    await stage`insert into control.factors (id, user_id, type, name, created_at)
      values (gen_random_uuid(), ${user.id}, ${type}, 'x', now() - ${age}::interval)`;
  await sweep(Date.now());
  const [row] = await stage`select
    (select count(*)::int from control.mailed_links where user_id = ${user.id} and kind = 'email_undo') as links,
    (select count(*)::int from control.challenges where user_id = ${user.id}) as challenges,
    (select array_agg(type) from control.factors where user_id = ${user.id}) as factors`;
  expect(row).toEqual({ links: 1, challenges: 1, factors: ["passkey"] });
});
