import { sql, type SQL } from "drizzle-orm";
import type { Operator, OperatorRole } from "../operator.ts";
import { operatorDb, rethrow } from "./client.ts";

// What partywall_operator asks by functions: drizzle/control/0016_operator_functions.sql, 0020_operator_session_functions.sql.

/** Who operates, why, and in which request: written down with what is done. `reason` is null where none is asked for. */
export type Act = { operator: Operator; reason: string | null; requestId: string | null };

/** The act, as those functions take it. */
export const by = ({ operator, reason, requestId }: Act) =>
  sql`${JSON.stringify({ id: operator.id, actor: operator.email, reason, request_id: requestId })}::jsonb`;

const ask = async (statement: SQL) => (await operatorDb.execute(statement).catch(rethrow)).rows;
/** An array of texts that have no comma, brace or quote in them. */
const texts = (values: readonly string[]) => sql`${`{${values.join(",")}}`}::text[]`;

/** Begins a tenant's erasure for an operator. Returns its outbox's head too. */
export const eraseForOperator = (id: string, act: Act) =>
  operatorDb
    .batch([
      operatorDb.execute(sql`select erase_for_operator(${by(act)}, ${id}) as begun`),
      operatorDb.execute(sql`select head::float8 from outbox_heads where tenant_id = ${id}`),
    ])
    .catch(rethrow);

/** What checks the code of whoever has this password, which takes one guess; no row for anybody else, or after too many. */
export async function takeOperatorGuess(email: string, hashes: readonly string[]) {
  const { rows } = await operatorDb
    .execute(sql`select id, totp_secret from take_operator_guess(${email}, ${texts(hashes)})`)
    .catch(rethrow);
  return rows;
}

/** Signs the operator in with the code of this time step, and begins their session; no row when it was used before. */
export async function signInOperator(of: {
  id: string;
  step: number;
  hash: string;
  secret: string;
  requestId: string;
  session: string;
  seconds: number;
}) {
  const { rows } = await operatorDb
    .execute(
      sql`select o.id, o.email, o.role, o.generation, open_operator_session(${of.session}, o.id, ${of.seconds}) as session
        from sign_in_operator(${of.id}, ${of.step}, ${of.hash}, ${of.secret}, ${of.requestId}) o`,
    )
    .catch(rethrow);
  return rows;
}

/** Ends the operator's session; `heads` are those of the tenants that they leave with it, and null when it was over before. */
export const signOutOperator = (session: string, act: Act) =>
  ask(sql`select end_operator_session(${by(act)}, ${session}) as heads`);

/**
 * Keeps the operator's new password, for whoever has the one before and a code of this time step, and ends their other sessions;
 * `heads` as of signOutOperator(), and null when the code was used before.
 */
export const keepOperatorPassword = (
  of: { session: string; step: number; hashes: readonly string[]; hash: string; secret: string },
  act: Act,
) =>
  ask(sql`
    select change_operator_password(${by(act)}, ${of.session}, ${of.step}, ${texts(of.hashes)}, ${of.hash}, ${of.secret}) as heads`);

/** Whether the operator still has this role and generation, in a session that goes on; no row when they have not, or are removed. */
export async function standingOperator(of: {
  id: string;
  role: OperatorRole;
  generation: number;
  sessionId: string;
}) {
  const { rows } = await operatorDb
    .execute(sql`
      select o.id, o.email, o.role, s.id as "sessionId" from operators o join operator_sessions s on s.operator_id = o.id
      where o.id = ${of.id} and o.role = ${of.role} and o.generation = ${of.generation} and o.disabled_at is null
        and s.id = ${of.sessionId} and s.ended_at is null and s.expires_at > now()`)
    .catch(rethrow);
  return rows;
}
