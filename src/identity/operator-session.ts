import * as v from "valibot";
import { v7 as uuidv7 } from "uuid";
import {
  keepOperatorPassword,
  signInOperator,
  signOutOperator,
  takeOperatorGuess,
  type Act,
} from "../db/operators.ts";
import { OPERATOR_ROLES } from "../operator.ts";
import { Problem } from "../problem.ts";
import { updateTenant } from "../tenant/stub.ts";
import { checkPassword } from "./account.ts";
import { mailSupportSoon } from "./owner-mails.ts";
import { mintOperatorToken, OPERATOR_TOKEN_TTL_S } from "./operator-token.ts";
import { hashesOf, hashPassword } from "./password.ts";
import { operatorAccount } from "./peppered.ts";
import { openSecret, sealSecret } from "./sealed-secret.ts";
import { stepOf } from "./totp.ts";

export const OperatorSession = v.object({
  access_token: v.string(),
  expires_in: v.number(),
  operator: v.object({ id: v.string(), email: v.string(), role: v.picklist(OPERATOR_ROLES) }),
});
export type OperatorSession = v.InferOutput<typeof OperatorSession>;

const Guess = v.object({ id: v.string(), totp_secret: v.string() });
const SignedIn = v.object({
  ...OperatorSession.entries.operator.entries,
  generation: v.number(),
  session: v.string(),
});
/** The tenants that the operator leaves, and how far their outboxes go by then; null where nothing was done. */
const Left = v.tuple([
  v.object({ heads: v.nullable(v.array(v.object({ tenant: v.string(), head: v.number() }))) }),
]);

type Proof = { password: string; code: string };
/** Who it is, the hashes of their password, the time step of their code, and their secret as it is to be kept. */
type Proved = { id: string; hashes: readonly [string, ...string[]]; step: number; secret: string };

/** Whoever has this password and this code of the second factor, which may have been used. It takes as long whichever is wrong. */
async function prove(email: string, { password, code }: Proof): Promise<Proved | undefined> {
  const hashes = await hashesOf(operatorAccount(email), password);
  const [found] = v.parse(v.array(Guess), await takeOperatorGuess(email, hashes));
  if (!found) return undefined;
  const { secret, isStale } = openSecret(found.id, found.totp_secret);
  const step = stepOf(secret, code, Date.now());
  if (step === undefined) return undefined;
  return {
    id: found.id,
    hashes,
    step,
    secret: isStale ? sealSecret(found.id, secret) : found.totp_secret,
  };
}

/**
 * Starts a session for the operator of this password and this code of their second factor, which is used up. Undefined when
 * either is wrong, and it takes as long whichever it is. `requestId` names the sign-in in the operators' trail.
 */
export async function startOperatorSession(
  { email, ...proof }: Proof & { email: string },
  requestId: string,
): Promise<OperatorSession | undefined> {
  const proved = await prove(email, proof);
  if (!proved) return undefined;
  const { hashes, ...rest } = proved;
  const begun = { session: uuidv7(), seconds: OPERATOR_TOKEN_TTL_S };
  const [who] = v.parse(
    v.array(SignedIn),
    await signInOperator({ ...rest, hash: hashes[0], requestId, ...begun }),
  );
  if (!who) return undefined;
  const { generation, session: sessionId, ...operator } = who;
  return {
    access_token: await mintOperatorToken({ ...operator, generation, sessionId }),
    expires_in: OPERATOR_TOKEN_TTL_S,
    operator,
  };
}

/**
 * Ends the operator's session, and what they have open in tenants: their tokens are refused at the next request. Throws
 * `not_found` for a script, which has none.
 */
export async function endOperatorSession(act: Act): Promise<void> {
  const { sessionId } = act.operator;
  if (sessionId === null) throw new Problem("not_found");
  const [{ heads }] = v.parse(Left, await signOutOperator(sessionId, act));
  await tellLeft(heads ?? []);
}

/**
 * Changes the operator's password, for whoever has the one before and a code of their second factor, which is used up. Their other
 * sessions end, and what they have open in tenants. Undefined when the password or the code is wrong. Throws `not_found` for a
 * script, and `invalid_input` for a password that is guessed first.
 */
export async function changeOperatorPassword(
  act: Act,
  { current_password, code, password }: { current_password: string; code: string; password: string },
): Promise<true | undefined> {
  const { id, email, sessionId: session } = act.operator;
  if (session === null) throw new Problem("not_found");
  checkPassword(password, email);
  const proved = await prove(email, { password: current_password, code });
  if (proved?.id !== id) return undefined;
  const hash = await hashPassword(operatorAccount(email), password);
  const [{ heads }] = v.parse(Left, await keepOperatorPassword({ ...proved, session, hash }, act));
  if (!heads) return undefined;
  await tellLeft(heads);
  return true;
}

/**
 * Has the tenants that an operator has left know it, and their trails. Not one that is out of reach: its object asks at the
 * operator's next request there.
 */
async function tellLeft(heads: readonly { tenant: string; head: number }[]): Promise<void> {
  await Promise.allSettled(heads.map(({ tenant, head }) => updateTenant(tenant, head)));
  for (const { tenant } of heads) mailSupportSoon(tenant);
}
