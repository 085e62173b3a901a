import * as v from "valibot";
import { signInOperator, takeOperatorGuess } from "../db/operators.ts";
import { OPERATOR_ROLES } from "../operator.ts";
import { mintOperatorToken, OPERATOR_TOKEN_TTL_S } from "./operator-token.ts";
import { hashesOf } from "./password.ts";
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
const SignedIn = v.object({ ...OperatorSession.entries.operator.entries, generation: v.number() });

/**
 * Starts a session for the operator of this password and this code of their second factor, which is used up. Undefined when
 * either is wrong, and it takes as long whichever it is. `requestId` names the sign-in in the operators' trail.
 */
export async function startOperatorSession(
  { email, password, code }: { email: string; password: string; code: string },
  requestId: string,
): Promise<OperatorSession | undefined> {
  const hashes = await hashesOf(operatorAccount(email), password);
  const [found] = v.parse(v.array(Guess), await takeOperatorGuess(email, hashes));
  if (!found) return undefined;
  const { secret, isStale } = openSecret(found.id, found.totp_secret);
  const step = stepOf(secret, code, Date.now());
  if (step === undefined) return undefined;
  const kept = isStale ? sealSecret(found.id, secret) : found.totp_secret;
  const of = { id: found.id, step, hash: hashes[0], secret: kept, requestId };
  const [who] = v.parse(v.array(SignedIn), await signInOperator(of));
  if (!who) return undefined;
  const { generation, ...operator } = who;
  return {
    access_token: await mintOperatorToken({ ...operator, generation }),
    expires_in: OPERATOR_TOKEN_TTL_S,
    operator,
  };
}
