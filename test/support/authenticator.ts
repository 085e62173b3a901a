import { createHash, createSign, generateKeyPairSync, randomBytes, type KeyObject } from "node:crypto";

// A security key of software: what a browser answers when it makes and uses a passkey, and what it never would.

type Options = { challenge: string; rp?: { id?: string }; rpId?: string };
/** What may be other than it should be. */
export type Tampering = {
  origin?: string;
  rpId?: string;
  challenge?: string;
  counter?: number;
  isVerified?: boolean;
  isPresent?: boolean;
  type?: string;
  signedBy?: Passkey;
  crossOrigin?: boolean;
};

const sha256 = (data: Uint8Array | string) => createHash("sha256").update(data).digest();
const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");

/** CBOR (RFC 8949) of maps, texts, bytes and integers. */
function cbor(value: unknown): Buffer {
  const head = (major: number, n: number) =>
    n < 24
      ? Buffer.from([(major << 5) | n])
      : n < 256
        ? Buffer.from([(major << 5) | 24, n])
        : Buffer.from([(major << 5) | 25, n >> 8, n & 255]);
  if (typeof value === "number") return value >= 0 ? head(0, value) : head(1, -1 - value);
  if (typeof value === "string")
    return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value]);
  if (value instanceof Map)
    return Buffer.concat([head(5, value.size), ...[...value].flatMap(([key, of]) => [cbor(key), cbor(of)])]);
  throw new Error("no CBOR for this");
}

/** One passkey, made for one site. */
export class Passkey {
  readonly id = randomBytes(32);
  readonly #privateKey: KeyObject;
  readonly #cose: Buffer;
  #counter = 0;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#privateKey = privateKey;
    const { x = "", y = "" } = publicKey.export({ format: "jwk" });
    // COSE_Key (RFC 9052): EC2, ES256, P-256.
    this.#cose = cbor(
      new Map<number, unknown>([
        [1, 2],
        [3, -7],
        [-1, 1],
        [-2, Buffer.from(x, "base64url")],
        [-3, Buffer.from(y, "base64url")],
      ]),
    );
  }

  /** What the browser answers to creation options (RegistrationResponseJSON). */
  made(options: Options, at: string, tampering: Tampering = {}) {
    const credential = Buffer.concat([
      Buffer.alloc(16),
      Buffer.from([0, this.id.length]),
      this.id,
      this.#cose,
    ]);
    const authData = Buffer.concat([this.#head(options, 0x40, tampering), credential]);
    const attestation = new Map<string, unknown>([
      ["fmt", "none"],
      ["attStmt", new Map()],
      ["authData", authData],
    ]);
    return {
      id: base64url(this.id),
      rawId: base64url(this.id),
      type: "public-key",
      response: {
        clientDataJSON: base64url(clientData("webauthn.create", options, at, tampering)),
        attestationObject: base64url(cbor(attestation)),
        transports: ["internal"],
      },
      clientExtensionResults: {},
    };
  }

  /** What the browser answers to request options (AuthenticationResponseJSON). */
  signed(options: Options, at: string, tampering: Tampering = {}) {
    this.#counter = tampering.counter ?? this.#counter + 1;
    const authData = this.#head(options, 0, tampering);
    const client = clientData("webauthn.get", options, at, tampering);
    const signature = (tampering.signedBy ?? this).#sign(Buffer.concat([authData, sha256(client)]));
    return {
      id: base64url(this.id),
      rawId: base64url(this.id),
      type: "public-key",
      response: {
        clientDataJSON: base64url(client),
        authenticatorData: base64url(authData),
        signature: base64url(signature),
        userHandle: null,
      },
      clientExtensionResults: {},
    };
  }

  #sign = (data: Buffer) => createSign("sha256").update(data).sign(this.#privateKey);

  /** RP ID hash, flags and counter of the authenticator's data. */
  #head({ rp, rpId }: Options, more: number, tampering: Tampering): Buffer {
    const flags = (tampering.isPresent === false ? 0 : 1) | (tampering.isVerified === false ? 0 : 4) | more;
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(this.#counter);
    return Buffer.concat([sha256(tampering.rpId ?? rpId ?? rp?.id ?? ""), Buffer.from([flags]), counter]);
  }
}

const clientData = (type: string, { challenge }: Options, origin: string, tampering: Tampering) =>
  Buffer.from(
    JSON.stringify({
      type: tampering.type ?? type,
      challenge: tampering.challenge ?? challenge,
      origin: tampering.origin ?? origin,
      crossOrigin: tampering.crossOrigin ?? false,
    }),
  );
