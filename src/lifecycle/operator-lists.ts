import { and, eq, sql } from "drizzle-orm";
import { erasures, jobs, operatorEvents, operators, tenants } from "../db/control.ts";
import { query, type Given } from "../db/query.ts";
import type { JOB_STATUSES } from "./exports.ts";
import { newestFirst, pageFrom, type PageStart } from "../http/page.ts";

// What operators list beside the tenants, newest first.

type Whose = { tenant_id?: string | undefined; actor_id?: string | undefined };

/** What operators did, of one tenant or by one operator if that is said. */
export const operatorEventList = query((db, { tenant_id, actor_id, ...page }: Given<PageStart & Whose>) =>
  pageFrom(
    () =>
      db
        .select({
          id: operatorEvents.id,
          created_at: operatorEvents.created_at,
          actor: { id: operatorEvents.actor_id, name: operatorEvents.actor },
          action: operatorEvents.action,
          tenant: sql<{ id: string; slug: string | null } | null>`
            case when ${operatorEvents.tenant_id} is not null
              then json_build_object('id', ${operatorEvents.tenant_id}, 'slug', ${tenants.slug}) end`,
          reason: operatorEvents.reason,
          change: operatorEvents.change,
          request_id: operatorEvents.request_id,
        })
        .from(operatorEvents)
        .leftJoin(tenants, eq(tenants.id, operatorEvents.tenant_id))
        .$dynamic(),
    newestFirst(operatorEvents),
    page,
    and(
      tenant_id && eq(operatorEvents.tenant_id, tenant_id),
      actor_id && eq(operatorEvents.actor_id, actor_id),
    ),
  ),
);

/** The moves of tenants, what was deleted after them, and restores; of one tenant if that is said. */
export const moveList = query((db, { tenant_id, ...page }: Given<PageStart & Pick<Whose, "tenant_id">>) =>
  pageFrom(
    () =>
      db
        .select({
          id: jobs.id,
          tenant: { id: jobs.tenant_id, slug: tenants.slug },
          kind: jobs.kind,
          source: jobs.source,
          target: jobs.target,
          outcome: jobs.outcome,
          progress: sql<Record<string, unknown>>`progress_of(${jobs.id})`,
          started_at: jobs.started_at,
          worked_at: jobs.worked_at,
          finished_at: jobs.finished_at,
        })
        .from(jobs)
        .innerJoin(tenants, eq(tenants.id, jobs.tenant_id))
        .$dynamic(),
    { by: jobs.started_at, id: jobs.id },
    page,
    // To the letter of its index, which a parameter would not match.
    and(sql`${jobs.kind} in ('move', 'clear', 'restore')`, tenant_id && eq(jobs.tenant_id, tenant_id)),
  ),
);

/** A row where there is such a tenant. */
export const isTenant = query((db, { tenant }: Given<{ tenant: string }>) =>
  db.select({ id: tenants.id }).from(tenants).where(eq(tenants.id, tenant)),
);

const archiveStatus = sql<(typeof JOB_STATUSES)[number]>`case when ${jobs.outcome} = 'done' then 'done'
  when ${jobs.finished_at} is not null then 'failed'
  when coalesce(progress_of(${jobs.id}) -> 'rows', 'null') = 'null' then 'queued' else 'running' end`;

/** A tenant's exports or imports: how far they are, and nothing of what is in them. */
export const archiveJobList = query(
  (db, { tenant, kind, ...page }: Given<PageStart & { tenant: string; kind: "export" | "import" }>) =>
    pageFrom(
      () =>
        db
          .select({
            id: jobs.id,
            status: archiveStatus,
            rows: sql<number>`coalesce((progress_of(${jobs.id}) ->> 'rows')::float8, 0)`.mapWith(Number),
            created_at: jobs.started_at,
            finished_at: jobs.finished_at,
            expires_at: jobs.kept_until,
          })
          .from(jobs)
          .$dynamic(),
      { by: jobs.started_at, id: jobs.id },
      page,
      and(eq(jobs.tenant_id, tenant), eq(jobs.kind, kind)),
    ),
);

export const erasureList = query((db, page: Given<PageStart>) =>
  pageFrom(
    () =>
      db
        .select({
          id: erasures.id,
          receipt: erasures.receipt,
          requested_at: erasures.requested_at,
          finished_at: erasures.finished_at,
        })
        .from(erasures)
        .$dynamic(),
    { by: erasures.requested_at, id: erasures.id },
    page,
  ),
);

/** The operators, those who are removed too. */
export const operatorList = query((db, page: Given<PageStart>) =>
  pageFrom(
    () =>
      db
        .select({
          id: operators.id,
          email: operators.email,
          role: operators.role,
          signed_in_at: operators.signed_in_at,
          disabled_at: operators.disabled_at,
          created_at: operators.created_at,
        })
        .from(operators)
        .$dynamic(),
    newestFirst(operators),
    page,
  ),
);
