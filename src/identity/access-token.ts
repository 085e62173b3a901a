import { base64url, errors, importJWK, jwtVerify, SignJWT, type CryptoKey } from "jose";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { BoundedMap } from "../bounded-map.ts";
import { ROLES } from "../db/schema.ts";
import { settings } from "../env.ts";
import { SCOPES, type Credential } from "./caller.ts";

export const ACCESS_TOKEN_TTL_S = 600;
const CLOCK_TOLERANCE_S = 5;
/** Client id of the sessions that this server starts itself (RFC 9068 demands one). */
const CLIENT_ID = "partywall";
/** Verified tokens remembered per isolate. */
const REMEMBERED = 4096;

type Key = { kid: string; alg: string; sign: CryptoKey; verify: CryptoKey };

const keys: Key[] = await Promise.all(
  settings.TOKEN_SIGNING_KEYS.keys.map(async (jwk) => ({
    kid: jwk.kid,
    alg: jwk.alg,
    sign: (await importJWK(jwk)) as CryptoKey,
    verify: (await importJWK(publicPart(jwk))) as CryptoKey,
  })),
);

/** Names what is public, so that nothing else can slip out. */
function publicPart({ kty, kid, alg, crv, x, y }: (typeof settings.TOKEN_SIGNING_KEYS.keys)[number]) {
  return { kty, kid, alg, crv, x, ...(y === undefined ? {} : { y }) };
}

/** The public keys as a JWK Set (RFC 7517). */
export const jwks = {
  keys: settings.TOKEN_SIGNING_KEYS.keys.map((key) => ({ ...publicPart(key), use: "sig" })),
};

const Claims = v.object({
  sub: v.pipe(v.string(), v.uuid()),
  tid: v.pipe(v.string(), v.uuid()),
  sid: v.pipe(v.string(), v.uuid()),
  role: v.picklist(ROLES),
  ver: v.optional(v.number(), 0),
  exp: v.number(),
});

type AccessCredential = Extract<Credential, { kind: "user" }>;

/** A JWT access token (RFC 9068) that says this of its bearer, good for ACCESS_TOKEN_TTL_S. */
export async function mintAccessToken(of: Omit<AccessCredential, "kind">): Promise<string> {
  const [key] = keys;
  if (!key) throw new Error("TOKEN_SIGNING_KEYS holds no key");
  return new SignJWT({
    client_id: CLIENT_ID,
    tid: of.tenantId,
    sid: of.sessionId,
    role: of.role,
    ver: of.version,
    scope: SCOPES[of.role].join(" "),
  })
    .setProtectedHeader({ alg: key.alg, typ: "at+jwt", kid: key.kid })
    .setIssuer(settings.ISSUER)
    .setAudience(settings.ISSUER)
    .setSubject(of.userId)
    .setIssuedAt()
    .setExpirationTime(`${ACCESS_TOKEN_TTL_S}s`)
    .setJti(uuidv7())
    .sign(key.sign);
}

/** Only what was verified, by its exact bytes. */
const verified = new BoundedMap<string, { credential: AccessCredential; expiresAt: number }>(REMEMBERED);

/** What a token says that was verified here before and has not expired. */
export function rememberedToken(token: string): AccessCredential | undefined {
  const known = verified.get(token);
  if (known && known.expiresAt > Date.now()) return known.credential;
  verified.delete(token);
  return undefined;
}

/** What a token says that this server signed and that has not expired, else undefined. Never throws for a token. */
export async function verifyAccessToken(token: string): Promise<AccessCredential | undefined> {
  const known = rememberedToken(token);
  if (known) return known;
  if (!isCanonical(token)) return undefined;
  try {
    const { payload } = await jwtVerify(token, ({ kid, alg }) => keyOf(kid, alg), {
      algorithms: ["Ed25519", "ES256"],
      typ: "at+jwt",
      issuer: settings.ISSUER,
      audience: settings.ISSUER,
      requiredClaims: ["iss", "aud", "sub", "client_id", "tid", "sid", "role", "scope", "iat", "exp", "jti"],
      maxTokenAge: ACCESS_TOKEN_TTL_S,
      clockTolerance: CLOCK_TOLERANCE_S,
    });
    const claims = v.parse(Claims, payload);
    const { tid: tenantId, sub: userId, sid: sessionId, role, ver: version } = claims;
    const credential: AccessCredential = { kind: "user", tenantId, userId, sessionId, role, version };
    verified.set(token, { credential, expiresAt: (claims.exp + CLOCK_TOLERANCE_S) * 1000 });
    return credential;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof v.ValiError) return undefined;
    throw error;
  }
}

/** The verification key of this kid, if it is of the algorithm that the token names. */
function keyOf(kid: string | undefined, alg: string): CryptoKey {
  const key = keys.find((candidate) => candidate.kid === kid && candidate.alg === alg);
  if (!key) throw new errors.JWKSNoMatchingKey();
  return key.verify;
}

/** jose takes padding, white space and stray low bits in base64url; a token has one spelling here. */
function isCanonical(token: string): boolean {
  const parts = token.split(".");
  return parts.length === 3 && parts.every((part) => /^[\w-]+$/.test(part) && reencoded(part) === part);
}

function reencoded(part: string): string | undefined {
  try {
    return base64url.encode(base64url.decode(part));
  } catch {
    return undefined;
  }
}
