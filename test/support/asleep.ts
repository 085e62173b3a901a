import type { NeonQueryFunction } from "@neondatabase/serverless";
import { expect } from "vitest";

/** Below the logins' statement_timeout. */
const SLEEP_S = 9;

/**
 * Runs `act` while a session sleeps in Postgres, then ends that session, and returns what `act` returned. `begin` sends the SQL
 * of the session; it is given the expressions that sleep. Fails if the session had woken before `act` was done.
 */
export async function whileAsleep<T>(
  superuser: NeonQueryFunction<false, false>,
  begin: (sleep: string) => Promise<unknown>,
  act: () => Promise<T>,
): Promise<T> {
  const name = `sleeper-${crypto.randomUUID()}`;
  const asleep = `from pg_stat_activity where query like '%${name}%' and wait_event = 'PgSleep'`;
  const sleeping = begin(`pg_sleep(${SLEEP_S}), '${name}'`).catch((error: unknown) => error);
  await expect.poll(() => superuser.query(`select 1 as there ${asleep}`), { interval: 20 }).toHaveLength(1);
  const result = await act();
  // If it has woken, it did not sleep all the while.
  expect(await superuser.query(`select pg_terminate_backend(pid) as ended ${asleep}`)).toEqual([
    { ended: true },
  ]);
  await sleeping;
  return result;
}
