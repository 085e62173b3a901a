import crypto, { createCipheriv, createHmac, randomBytes } from "node:crypto";
import { Secret, TOTP } from "otpauth";

// How passwords are hashed and second factors sealed. Without this deployment's settings, so that the command line can make an
// operator too.

/** A secret that passwords are hashed with, at this cost, and second factors sealed. */
export type Pepper = { kid: string; key: Uint8Array; cost: number };

/** OWASP's figures for scrypt, where N is 2^14: about 140 ms of CPU and 16 MiB. */
const [BLOCK_SIZE, PARALLELIZATION] = [8, 5];
/** The first pepper's name. Its hashes do not say it. */
const ORIGINAL = "original";

/** The hash of an account's password by this pepper: 32 bytes in base64url behind its parameters. */
export function hashWith({ kid, key, cost }: Pepper, account: string, password: string): Promise<string> {
  const salt = createHmac("sha256", key).update(account).digest();
  const N = 2 ** cost;
  const options = { N, r: BLOCK_SIZE, p: PARALLELIZATION };
  return new Promise((resolve, reject) => {
    crypto.scrypt(password.normalize("NFKC"), salt, 32, options, (error, hash) => {
      if (error) reject(error);
      else {
        const of = kid === ORIGINAL ? "" : `${kid}$`;
        resolve(`scrypt$${N}$${BLOCK_SIZE}$${PARALLELIZATION}$${of}${hash.toString("base64url")}`);
      }
    });
  });
}

/** The account that an operator's password is hashed for: apart from a tenant's person with the same address. */
export const operatorAccount = (email: string): string => `operator ${email}`;

const IV_BYTES = 12;

/** A person's secret as the database keeps it: AES-256-GCM, by a key that follows from this pepper, for this person alone. */
export function sealWith(pepper: Pepper, id: string, secret: Uint8Array): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", sealingKey(pepper), iv).setAAD(Buffer.from(id));
  const sealed = Buffer.concat([iv, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
  return `${pepper.kid}.${sealed.toString("base64url")}`;
}

export const sealingKey = ({ key }: Pepper) => createHmac("sha256", key).update("second factor").digest();

const SECRET_BYTES = 20;
export const TOTP_PERIOD_S = 30;

export const newTotpSecret = (): Buffer => randomBytes(SECRET_BYTES);

/** The one-time codes of a secret (RFC 6238), by the names that an authenticator app shows. */
export const totpOf = (secret: Uint8Array, issuer: string, label = "") =>
  new TOTP({
    issuer,
    label,
    algorithm: "SHA1",
    digits: 6,
    period: TOTP_PERIOD_S,
    secret: new Secret({ buffer: new Uint8Array(secret).buffer }),
  });
