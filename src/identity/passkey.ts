import {
  generateAuthenticationOptions,
  generateRegistrationOptions,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type AuthenticationResponseJSON,
  type RegistrationResponseJSON,
} from "@simplewebauthn/server";
import { parse as parseUuid } from "uuid";
import { settings } from "../env.ts";
import { isPasskeyChallenge, passkeyChallenge, relyingParty } from "./challenge.ts";

// Loaded when a passkey is first made or used: it is a third of the Worker, and most requests need none of it.

const TIMEOUT_MS = 300_000;

type Known = { credential_id: string | null; transports: string[] | null };

/** What the browser is told to ask the person's passkeys; without any, those that it finds itself. */
export function requestOptions(challengeId: string, factors: readonly Known[] = []) {
  return generateAuthenticationOptions({
    rpID: relyingParty(),
    challenge: bytes(passkeyChallenge(challengeId)),
    allowCredentials: named(factors),
    timeout: TIMEOUT_MS,
    // Alone, a passkey stands for two factors: it is held, and its holder is verified.
    userVerification: factors.length === 0 ? "required" : "preferred",
  });
}

/** What the browser is told to make a passkey, for the factor of this id. */
export function creationOptions(of: {
  factorId: string;
  userId: string;
  email: string;
  name: string | null;
  factors: readonly Known[];
}) {
  return generateRegistrationOptions({
    rpName: settings.API_NAME,
    rpID: relyingParty(),
    userName: of.email,
    userDisplayName: of.name ?? of.email,
    userID: bytes(parseUuid(of.userId)),
    challenge: bytes(passkeyChallenge(of.factorId)),
    excludeCredentials: named(of.factors),
    timeout: TIMEOUT_MS,
    attestationType: "none",
    authenticatorSelection: { residentKey: "preferred", userVerification: "preferred" },
  });
}

/** The passkey that was made for the factor of this id; undefined when it was not, or elsewhere. */
export async function madePasskey(factorId: string, response: RegistrationResponseJSON) {
  const made = await verifyRegistrationResponse({
    response,
    expectedChallenge: (signed) => isPasskeyChallenge(factorId, signed),
    expectedOrigin: origins(),
    expectedRPID: relyingParty(),
    requireUserVerification: false,
  }).catch(() => undefined);
  if (!made?.verified) return undefined;
  const { id, publicKey, counter, transports } = made.registrationInfo.credential;
  return { id, publicKey, counter, transports: transports ?? [] };
}

/** The counter of a passkey that has signed the challenge of this id; undefined when it has not, or for another site. */
export async function usedPasskey(
  challengeId: string,
  response: AuthenticationResponseJSON,
  passkey: { credential_id: string; public_key: Uint8Array; counter: number },
  needsVerification: boolean,
): Promise<number | undefined> {
  const used = await verifyAuthenticationResponse({
    response,
    expectedChallenge: (signed) => isPasskeyChallenge(challengeId, signed),
    expectedOrigin: origins(),
    expectedRPID: relyingParty(),
    credential: {
      id: passkey.credential_id,
      publicKey: bytes(passkey.public_key),
      counter: passkey.counter,
    },
    requireUserVerification: needsVerification,
  }).catch(() => undefined);
  return used?.verified ? used.authenticationInfo.newCounter : undefined;
}

const named = (factors: readonly Known[]) =>
  factors.flatMap(({ credential_id: id, transports }) => (id ? [{ id, transports: transports ?? [] }] : []));

/** Where passkeys may be made and used: at the API's own origin, and at those of its front ends. */
function origins(): string[] {
  const own = new URL(settings.ISSUER);
  own.hostname = relyingParty();
  return [own.origin, ...settings.ALLOWED_ORIGINS];
}

/** In a buffer of its own, as the types of WebAuthn want it. */
const bytes = (of: Uint8Array) => new Uint8Array(of);
