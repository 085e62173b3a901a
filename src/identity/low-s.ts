/** The order of the group of P-256, and half of it, in 32 bytes. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const HALF = toBytes(ORDER >> 1n);
const S_AT = 32;

/** Whether an ES256 signature is the one of its two spellings, s and n − s, that this server makes. */
export const hasLowS = (signature: Buffer): boolean => signature.subarray(S_AT).compare(HALF) <= 0;

/** The same ES256 signature with the lower s: of the two that verify, WebCrypto makes either. */
export function withLowS(signature: Buffer): Buffer {
  if (hasLowS(signature)) return signature;
  const s = BigInt(`0x${signature.toString("hex", S_AT)}`);
  return Buffer.concat([signature.subarray(0, S_AT), toBytes(ORDER - s)]);
}

function toBytes(number: bigint): Buffer {
  return Buffer.from(number.toString(16).padStart(64, "0"), "hex");
}
