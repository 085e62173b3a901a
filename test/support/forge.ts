import { settings } from "../../src/env.ts";
import { withLowS } from "../../src/identity/low-s.ts";

type Jwk = { kty: string; crv: string; x: string; y?: string; d?: string };

/** The key of this run that signs with this algorithm: the one in use does with Ed25519, the next one with ES256. */
function keyOf(alg: "Ed25519" | "ES256") {
  const key = settings.TOKEN_SIGNING_KEYS.keys.find((jwk) => jwk.alg === alg);
  if (!key) throw new Error(`the run has no key for ${alg}`);
  return key;
}
export const ed25519 = keyOf("Ed25519");
export const es256 = keyOf("ES256");

const ALGORITHMS: Record<string, { name: string; namedCurve?: string; hash?: string }> = {
  Ed25519: { name: "Ed25519" },
  "P-256": { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  "P-384": { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
};

function algorithmOf(curve: string): { name: string; namedCurve?: string; hash?: string } {
  const algorithm = ALGORITHMS[curve];
  if (!algorithm) throw new Error(`no algorithm for ${curve}`);
  return algorithm;
}

/** Another key pair on this curve, its private part as a JWK. */
export async function strangersKey(curve: "Ed25519" | "P-256" | "P-384"): Promise<Jwk> {
  const pair = await crypto.subtle.generateKey(algorithmOf(curve), true, ["sign", "verify"]);
  if (!("privateKey" in pair)) throw new Error("not a pair");
  const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
  if (jwk instanceof ArrayBuffer) throw new Error("not a JWK");
  const { kty, x = "", y, d = "" } = jwk;
  return { kty, crv: curve, x, ...(y && { y }), d };
}

/** One segment of a token: an object as JSON, text as it is. */
export const segment = (part: object | string | Uint8Array): string =>
  Buffer.from(typeof part === "string" || part instanceof Uint8Array ? part : JSON.stringify(part)).toString(
    "base64url",
  );

/** The signature of this key over anything at all, which no library of ours has looked at; on P-256 with the lower s. */
export async function signatureOf(key: Jwk, text: string): Promise<Buffer> {
  const { kty, crv, x, y, d } = key;
  const algorithm = algorithmOf(crv);
  const jwk = { kty, crv, x, ...(y && { y }), ...(d && { d }) };
  const imported = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]);
  const signature = Buffer.from(await crypto.subtle.sign(algorithm, imported, Buffer.from(text)));
  return crv === "P-256" ? withLowS(signature) : signature;
}

/** A compact JWS of this key: header and payload as they are given, whatever they say. */
export async function seal(
  key: Jwk,
  header: object | string | Uint8Array,
  payload: object | string | Uint8Array,
): Promise<string> {
  const signed = `${segment(header)}.${segment(payload)}`;
  return `${signed}.${segment(await signatureOf(key, signed))}`;
}
