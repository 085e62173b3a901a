import { userInfo } from "node:os";
import type pg from "pg";

/** What is done by the command line, to which tenant if it is about one, and why. */
export type Command = {
  action: string;
  tenant?: string;
  change: Record<string, unknown>;
  reason?: string | undefined;
};

/** What the trail says where whoever runs a command says no reason. */
const NO_REASON = "by the command line";

/** Who runs this command, as far as this machine knows. */
function runBy(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    // Of a user id without a name.
    return undefined;
  }
}

/** Writes a line into the operators' trail, in the transaction that does it: its actor is the command line, and `run_by` who ran it. */
export async function noteCommand(
  control: pg.ClientBase,
  { action, tenant, change, reason }: Command,
): Promise<void> {
  const who = runBy();
  await control.query(
    `select control.note_operation(jsonb_build_object('id', '00000000-0000-0000-0000-000000000000', 'actor', 'command line',
       'reason', $1::text), $2, $3, $4::jsonb, null)`,
    [
      reason ?? (tenant === undefined ? null : NO_REASON),
      action,
      tenant ?? null,
      JSON.stringify({ ...change, ...(who !== undefined && { run_by: who }) }),
    ],
  );
}

/** A reason that says who runs this command, for the API, which knows of a script alone. */
export function reasonWithWho(reason: string | undefined): string {
  const who = runBy();
  const by = who === undefined ? NO_REASON : `${NO_REASON}, run by ${who}`;
  const whole = reason === undefined ? by : `${reason} (${by})`;
  return whole.length <= MAX_REASON ? whole : (reason ?? by);
}

/** As the API takes it. */
const MAX_REASON = 500;
