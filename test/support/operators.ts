import { Secret, TOTP } from "otpauth";
import { v7 as uuidv7 } from "uuid";
import { operators, operatorSessions } from "../../src/db/control.ts";
import type { OperatorSession } from "../../src/identity/operator-session.ts";
import { mintOperatorToken, OPERATOR_TOKEN_TTL_S } from "../../src/identity/operator-token.ts";
import { hashPassword } from "../../src/identity/password.ts";
import { newTotpSecret, operatorAccount } from "../../src/identity/peppered.ts";
import { sealSecret } from "../../src/identity/sealed-secret.ts";
import type { Operator, OperatorRole } from "../../src/operator.ts";
import { answered, request, stageDb } from "./client.ts";

export const OPERATOR_PASSWORD = "a password that was generated";

/** An operator, with a token as signing in gives it. */
export type TestOperator = Operator & { sessionId: string; token: string; secret: Buffer };

/** A new operator of this role; with `password` it takes a tenth of a second more, and is OPERATOR_PASSWORD. */
export async function newOperator(
  role: OperatorRole,
  { password = false }: { password?: boolean } = {},
): Promise<TestOperator> {
  const [id, secret] = [uuidv7(), newTotpSecret()];
  const email = `${role}-${id}@operators.test`;
  await stageDb.insert(operators).values({
    id,
    email,
    role,
    password_hash: password ? await hashPassword(operatorAccount(email), OPERATOR_PASSWORD) : "none",
    totp_secret: sealSecret(id, secret),
  });
  return { id, email, role, secret, ...(await newSession({ id, role })) };
}

/** Another session of an operator's who has not been changed yet, without signing in. */
export async function newSession({ id, role }: Pick<Operator, "id" | "role">) {
  const sessionId = uuidv7();
  const expires_at = new Date(Date.now() + OPERATOR_TOKEN_TTL_S * 1000);
  await stageDb.insert(operatorSessions).values({ id: sessionId, operator_id: id, expires_at });
  return { sessionId, token: await mintOperatorToken({ id, role, generation: 1, sessionId }) };
}

/** The code that the operator's app shows, so many steps of 30 s from now. */
export const codeOf = ({ secret }: Pick<TestOperator, "secret">, step = 0): string =>
  new TOTP({ secret: new Secret({ buffer: new Uint8Array(secret).buffer }) }).generate({
    timestamp: Date.now() + step * 30_000,
  });

export const signInOperator = (body: object, headers: Record<string, string> = {}): Promise<Response> =>
  request("POST", "/v1/operator/sessions", { body, headers });

/** A session of an operator that has OPERATOR_PASSWORD. */
export const operatorSession = (of: TestOperator, step = 0): Promise<OperatorSession> =>
  answered(201, signInOperator({ email: of.email, password: OPERATOR_PASSWORD, code: codeOf(of, step) }));

/** A request to an operators' route. */
export const asOperator = (token: string | undefined, method: string, path: string, body?: object) =>
  request(method, `/v1/operator/${path}`, { token, body });
