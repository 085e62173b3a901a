import { sql, type SQL } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { violatedConstraint } from "../db/client.ts";
import { by, type Act } from "../db/operators.ts";
import { settings } from "../env.ts";
import { makeInvitation } from "../identity/invitation.ts";
import { INVITATION_TTL_DAYS } from "../identity/sealing.ts";
import { requireMail, sendMail } from "../mail/mail.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { updateTenant } from "../tenant/stub.ts";
import { refuseState } from "./closing.ts";
import { refuseJob, startSoon } from "./exports.ts";
import { operatedTenant } from "./operated.ts";

// What operators do to tenants, each as one function in Postgres, which writes who did it and why in the same transaction.

const Done = v.tuple([v.object({ done: v.unknown() })]);
const Heads = v.array(v.object({ head: v.number() }));
const hex = (bytes: Uint8Array) => sql`${`\\x${Buffer.from(bytes).toString("hex")}`}::bytea`;

/** Runs a verb on a tenant; in force, wherever the tenant is called, when this returns. Throws `not_found`. */
async function operate(db: TenantDb, id: string, verb: SQL) {
  const { answer, heads, found } = await db.write((q) => ({
    answer: q.execute(sql`select ${verb} as done`),
    heads: q.execute(sql`select head::float8 from outbox_heads where tenant_id = ${id}`),
    found: operatedTenant(id),
  }));
  const [{ done }] = v.parse(Done, answer.rows);
  const [told] = v.parse(Heads, heads.rows);
  const [tenant] = found;
  if (done === null || !told || !tenant) throw new Problem("not_found");
  // An operator sees no API keys, so the tenant's object reads the news by itself.
  await updateTenant(id, told.head);
  return { done, tenant };
}

/**
 * Changes a tenant: its plan, its own limits, its status. `versions` are those that it may have, as an array of Postgres'. Throws
 * `not_found`, `precondition_failed`, and `tenant_state` where a status does not follow the one before.
 */
export async function changeTenant(
  db: TenantDb,
  id: string,
  act: Act,
  action: "tenant.update" | "tenant.close" | "tenant.restore",
  change: object,
  versions?: string,
) {
  const { done, tenant } = await operate(
    db,
    id,
    sql`operate_tenant(${by(act)}, ${action}, ${id}, ${JSON.stringify(change)}::jsonb,
      ${settings.CLOSING_GRACE_DAYS}, ${versions ?? null}::integer[])`,
  ).catch(refuseState);
  if (done === false) throw new Problem("precondition_failed");
  return tenant;
}

export type NewTenant = { name: string; slug: string; plan: string; owner_email: string };

/**
 * Makes a tenant, and mails an invitation to its first owner. The same again invites them again, as after a mail that was not
 * sent, until they have come. Throws `slug_taken`, `mail_not_sent` and `mail_not_set_up`.
 */
export async function createTenant(db: TenantDb, act: Act, { name, slug, plan, owner_email }: NewTenant) {
  await requireMail(owner_email);
  const newId = uuidv7();
  const first = makeInvitation(newId, owner_email);
  const { made } = await db
    .write((q) => ({
      made: q.execute(sql`
        select create_tenant(${by(act)}, ${newId}, ${slug}, ${name}, ${plan}, ${settings.SIGNUP_SITE},
          ${first.id}, ${owner_email}, ${hex(first.hash)}, ${INVITATION_TTL_DAYS}) as id`),
    }))
    .catch((error: unknown) => {
      throw violatedConstraint(error) === "tenants_slug"
        ? new Problem("slug_taken", { cause: error })
        : error;
    });
  const [{ id }] = v.parse(v.tuple([v.object({ id: v.string() })]), made.rows);
  const invitation = id === newId ? first : makeInvitation(id, owner_email);
  const again = sql`invite_owner(${id}, ${invitation.id}, ${owner_email}, ${hex(invitation.hash)}, ${INVITATION_TTL_DAYS})`;
  const { tenant } = await operate(db, id, id === newId ? sql`true` : sql`${again} is null`);
  await sendMail("invitation", {
    token: invitation.text,
    email: owner_email,
    role: "owner",
    tenant: name,
    inviter: settings.API_NAME,
  });
  return tenant;
}

/**
 * Begins an export, which the tenant's own people see and download; returns the one under way, if there is one. Throws
 * `not_found`, `tenant_state` and `job_under_way`.
 */
export async function exportForOperator(db: TenantDb, id: string, act: Act): Promise<{ id: string }> {
  const job = uuidv7();
  const { done } = await operate(db, id, sql`export_for_operator(${by(act)}, ${id}, ${job})`).catch(
    refuseJob,
  );
  if (done === job) await startSoon({ kind: "export", tenant: id, job });
  return { id: String(done) };
}

/** Ends all sessions of a tenant's people in it; their API keys go on. Throws `not_found`. */
export async function endSessionsOf(db: TenantDb, id: string, act: Act): Promise<void> {
  await operate(db, id, sql`end_sessions_of_tenant(${by(act)}, ${id})`);
}
