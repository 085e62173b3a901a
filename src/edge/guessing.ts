import type { Context } from "hono";
import type { Edge } from "../context.ts";
import { accountOf } from "../account-name.ts";
import { invalidToken } from "../identity/bearer.ts";
import { bindings } from "../env.ts";
import { remembers } from "../memory.ts";
import { Problem } from "../problem.ts";
import { networkOf } from "./client.ts";

// Only failures are counted, by bindings that are approximate and tell no more than whether one was too many. This
// isolate remembers it then, so that whoever fails often is stopped before any work is done.

/** The period of the bindings in wrangler.toml. */
const PERIOD_S = 60;
/** What a sign-in takes longer, wrong or right, while its account is being guessed at from many addresses. */
const SLOWED_MS = 1_500;

/** Until when, in ms, something counts as having failed too often. */
const over = remembers<number>("guessers");
/** Hashes of API keys that were good here, and of those that were not, with the time, in ms, to ask again. */
const valid = remembers<true>("valid_keys");
const invalid = remembers<number>("invalid_keys");

const isAhead = (time: number | undefined) => time !== undefined && Date.now() < time;
const isOver = (what: string) => isAhead(over.get(what));
const afterPeriod = () => Date.now() + PERIOD_S * 1000;
const tooMany = () => new Problem("too_many_attempts", { headers: { "retry-after": String(PERIOD_S) } });

async function countFailure(guard: RateLimit, what: string): Promise<void> {
  if (!(await guard.limit({ key: what })).success) over.set(what, afterPeriod());
}

/**
 * The outcome of an attempt to show that one owns an account; undefined is a failure. Too many of those from one network
 * shut that network out of the account for a minute, which its owner elsewhere does not notice. Too many from anywhere
 * only slow the account's sign-ins down. Throws `too_many_attempts`.
 */
export async function slowGuessing<T>(
  c: Context<Edge>,
  email: string,
  attempt: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const account = accountOf(email);
  const pair = `${networkOf(c)} ${account}`;
  if (isOver(pair)) throw tooMany();
  if (isOver(account)) await scheduler.wait(SLOWED_MS);
  // An attempt hashes a password for a tenth of a second: not for somebody who has left.
  c.get("deadline").check();
  const outcome = await attempt();
  if (outcome === undefined) {
    await Promise.all([
      countFailure(bindings.SIGN_IN_GUARD, pair),
      countFailure(bindings.ACCOUNT_GUARD, account),
    ]);
  }
  // Rechecked: parallel guesses all pass the first check. A correct password gets the same answer.
  if (isOver(pair)) throw tooMany();
  return outcome;
}

/** Whether a key of this hash was good here before. */
export const wasValid = (hash: string) => valid.has(hash);

/**
 * Refuses an API key, before its tenant's object is asked, that was not good a moment ago, or that comes from where too
 * many others were not. One that was good here passes: who shares an address with a guesser keeps his access.
 */
export function refuseGuessedKey(c: Context<Edge>, hash: string): void {
  if (isAhead(invalid.get(hash))) throw invalidToken();
  if (isOver(networkOf(c)) && !wasValid(hash)) throw tooMany();
}

/** Remembers what the tenant's object said of a key. */
export async function rememberKey(c: Context<Edge>, hash: string, isValid: boolean): Promise<void> {
  if (isValid) {
    valid.set(hash, true);
    return;
  }
  valid.delete(hash);
  invalid.set(hash, afterPeriod());
  await countFailure(bindings.API_KEY_GUARD, networkOf(c));
}
