import { errors, jwtVerify } from "jose";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { settings } from "../env.ts";
import { OPERATOR_ROLES, type Operator } from "../operator.ts";
import { CLOCK_TOLERANCE_S, signStatement, verifierOf } from "./access-token.ts";

/** An operator's token has no successor: whoever works for longer signs in again. */
export const OPERATOR_TOKEN_TTL_S = 30 * 60;

/** Neither type nor audience is a tenant's: a token of one lane is nothing in the other. */
const TYP = "operator+jwt";
const AUDIENCE = `${settings.ISSUER.replace(/\/$/, "")}/operator`;

const Claims = v.object({
  aud: v.literal(AUDIENCE),
  sub: v.pipe(v.string(), v.uuid()),
  role: v.picklist(OPERATOR_ROLES),
  ver: v.pipe(v.number(), v.integer()),
  sid: v.pipe(v.string(), v.uuid()),
});

/**
 * What an operator's token says. Whether they are still that, and the session goes on, Postgres says: `generation` is that of their
 * row then.
 */
export type OperatorClaims = Pick<Operator, "id" | "role"> & { generation: number; sessionId: string };

/** A JWT for the operators' routes, good for OPERATOR_TOKEN_TTL_S. */
export const mintOperatorToken = ({ id, role, generation, sessionId }: OperatorClaims): Promise<string> =>
  signStatement(TYP, {
    aud: AUDIENCE,
    sub: id,
    role,
    ver: generation,
    sid: sessionId,
    exp: Math.floor(Date.now() / 1000) + OPERATOR_TOKEN_TTL_S,
    jti: uuidv7(),
  });

/** What a token says that this server signed for an operator and that has not expired, else undefined. Never throws for a token. */
export async function verifyOperatorToken(token: string): Promise<OperatorClaims | undefined> {
  const verifier = verifierOf(token, TYP);
  if (!verifier) return undefined;
  try {
    const { payload } = await jwtVerify(token, verifier.key, {
      algorithms: [verifier.alg],
      typ: TYP,
      issuer: settings.ISSUER,
      audience: AUDIENCE,
      requiredClaims: ["iss", "aud", "sub", "role", "ver", "sid", "iat", "exp", "jti"],
      maxTokenAge: OPERATOR_TOKEN_TTL_S,
      clockTolerance: CLOCK_TOLERANCE_S,
    });
    const { sub, role, ver, sid } = v.parse(Claims, payload);
    return { id: sub, role, generation: ver, sessionId: sid };
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof v.ValiError) return undefined;
    throw error;
  }
}
