import { settings } from "../env.ts";
import { TOTP_PERIOD_S, totpOf } from "./peppered.ts";

/** Steps by which a clock may be off, either way. */
const DRIFT = 1;

/** What an authenticator app is told: the secret in base32, and as a URI for its camera, with the account's label. */
export function totpSetup(label: string, secret: Uint8Array): { secret: string; uri: string } {
  const totp = totpOf(secret, settings.API_NAME, label);
  return { secret: totp.secret.base32, uri: totp.toString() };
}

/** The time step of a code (RFC 6238) that is good at `now`, in ms; undefined when it is not. A step is used once: see last_step. */
export function stepOf(secret: Uint8Array, code: string, now: number): number | undefined {
  const delta = totpOf(secret, settings.API_NAME).validate({ token: code, timestamp: now, window: DRIFT });
  return delta === null ? undefined : Math.floor(now / 1000 / TOTP_PERIOD_S) + delta;
}
