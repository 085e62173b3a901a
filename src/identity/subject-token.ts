import { decodeJwt, errors, jwtVerify, type JWTPayload } from "jose";
import * as v from "valibot";
import { Problem } from "../problem.ts";
import { Email } from "./account.ts";
import type { Role } from "./caller.ts";
import { issuerKey } from "./issuer-keys.ts";
import type { Trust } from "./trust.ts";

/** Signatures that only the issuer can make: a key of theirs that is public is never a secret of an HMAC. */
const ALGORITHMS = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 Ed25519 EdDSA".split(" ");
const CLOCK_TOLERANCE_S = 30;
/** However late its `exp`: who shows an older token signs in at the issuer again. */
const MAX_AGE = "24h";

/** What a Postgres text can hold. */
const Text = v.pipe(
  v.string(),
  v.maxLength(500),
  v.check((text) => !text.includes("\0") && text.isWellFormed()),
);
const Unverified = v.object({
  iss: Text,
  aud: v.union([Text, v.pipe(v.array(Text), v.minLength(1), v.maxLength(20))]),
  azp: v.optional(v.string()),
});

const Claims = v.object({
  sub: v.pipe(Text, v.minLength(1), v.maxLength(255)),
  email: Email,
  email_verified: v.literal(true),
});

/** Who an issuer says somebody is, and what that makes of them in the tenant that trusts it. */
export type Subject = { subject: string; email: string; role: Exclude<Role, "owner"> };

/** The problem of a subject token that is not accepted: RFC 8693, 2.2.2, has one error code for all reasons. */
export const refusedToken = (reason: string) =>
  new Problem("subject_token_refused", { error: "invalid_request", detail: reason });

/** Nobody who holds no genuine token hears whether a tenant trusts its issuer. */
export const unknownToken = () =>
  refusedToken("No tenant trusts the token's issuer for its audience, or the issuer did not sign it.");

/**
 * The issuer that a token names, and for which audience it was made, to find out who trusts it; nothing else of it
 * is believed yet. Of several audiences it was made for the one that asked for it, `azp` (OIDC Core, 3.1.3.7).
 */
export function readSubjectToken(token: string): { issuer: string; audience: string } {
  try {
    const { iss: issuer, aud, azp } = v.parse(Unverified, decodeJwt(token));
    const audiences = [aud].flat();
    const audience = audiences.length === 1 ? audiences[0] : azp;
    if (audience !== undefined && audiences.includes(audience)) return { issuer, audience };
  } catch (error) {
    if (!(error instanceof errors.JOSEError || error instanceof v.ValiError)) throw error;
  }
  throw unknownToken();
}

/**
 * What the token says of its subject, if the issuer that the tenant trusts signed it for the audience that it trusts
 * it for, and lately. Throws `subject_token_refused`, and `unavailable` when the issuer's keys are out of reach.
 */
export async function verifySubjectToken(
  token: string,
  trust: Trust,
  keepAlive: (work: Promise<unknown>) => void,
): Promise<Subject> {
  try {
    const { payload } = await jwtVerify(token, (header) => issuerKey(trust.issuer, header, keepAlive), {
      algorithms: ALGORITHMS,
      issuer: trust.issuer,
      audience: trust.audience,
      requiredClaims: ["iss", "aud", "sub", "iat", "exp"],
      maxTokenAge: MAX_AGE,
      clockTolerance: CLOCK_TOLERANCE_S,
    });
    return subjectOf(payload, trust);
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw refusedToken("The token has expired, or is too old.");
    // Claims are looked at after the signature.
    if (error instanceof errors.JWTClaimValidationFailed)
      throw refusedToken(`The token's claim ${error.claim} is missing or not good here.`);
    if (error instanceof errors.JOSEError) throw unknownToken();
    throw error;
  }
}

function subjectOf(payload: JWTPayload, trust: Trust): Subject {
  const claims = v.safeParse(Claims, payload, { abortEarly: true });
  if (!claims.success) {
    const claim = String(claims.issues[0].path?.[0].key);
    throw refusedToken(`The token's claim ${claim} is missing or not good here.`);
  }
  const { sub: subject, email } = claims.output;
  if (!trust.email_domains.includes(email.slice(email.lastIndexOf("@") + 1)))
    throw refusedToken("The tenant does not trust the issuer for the domain of the token's email.");
  const role = roleOf(payload, trust);
  if (!role) throw refusedToken("Nothing that the token says stands for a role in the tenant.");
  return { subject, email, role };
}

/** The greatest role that a value of the claim stands for, else the default one. */
function roleOf(payload: JWTPayload, { role_claim, role_map, default_role }: Trust) {
  const values = role_claim === null ? [] : [payload[role_claim]].flat();
  const mapped = new Set(
    Object.entries(role_map).flatMap(([value, role]) => (values.includes(value) ? role : [])),
  );
  return (["admin", "member", "viewer"] as const).find((role) => mapped.has(role)) ?? default_role;
}
