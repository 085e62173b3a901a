import { decodeJwt, errors, jwtVerify, type JWTPayload } from "jose";
import * as v from "valibot";
import { Problem } from "../problem.ts";
import { Email } from "../values.ts";
import { issuerKey } from "./issuer-keys.ts";

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

/** What a token says for whom it was made. */
export type Origin = { issuer: string; audience: string };

/** Who an issuer says somebody is: its `sub`, the email and its domain in lower case, and all else that it says. */
export type Subject = { subject: string; email: string; domain: string; claims: JWTPayload };

/** The problem of a subject token that is not accepted: RFC 8693, 2.2.2, has one error code for all reasons. */
export const refusedToken = (reason: string) =>
  new Problem("subject_token_refused", { error: "invalid_request", detail: reason });

export const NO_MEMBER =
  "The token's subject is no member of the tenant, which takes nobody in just in time.";

/** Nobody who holds no genuine token hears whether a tenant trusts its issuer. */
export const unknownToken = () =>
  refusedToken("No tenant trusts the token's issuer for its audience, or the issuer did not sign it.");

/**
 * The issuer that a token names, and for which audience it was made, to find out who trusts it; nothing else of it
 * is believed yet. Of several audiences it was made for the one that asked for it, `azp` (OIDC Core, 3.1.3.7).
 */
export function readSubjectToken(token: string): Origin {
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
 * What the token says of its subject, if this issuer signed it for this audience, and lately. Throws `subject_token_refused`, and `unavailable` when the issuer's keys are out of reach.
 */
export async function verifySubjectToken(
  token: string,
  { issuer, audience }: Origin,
  keepAlive: (work: Promise<unknown>) => void,
): Promise<Subject> {
  try {
    const { payload } = await jwtVerify(token, (header) => issuerKey(issuer, header, keepAlive), {
      algorithms: ALGORITHMS,
      issuer,
      audience,
      requiredClaims: ["iss", "aud", "sub", "iat", "exp"],
      maxTokenAge: MAX_AGE,
      clockTolerance: CLOCK_TOLERANCE_S,
    });
    return subjectOf(payload);
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw refusedToken("The token has expired, or is too old.");
    // Claims are looked at after the signature.
    if (error instanceof errors.JWTClaimValidationFailed)
      throw refusedToken(`The token's claim ${error.claim} is missing or not valid here.`);
    if (error instanceof errors.JOSEError) throw unknownToken();
    throw error;
  }
}

function subjectOf(payload: JWTPayload): Subject {
  const claims = v.safeParse(Claims, payload, { abortEarly: true });
  if (!claims.success) {
    const claim = String(claims.issues[0].path?.[0].key);
    throw refusedToken(`The token's claim ${claim} is missing or not valid here.`);
  }
  const { sub: subject, email } = claims.output;
  return { subject, email, domain: email.slice(email.lastIndexOf("@") + 1), claims: payload };
}
