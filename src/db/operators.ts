import { sql } from "drizzle-orm";
import type { Operator } from "../operator.ts";
import { operatorDb, rethrow } from "./client.ts";

// What partywall_operator asks by the functions of drizzle/control/0016_operator_functions.sql.

/** Who operates, why, and in which request: written down with what is done. `reason` is null where none is asked for. */
export type Act = { operator: Operator; reason: string | null; requestId: string | null };

/** The act, as those functions take it. */
export const by = ({ operator, reason, requestId }: Act) =>
  sql`${JSON.stringify({ id: operator.id, actor: operator.email, reason, request_id: requestId })}::jsonb`;

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
    .execute(
      sql`select id, totp_secret from take_operator_guess(${email}, ${`{${hashes.join(",")}}`}::text[])`,
    )
    .catch(rethrow);
  return rows;
}

/** Signs the operator in with the code of this time step; no row when it was used before. */
export async function signInOperator(of: {
  id: string;
  step: number;
  hash: string;
  secret: string;
  requestId: string;
}) {
  const { rows } = await operatorDb
    .execute(
      sql`select id, email, role, generation from sign_in_operator(${of.id}, ${of.step}, ${of.hash}, ${of.secret}, ${of.requestId})`,
    )
    .catch(rethrow);
  return rows;
}

/** Whether the operator still has this role and generation; no row when they have not, or are removed. */
export async function standingOperator({ id, role }: Omit<Operator, "email">, generation: number) {
  const { rows } = await operatorDb
    .execute(sql`
      select id, email, role from operators
      where id = ${id} and role = ${role} and generation = ${generation} and disabled_at is null`)
    .catch(rethrow);
  return rows;
}
