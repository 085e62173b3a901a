import { randomBytes } from "node:crypto";
import { Secret, TOTP } from "otpauth";
import { settings } from "../env.ts";

const SECRET_BYTES = 20;
const PERIOD_S = 30;
/** Steps by which a clock may be off, either way. */
const DRIFT = 1;

export const newTotpSecret = (): Buffer => randomBytes(SECRET_BYTES);

/** What an authenticator app is told: the secret in base32, and as a URI for its camera, with the account's label. */
export function totpSetup(label: string, secret: Uint8Array): { secret: string; uri: string } {
  const totp = totpOf(secret, label);
  return { secret: totp.secret.base32, uri: totp.toString() };
}

/** The time step of a code (RFC 6238) that is good at `now`, in ms; undefined when it is not. A step is used once: see last_step. */
export function stepOf(secret: Uint8Array, code: string, now: number): number | undefined {
  const delta = totpOf(secret).validate({ token: code, timestamp: now, window: DRIFT });
  return delta === null ? undefined : Math.floor(now / 1000 / PERIOD_S) + delta;
}

const totpOf = (secret: Uint8Array, label = "") =>
  new TOTP({
    issuer: settings.API_NAME,
    label,
    algorithm: "SHA1",
    digits: 6,
    period: PERIOD_S,
    secret: new Secret({ buffer: new Uint8Array(secret).buffer }),
  });
