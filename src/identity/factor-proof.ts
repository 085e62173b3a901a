import { createHash, randomBytes } from "node:crypto";
import type { SQL } from "drizzle-orm";
import * as v from "valibot";
import { USES } from "../db/accounts.ts";
import { FACTOR_TYPES } from "../db/control.ts";
import { TENANT_STATUSES } from "../tenant-states.ts";
import { openSecret, sealSecret } from "./sealed-secret.ts";
import { stepOf } from "./totp.ts";

const encoded = (most: number) => v.pipe(v.string(), v.regex(/^[\w-]+$/), v.maxLength(most));

/** What a browser answers when a passkey was made (RegistrationResponseJSON), as far as it is read. */
export const Registration = v.object({
  id: encoded(2048),
  rawId: encoded(2048),
  type: v.literal("public-key"),
  response: v.object({
    clientDataJSON: encoded(4096),
    attestationObject: encoded(16_384),
    transports: v.optional(v.pipe(v.array(v.pipe(v.string(), v.maxLength(32))), v.maxLength(10))),
  }),
  clientExtensionResults: v.optional(v.object({}), {}),
});
/** What a browser answers when a passkey has signed (AuthenticationResponseJSON), as far as it is read. */
export const Assertion = v.object({
  id: encoded(2048),
  rawId: encoded(2048),
  type: v.literal("public-key"),
  response: v.object({
    clientDataJSON: encoded(4096),
    authenticatorData: encoded(4096),
    signature: encoded(4096),
    userHandle: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(256)))),
  }),
  clientExtensionResults: v.optional(v.object({}), {}),
});
export type Assertion = v.InferOutput<typeof Assertion>;

export const Code = v.pipe(v.string(), v.maxLength(6), v.regex(/^\d{6}$/, "six digits"));
export const RecoveryCode = v.pipe(
  v.string(),
  v.maxLength(64),
  v.transform((code) => code.replaceAll(/[\s-]/g, "").toLowerCase()),
);
/** Proofs of a second factor. `response` is what a passkey has signed. */
export type Proof = {
  code?: string | undefined;
  recovery_code?: string | undefined;
  response?: Assertion | v.InferOutput<typeof Registration> | undefined;
};

const Factor = v.object({
  id: v.string(),
  type: v.picklist(FACTOR_TYPES),
  name: v.string(),
  is_confirmed: v.boolean(),
  secret: v.nullable(v.string()),
  credential_id: v.nullable(v.string()),
  transports: v.nullable(v.array(v.string())),
  public_key: v.nullable(v.string()),
  counter: v.nullable(v.number()),
});
type Factor = v.InferOutput<typeof Factor>;
const Held = {
  user_id: v.string(),
  email: v.string(),
  name: v.nullable(v.string()),
  locale: v.nullable(v.string()),
  is_locked: v.nullable(v.boolean()),
  has_codes: v.boolean(),
  factors: v.array(Factor),
};
/** An account, as far as its factors are checked by it. */
export const Account = v.object(Held);
export type Account = v.InferOutput<typeof Account>;
/** The same of whoever a challenge asks, and of what for. */
export const Asked = v.object({
  ...Held,
  tenant_id: v.string(),
  amr: v.array(v.string()),
  /** The tenant's status, where the member cannot sign in to it. */
  closed: v.nullable(v.picklist(TENANT_STATUSES)),
});

const RECOVERY_CODES = 10;
const RECOVERY_BYTES = 10;
const recoveryHash = (code: string) => createHash("sha256").update(code).digest();

/** Ten codes of 80 bits, in groups of four: what is shown once, and the hashes that are kept. */
export function newRecoveryCodes(): { codes: string[]; hashes: Uint8Array[] } {
  const codes = Array.from({ length: RECOVERY_CODES }, () => randomBytes(RECOVERY_BYTES).toString("hex"));
  return {
    codes: codes.map((code) => code.replaceAll(/.{4}(?=.)/g, "$&-")),
    hashes: codes.map(recoveryHash),
  };
}
/** Where there are codes already. */
export const NO_CODES = { codes: undefined, hashes: [] as Uint8Array[] };

/** A factor that was proved: the statement that uses it up, so that nobody uses it again, and how it is called in `amr`. */
type Proved = { use: SQL; amr: "otp" | "hwk"; by: "totp" | "passkey" | "recovery_code" };

/** Whether the proof is one of the user's factors; undefined when it is not. `challengeId` is what a passkey has signed. */
export async function prove(
  { user_id: userId, factors }: Account,
  proof: Proof,
  challengeId: string | undefined,
): Promise<Proved | undefined> {
  const confirmed = factors.filter(({ is_confirmed }) => is_confirmed);
  if (proof.code !== undefined) {
    for (const { id, secret } of confirmed) {
      const known = secret && openSecret(userId, secret);
      const step = known ? stepOf(known.secret, proof.code, Date.now()) : undefined;
      if (!secret || !known || step === undefined) continue;
      const kept = known.isStale ? sealSecret(userId, known.secret) : secret;
      return { use: USES.totp(id, step, kept), amr: "otp", by: "totp" };
    }
    return undefined;
  }
  if (proof.recovery_code !== undefined) {
    const hash = recoveryHash(proof.recovery_code);
    return { use: USES.recoveryCode(userId, hash), amr: "otp", by: "recovery_code" };
  }
  const { response } = proof;
  if (!response || !v.is(Assertion, response) || !challengeId) return undefined;
  const passkey = confirmed.find(({ credential_id }) => credential_id === response.id);
  return passkey && proveByPasskey(passkey, response, challengeId, false);
}

/** Whether the passkey has signed the challenge of this id; alone, it also has to verify its holder. */
export async function proveByPasskey(
  passkey: Pick<Factor, "id" | "credential_id" | "public_key" | "counter">,
  response: Assertion,
  challengeId: string,
  isAlone: boolean,
): Promise<Proved | undefined> {
  const { id, credential_id, public_key, counter } = passkey;
  if (!credential_id || !public_key || counter === null) return undefined;
  const { usedPasskey } = await import("./passkey.ts");
  const known = { credential_id, public_key: Buffer.from(public_key, "hex"), counter };
  const used = await usedPasskey(challengeId, asJson(response), known, isAlone);
  return used === undefined ? undefined : { use: USES.passkey(id, used), amr: "hwk", by: "passkey" };
}

/** As the types of WebAuthn have it: without members that are undefined. */
const asJson = (response: object) => JSON.parse(JSON.stringify(response)) as never;

/** Whether a factor that is being added was proved; undefined when it was not. */
export async function proveNew(userId: string, factor: Factor, proof: Proof): Promise<SQL | undefined> {
  if (factor.type === "totp") {
    const step =
      proof.code === undefined || !factor.secret
        ? undefined
        : stepOf(openSecret(userId, factor.secret).secret, proof.code, Date.now());
    return step === undefined ? undefined : USES.newTotp(factor.id, step);
  }
  if (!proof.response || !v.is(Registration, proof.response)) return undefined;
  const { madePasskey } = await import("./passkey.ts");
  const made = await madePasskey(factor.id, asJson(proof.response));
  return made && USES.newPasskey(factor.id, made);
}
