import { and, eq, sql, type SQL } from "drizzle-orm";
import type { SelectResultFields } from "drizzle-orm/query-builders/select.types";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { SignedIn } from "../caller.ts";
import { outboxHeads, supportSessions, SUPPORT_ENDS, tenants, type SUPPORT_MODES } from "../db/control.ts";
import { by, type Act } from "../db/operators.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { change } from "../tenant/change.ts";
import { updateTenant } from "../tenant/stub.ts";
import { mintSupportToken } from "./access-token.ts";
import { ifActing, stands } from "./acting.ts";
import { insufficientScope, invalidToken } from "./bearer.ts";
import { mailSupportSoon } from "./owner-mails.ts";

// Operators in a tenant that lets them in. Who may do what, and what ends it, is in drizzle/control/0018_support_functions.sql.

const SUPPORT_STATUSES = ["asked", "active", "ended"] as const;
const SUPPORT_END_REASONS = [...SUPPORT_ENDS, "expired", "unanswered"] as const;

/** A session of support, as the API answers it. */
export const SupportSession = v.object({
  id: v.string(),
  status: v.picklist(SUPPORT_STATUSES),
  operator: v.object({ id: v.string(), name: v.string() }),
  reason: v.string(),
  minutes: v.number(),
  write: v.boolean(),
  /** When the operator asked. */
  created_at: v.string(),
  /** The owner who let them in, where one was asked. */
  approved_by: v.nullable(v.string()),
  started_at: v.nullable(v.string()),
  expires_at: v.nullable(v.string()),
  ended_at: v.nullable(v.string()),
  end_reason: v.nullable(v.picklist(SUPPORT_END_REASONS)),
  ended_by: v.nullable(v.object({ type: v.picklist(["user", "operator"]), id: v.string() })),
});

const s = supportSessions;
/** When it is over by itself: at its end, or a day after it was asked if no owner has answered. */
const lapses = sql`coalesce(${s.expires_at}, ${s.created_at} + interval '1 day')`;
const isOver = sql`(${s.ended_at} is not null or ${lapses} <= now())`;

/** What is shown of a session of support, to the tenant and to operators. */
export const shownSupport = {
  id: s.id,
  status: sql<(typeof SUPPORT_STATUSES)[number]>`
    case when ${isOver} then 'ended' when ${s.started_at} is null then 'asked' else 'active' end`,
  operator: { id: s.operator_id, name: s.operator },
  reason: s.reason,
  minutes: s.minutes,
  write: s.write,
  created_at: s.created_at,
  approved_by: s.approved_by,
  started_at: s.started_at,
  expires_at: s.expires_at,
  ended_at: sql<Date | null>`case when ${isOver} then coalesce(${s.ended_at}, ${lapses}) end`.mapWith(
    s.ended_at,
  ),
  end_reason: sql<(typeof SUPPORT_END_REASONS)[number] | null>`
    case when ${isOver} then coalesce(${s.end_reason}, case when ${s.started_at} is null then 'unanswered' else 'expired' end) end`,
  ended_by: sql<{ type: "user" | "operator"; id: string } | null>`
    case when ${s.ended_at} is not null then json_build_object('type', ${s.ended_by_type}, 'id', ${s.ended_by}) end`,
};
type Shown = SelectResultFields<typeof shownSupport>;

/**
 * Says whether operators may look into the caller's tenant, for one of its owners; a stricter mode ends what it would not have
 * allowed. Throws `precondition_failed` unless `only` (If-Match) holds of the tenant.
 */
export async function setSupportAccess(
  db: TenantDb,
  caller: SignedIn,
  mode: (typeof SUPPORT_MODES)[number] | undefined,
  only?: SQL,
) {
  const { standing, row } = await change(db, caller.tenantId, (q) => ({
    standing: q.execute(ifActing(caller)),
    row: q
      .update(tenants)
      // `updated_at` is the trigger's; naming it keeps an empty patch a valid UPDATE.
      .set({ ...(mode && { support_access: mode }), updated_at: sql`now()` })
      .where(and(only, stands(caller)))
      .returning({ mode: tenants.support_access, version: tenants.version }),
  }));
  if (standing.rows.length === 0) throw invalidToken();
  if (!row[0]) throw new Problem("precondition_failed");
  mailSupportSoon(caller.tenantId);
  return row[0];
}

/**
 * Lets in the operator who has asked, on behalf of an owner: from now on, for the minutes that were asked. Throws `not_found`, and
 * `support_session_over` for what has ended.
 */
export async function approveSupport(db: TenantDb, caller: SignedIn, id: string): Promise<Shown> {
  const { rows } = await change(db, caller.tenantId, (q) => ({
    "": q.execute(sql`select approve_support(${id}) where ${stands(caller)}`),
    rows: q.select(shownSupport).from(s).where(eq(s.id, id)),
  }));
  if (!rows[0]) throw new Problem("not_found");
  if (rows[0].status === "ended") throw new Problem("support_session_over");
  // The caller was an owner when the request began.
  if (rows[0].status === "asked") throw invalidToken();
  mailSupportSoon(caller.tenantId);
  return rows[0];
}

/**
 * Ends a session of support in the caller's tenant, or refuses one that was asked: in force at the operator's next request. One
 * that has ended stays as it is. Throws `not_found`.
 */
export async function endSupport(db: TenantDb, caller: SignedIn, id: string): Promise<void> {
  const { rows } = await change(db, caller.tenantId, (q) => ({
    "": q.execute(sql`select end_support(${id}) where ${stands(caller)}`),
    rows: q.select(shownSupport).from(s).where(eq(s.id, id)),
  }));
  if (!rows[0]) throw new Problem("not_found");
  if (rows[0].status !== "ended") throw invalidToken();
  mailSupportSoon(caller.tenantId);
}

type Asked = { tenantId: string; minutes: number; write: boolean };
/** A session, with the operator's token where it has begun. */
type Granted = Shown & { access_token?: string; token_type?: "Bearer"; expires_in?: number };

const Status = v.array(
  v.object({ done: v.nullable(v.picklist(["nobody", "missing", "closed", "off", "asked", "active"])) }),
);
const theOne = (tenantId: string, id: string) => and(eq(s.tenant_id, tenantId), eq(s.id, id));

/** Runs a verb on a session of support; in force, wherever the tenant is called, when this returns. */
async function operate(db: TenantDb, { requestId }: Act, tenantId: string, id: string, verb: SQL) {
  const { answer, rows, heads } = await db.write((q) => ({
    "": q.execute(sql`select set_config('app.request', ${requestId}, true)`),
    answer: q.execute(sql`select ${verb} as done`),
    rows: q.select(shownSupport).from(s).where(theOne(tenantId, id)),
    heads: q.select({ head: outboxHeads.head }).from(outboxHeads).where(eq(outboxHeads.tenant_id, tenantId)),
  }));
  // Nobody is in, or out, before the tenant's object, and so its trail, knows.
  if (rows[0] && heads[0]) {
    await updateTenant(tenantId, heads[0].head);
    mailSupportSoon(tenantId);
  }
  return { answer, row: rows[0] };
}

/**
 * Asks for support of a tenant on behalf of an operator: in at once where the tenant says so, else when an owner approves. It takes
 * the place of what the operator had open there. Throws `not_found`, `tenant_state` and `support_access_off`, and
 * `insufficient_scope` for whoever is no person.
 */
export async function askSupport(
  db: TenantDb,
  act: Act,
  { tenantId, minutes, write }: Asked,
): Promise<Granted> {
  const id = uuidv7();
  const verb = sql`ask_support_in_session(${by(act)}, ${act.operator.sessionId}, ${id}, ${tenantId}, ${minutes}, ${write})`;
  const { answer, row } = await operate(db, act, tenantId, id, verb);
  const status = v.parse(Status, answer.rows)[0]?.done;
  if (status === "nobody")
    throw insufficientScope("Only a person looks into a tenant: sign in under /v1/operator/sessions.");
  if (status === "closed") throw new Problem("tenant_state");
  if (status === "off") throw new Problem("support_access_off");
  if (!row) throw new Problem("not_found");
  return row.status === "active" ? granted(act, tenantId, row) : row;
}

/**
 * The next token of an operator's own session, for ten minutes at most. Throws `not_found`, `support_session_asked` while no owner
 * has approved, and `support_session_over`.
 */
export async function openSupport(db: TenantDb, act: Act, tenantId: string, id: string): Promise<Granted> {
  const found = await findSupport(db, tenantId, id);
  if (found.operator.id !== act.operator.id) throw new Problem("not_found");
  if (found.status === "asked") throw new Problem("support_session_asked");
  return granted(act, tenantId, found);
}

/** A session of support in a tenant, whosever it is. Throws `not_found`. */
export async function findSupport(db: TenantDb, tenantId: string, id: string): Promise<Shown> {
  const { found } = await db.read((q) => ({
    found: q.select(shownSupport).from(s).where(theOne(tenantId, id)),
  }));
  if (!found[0]) throw new Problem("not_found");
  return found[0];
}

/** Ends an operator's own session of support; an admin ends anybody's. Throws `not_found`. */
export async function leaveTenant(db: TenantDb, act: Act, tenantId: string, id: string): Promise<void> {
  const { operator } = act;
  const isAdmin = operator.role === "admin";
  const verb = sql`leave_tenant(${by(act)}, ${id}, ${tenantId}, ${isAdmin})`;
  const { row } = await operate(db, act, tenantId, id, verb);
  if (!row || (!isAdmin && row.operator.id !== operator.id)) throw new Problem("not_found");
}

async function granted({ operator }: Act, tenantId: string, session: Shown): Promise<Granted> {
  const { id: sessionId, write, status, expires_at } = session;
  if (status !== "active" || !expires_at) throw new Problem("support_session_over");
  const role = write ? "support_write" : "support";
  const of = { tenantId, operatorId: operator.id, operator: session.operator.name, sessionId, role } as const;
  const { token, seconds } = await mintSupportToken(of, expires_at.getTime() / 1000);
  if (seconds <= 0) throw new Problem("support_session_over");
  return { ...session, access_token: token, token_type: "Bearer", expires_in: seconds };
}
