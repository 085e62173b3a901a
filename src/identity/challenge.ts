import { createHash } from "node:crypto";
import { parse as parseUuid, stringify as toUuid } from "uuid";
import * as v from "valibot";
import { FACTOR_TYPES } from "../db/control.ts";
import { settings } from "../env.ts";
import { Problem } from "../problem.ts";
import { openToken, sealToken, tokensOf } from "./opaque-token.ts";

/** A factor as a sign-in sees it. */
export const KnownFactor = v.object({
  type: v.picklist(FACTOR_TYPES),
  credential_id: v.nullable(v.string()),
  transports: v.nullable(v.array(v.string())),
});
type KnownFactor = v.InferOutput<typeof KnownFactor>;

/** The text of a challenge. It is worth nothing without the proof that it asks for. */
export const ChallengeToken = v.pipe(v.string(), v.maxLength(256));

/** The token of the challenge of this id. */
export const challengeToken = (id: string): string => sealToken("challenge", parseUuid(id));

/** The id in a challenge that this server made, else undefined. */
export function readChallenge(token: string): string | undefined {
  const body = openToken("challenge", token)?.body;
  return body && toUuid(body);
}

const passkeyDigest = (token: string): Buffer =>
  createHash("sha256").update("passkey").update(token).digest();

/** What a passkey signs for the challenge of this id (or of a factor that is being added). */
export const passkeyChallenge = (id: string): Buffer => passkeyDigest(challengeToken(id));

/** Whether that is what was signed, in base64url; also when the keys have been rotated since. */
export const isPasskeyChallenge = (id: string, signed: string): boolean =>
  tokensOf("challenge", parseUuid(id)).some((token) => passkeyDigest(token).toString("base64url") === signed);

/** The domain that passkeys are made for. An address is none: locally it is `localhost`. */
export function relyingParty(): string {
  if (settings.PASSKEY_DOMAIN) return settings.PASSKEY_DOMAIN;
  const { hostname } = new URL(settings.ISSUER);
  return hostname === "127.0.0.1" ? "localhost" : hostname;
}

/** The problem of whoever has shown the first factor only: what to prove now, by which of their factors. */
export async function factorNeeded(challengeId: string, factors: KnownFactor[]): Promise<Problem> {
  const headers = { "www-authenticate": 'Bearer realm="partywall"' };
  const challenge = challengeToken(challengeId);
  if (factors.length === 0) return new Problem("second_factor_enrolment_required", { headers, challenge });
  const types = new Set(factors.map(({ type }) => type));
  const methods = [...FACTOR_TYPES.filter((type) => types.has(type)), "recovery_code"];
  if (!types.has("passkey")) return new Problem("second_factor_required", { headers, challenge, methods });
  const { requestOptions } = await import("./passkey.ts");
  const options = await requestOptions(challengeId, factors);
  return new Problem("second_factor_required", { headers, challenge, methods, options });
}
