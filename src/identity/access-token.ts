import { errors, importJWK, jwtVerify, SignJWT, type JWTPayload } from "jose";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { settings } from "../env.ts";
import { SCOPES, ROLES, SUPPORT_SCOPES } from "../authority.ts";
import { ACCESS_TOKEN_TTL_S, type Credential, type SupportCredential } from "../caller.ts";
import { remembers } from "../memory.ts";
import { hasLowS, withLowS } from "./low-s.ts";

export const CLOCK_TOLERANCE_S = 5;
/** Client id of the sessions that this server starts itself (RFC 9068 demands one). */
const CLIENT_ID = "partywall";
/** Several times what a token of this server takes. */
const MAX_LENGTH = 4096;

/** The public keys as a JWK Set (RFC 7517). It names what is public, so that nothing else can slip out. */
export const jwks = {
  keys: settings.TOKEN_SIGNING_KEYS.keys.map((jwk) => {
    const { kty, kid, alg, crv, x } = jwk;
    return { kty, kid, alg, use: "sig", crv, x, ...("y" in jwk ? { y: jwk.y } : {}) };
  }),
};

const verifiers = await Promise.all(
  jwks.keys.map(async (jwk) => ({ kid: jwk.kid, alg: jwk.alg, key: await importJWK(jwk) })),
);
const [current] = settings.TOKEN_SIGNING_KEYS.keys;
const signer = await importJWK({ ...current });

const TYP = "at+jwt";

/** A header says this and no more: none of ours names a key, an address or an extension. */
const Header = v.strictObject({
  alg: v.picklist(["Ed25519", "ES256"]),
  typ: v.string(),
  kid: v.string(),
});

const Id = v.pipe(v.string(), v.regex(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/));

const Claims = v.object({
  aud: v.string(),
  sub: Id,
  tid: Id,
  sid: Id,
  role: v.picklist(ROLES),
  ver: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 0),
  // A token of an earlier version of this server does not say them: it takes a proof again.
  auth_time: v.optional(v.number(), 0),
  amr: v.optional(v.array(v.string()), []),
  iat: v.number(),
  exp: v.number(),
});

/** Of an operator whom the tenant has let in (RFC 8693, 4.1): they act, on the tenant's behalf. */
const SupportClaims = v.object({
  sub: Id,
  tid: Id,
  sid: Id,
  role: v.picklist(["support", "support_write"]),
  act: v.strictObject({ sub: Id, name: v.string() }),
  iat: v.number(),
  exp: v.number(),
});

type UserCredential = Extract<Credential, { kind: "user" }>;
type AccessCredential = UserCredential | SupportCredential;

/** A JWT access token (RFC 9068) that says this of its bearer, good for ACCESS_TOKEN_TTL_S. */
export async function mintAccessToken(of: Omit<UserCredential, "kind">): Promise<string> {
  const claims = {
    tid: of.tenantId,
    sid: of.sessionId,
    role: of.role,
    ver: of.version,
    auth_time: Math.floor(of.authTime),
    amr: of.amr,
    scope: SCOPES[of.role].join(" "),
  };
  return signAccess(of.userId, claims, Math.floor(Date.now() / 1000) + ACCESS_TOKEN_TTL_S);
}

/**
 * A JWT access token of an operator whom the tenant has let in, good until `until`, in s since 1970, and no longer than
 * ACCESS_TOKEN_TTL_S. Returns for how many seconds too.
 */
export async function mintSupportToken(
  of: Omit<SupportCredential, "kind">,
  until: number,
): Promise<{ token: string; seconds: number }> {
  const now = Math.floor(Date.now() / 1000);
  const expiry = Math.min(Math.floor(until), now + ACCESS_TOKEN_TTL_S);
  const claims = {
    tid: of.tenantId,
    sid: of.sessionId,
    role: of.role,
    act: { sub: of.operatorId, name: of.operator },
    scope: SUPPORT_SCOPES[of.role].join(" "),
  };
  return { token: await signAccess(of.tenantId, claims, expiry), seconds: expiry - now };
}

/** A token of this server's for its own API (RFC 9068), which expires at `expiry`, in s since 1970. */
async function signAccess(subject: string, claims: JWTPayload, expiry: number): Promise<string> {
  return spelled(
    await new SignJWT({ client_id: CLIENT_ID, ...claims })
      .setProtectedHeader({ alg: current.alg, typ: TYP, kid: current.kid })
      .setIssuer(settings.ISSUER)
      .setAudience(settings.ISSUER)
      .setSubject(subject)
      .setIssuedAt()
      .setExpirationTime(expiry)
      .setJti(uuidv7())
      .sign(signer),
  );
}

/** A signed statement of this server's, of a type of its own: a JWS that the JWK Set verifies, for as long as its key is there. */
export async function signStatement(typ: string, claims: JWTPayload): Promise<string> {
  return spelled(
    await new SignJWT(claims)
      .setProtectedHeader({ alg: current.alg, typ, kid: current.kid })
      .setIssuer(settings.ISSUER)
      .setIssuedAt()
      .sign(signer),
  );
}

/** The token with the one spelling of an ES256 signature that is accepted here. */
function spelled(token: string): string {
  if (current.alg !== "ES256") return token;
  const at = token.lastIndexOf(".") + 1;
  return token.slice(0, at) + withLowS(Buffer.from(token.slice(at), "base64url")).toString("base64url");
}

/** Only what was verified, by its exact bytes. */
const verified = remembers<{ credential: AccessCredential; expiresAt: number }>("tokens");

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
  const verifier = verifierOf(token, TYP);
  if (!verifier) return undefined;
  try {
    const { payload } = await jwtVerify(token, verifier.key, {
      algorithms: [verifier.alg],
      typ: TYP,
      issuer: settings.ISSUER,
      audience: settings.ISSUER,
      requiredClaims: ["iss", "aud", "sub", "client_id", "tid", "sid", "role", "scope", "iat", "exp", "jti"],
      maxTokenAge: ACCESS_TOKEN_TTL_S,
      clockTolerance: CLOCK_TOLERANCE_S,
    });
    const { credential, expiresAt } = "act" in payload ? readSupport(payload) : readUser(payload);
    verified.set(token, { credential, expiresAt });
    return credential;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof v.ValiError) return undefined;
    throw error;
  }
}

/** What a user's token says, and when it ends, in ms. Throws a ValiError for one that says something else. */
function readUser(payload: JWTPayload) {
  const claims = v.parse(Claims, payload);
  const { tid: tenantId, sub: userId, sid: sessionId, role, ver: version, auth_time: authTime, amr } = claims;
  const credential = { kind: "user", tenantId, userId, sessionId, role, version, authTime, amr } as const;
  const end = Math.min(claims.exp, claims.iat + ACCESS_TOKEN_TTL_S);
  return { credential, expiresAt: (end + CLOCK_TOLERANCE_S) * 1000 };
}

/** The same of an operator's. The tenant was told when it ends, so no clock is tolerated: throws jose's error from then on. */
function readSupport(payload: JWTPayload) {
  const { tid: tenantId, sid: sessionId, role, act, exp } = v.parse(SupportClaims, payload);
  const credential = {
    kind: "support",
    tenantId,
    operatorId: act.sub,
    operator: act.name,
    sessionId,
    role,
  } as const;
  if (exp * 1000 <= Date.now()) throw new errors.JWTExpired("the session of support is over", payload, "exp");
  return { credential, expiresAt: exp * 1000 };
}

/**
 * The key that a token of this type names, if all of it has the one spelling that this server gives it: jose takes padding, white
 * space, stray low bits, repeated members and members that mean nothing here, and either s of an ES256 signature.
 */
export function verifierOf(token: string, typ: string) {
  if (token.length > MAX_LENGTH) return undefined;
  const [header = "", payload = "", signature = "", ...more] = token.split(".");
  const named = v.safeParse(Header, readJson(header));
  const bytes = Buffer.from(signature, "base64url");
  const isCanonical =
    more.length === 0 &&
    readJson(payload) !== undefined &&
    signature !== "" &&
    bytes.toString("base64url") === signature;
  if (!named.success || named.output.typ !== typ || !isCanonical) return undefined;
  const { kid, alg } = named.output;
  if (alg === "ES256" && !hasLowS(bytes)) return undefined;
  return verifiers.find((candidate) => candidate.kid === kid && candidate.alg === alg);
}

/** What this segment says as JSON, if JSON.stringify() would spell it so. */
function readJson(segment: string): unknown {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, "base64url").toString());
    return Buffer.from(JSON.stringify(value)).toString("base64url") === segment ? value : undefined;
  } catch {
    return undefined;
  }
}
