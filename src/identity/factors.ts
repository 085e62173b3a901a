import { sql } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { SignedIn } from "../caller.ts";
import * as accounts from "../db/accounts.ts";
import { ACCOUNT, provenNow, WHO, type From } from "../db/across-tenants.ts";
import { violatedConstraint } from "../db/client.ts";
import { FACTOR_TYPES } from "../db/control.ts";
import { announce } from "../mail/mail.ts";
import { Problem } from "../problem.ts";
import { labelOf } from "./account.ts";
import { notOwn, selfOf } from "./accounts.ts";
import { challengeToken, readChallenge } from "./challenge.ts";
import {
  Account,
  Asked,
  newRecoveryCodes,
  NO_CODES,
  prove,
  proveByPasskey,
  proveNew,
  type Assertion,
  type Proof,
} from "./factor-proof.ts";
import { hashesOf } from "./password.ts";
import { twinToken } from "./refresh-token.ts";
import { closedFor, refused } from "./refused.ts";
import { sealSecret } from "./sealed-secret.ts";
import { enter, Member, sessionOf, type Grant, type Session } from "./session.ts";
import { newTotpSecret } from "./peppered.ts";
import { totpSetup } from "./totp.ts";

export const FactorName = v.pipe(v.string(), v.nonEmpty(), v.maxLength(100));
export const NewFactor = v.strictObject({ type: v.picklist(FACTOR_TYPES), name: FactorName });
type NewFactor = v.InferOutput<typeof NewFactor>;

/** A factor as it is shown. */
export const ShownFactor = v.object({
  id: v.string(),
  type: v.picklist(FACTOR_TYPES),
  name: v.string(),
  created_at: v.string(),
  last_used_at: v.nullable(v.string()),
});

/** What whoever adds a factor is told. */
export const FactorSetup = v.object({
  id: v.string(),
  type: NewFactor.entries.type,
  name: v.string(),
  secret: v.optional(v.string()),
  uri: v.optional(v.string()),
  options: v.optional(v.record(v.string(), v.unknown())),
});

const WRONG_FACTOR = "The challenge is not good any more, or this is no proof of it.";

/**
 * Starts the session that a challenge stands for, now that its second factor was proved, or enrolled. Undefined when it was
 * not, or the challenge is over. Throws `too_many_attempts` while too many proofs were wrong, and the problem of a tenant that
 * cannot be entered.
 */
export async function signInByFactor(
  challenge: string,
  proof: Proof,
  from: From,
): Promise<{ grant: Grant; recoveryCodes: string[] | undefined } | undefined> {
  const id = readChallenge(challenge);
  const [asked] = id ? v.parse(v.array(Asked), await accounts.takeAttempt(id, true)) : [];
  if (!id || !asked) return undefined;
  if (asked.closed) throw closedFor(asked.closed);
  refuseLocked(asked);
  const isEnrolling = !asked.factors.some(({ is_confirmed }) => is_confirmed);
  const enrolled = isEnrolling ? await enrol(asked, proof) : undefined;
  const proved = isEnrolling ? enrolled?.proved : await prove(asked, proof, id);
  const codes = enrolled && !asked.has_codes ? newRecoveryCodes() : NO_CODES;
  const grant =
    proved &&
    (await unlessTaken(
      enter(WHO.isAsked(asked), {
        from,
        proven: provenNow(...asked.amr, proved.amr, "mfa"),
        only: accounts.answering(id, proved.use, accounts.mayEnter(asked), codes.hashes),
      }),
    ));
  if (!grant) return undefined;
  if (enrolled) tellOf(asked, `${enrolled.type}_added`);
  if (proved.by === "recovery_code") tellOf(asked, "recovery_code_used");
  return { grant, recoveryCodes: codes.codes };
}

/** The outcome; undefined when a passkey that is to be added is an account's already. */
const unlessTaken = <T>(added: Promise<T>): Promise<T | undefined> =>
  added.catch((error: unknown) => {
    if (violatedConstraint(error) === "factors_credential") return undefined;
    throw error;
  });

/** The factor that is being added by this proof. */
async function enrol(account: Account, proof: Proof) {
  const type = proof.code === undefined ? "passkey" : "totp";
  const factor = account.factors.find((pending) => !pending.is_confirmed && pending.type === type);
  const use = factor && (await proveNew(account.user_id, factor, proof));
  const amr = type === "totp" ? "otp" : "hwk";
  return use && ({ type, proved: { use, amr, by: type } } as const);
}

function refuseLocked({ is_locked: isLocked }: Account): void {
  if (!isLocked) return;
  throw new Problem("too_many_attempts", {
    detail: "Too many second factors were wrong. Another is heard a quarter of an hour after the last.",
    headers: { "retry-after": "900" },
  });
}

type Change = Parameters<typeof announce<"factorChanged">>[1]["what"];
const tellOf = ({ email, locale }: Pick<Account, "email" | "locale">, what: Change) =>
  announce("factorChanged", { email, what }, locale);

/** A challenge for any passkey, of whoever it is. */
export async function askPasskey() {
  const id = crypto.randomUUID();
  await accounts.keepPasskeyChallenge(id);
  const { requestOptions } = await import("./passkey.ts");
  return { challenge: challengeToken(id), options: await requestOptions(id) };
}

const Found = v.object({
  id: v.string(),
  user_id: v.string(),
  credential_id: v.string(),
  public_key: v.string(),
  counter: v.pipe(v.union([v.string(), v.number()]), v.transform(Number)),
});

/** Starts a session by a passkey alone, if it has verified its holder. Undefined when the proof is none. Throws as signIn(). */
export async function signInByPasskey(
  challenge: string,
  response: Assertion,
  of: { slug: string | undefined; isHost: boolean; from: From },
): Promise<Grant | undefined> {
  const id = readChallenge(challenge);
  const [passkey] = id ? v.parse(v.array(Found), await accounts.findPasskey(id, response.id)) : [];
  const proved = id && passkey && (await proveByPasskey(passkey, response, id, true));
  if (!proved) return undefined;
  const slug = of.slug ?? null;
  return enter(WHO.holdsPasskey({ user_id: passkey.user_id, slug }), {
    from: of.from,
    proven: provenNow("hwk", "user", "mfa"),
    host: of.isHost ? slug : null,
    only: accounts.answering(id, proved.use, sql`true`),
    account: ACCOUNT.holdsPasskey(passkey),
  });
}

/** What whoever adds a factor is told: an app's secret, or what the browser makes a passkey by. */
async function setup(account: Omit<Account, "has_codes" | "is_locked">, { type, name }: NewFactor) {
  const id = uuidv7();
  if (type === "totp") {
    const secret = newTotpSecret();
    const kept = { id, type, name, secret: sealSecret(account.user_id, secret) };
    return { kept, shown: { id, type, name, ...totpSetup(labelOf(account), secret) } };
  }
  const { creationOptions } = await import("./passkey.ts");
  const options = await creationOptions({
    factorId: id,
    userId: account.user_id,
    userName: labelOf(account),
    name: account.name,
    factors: account.factors,
  });
  return { kept: { id, type, name, secret: null }, shown: { id, type, name, options } };
}

/** The caller's account and its factors. Throws in a session that is not one's own. */
async function held(caller: SignedIn, find = accounts.findAccount): Promise<Account> {
  const [account] = v.parse(v.array(Account), await find(selfOf(caller)));
  if (!account) throw notOwn();
  return account;
}

/** Begins to add a factor to the caller's account. It counts once it is confirmed. Throws `too_many_factors`. */
export async function addFactor(caller: SignedIn, factor: NewFactor) {
  const { kept, shown } = await setup(await held(caller), factor);
  const rows = await accounts.keepFactor(selfOf(caller), kept);
  if (rows.length === 0) throw new Problem("too_many_factors");
  return shown;
}

/** The same for whoever has to have one to sign in, by a challenge that is for this alone; undefined when it is not good. */
export async function enrolFactor(challenge: string, factor: NewFactor) {
  const id = readChallenge(challenge);
  const [asked] = id ? v.parse(v.array(Asked), await accounts.takeAttempt(id, false)) : [];
  if (!asked || asked.factors.some(({ is_confirmed }) => is_confirmed)) return undefined;
  const { kept, shown } = await setup(asked, factor);
  await accounts.keepFactorOf(asked.user_id, kept);
  return shown;
}

const Confirmed = v.object({ are_kept: v.boolean() });

/** Confirms a factor of the caller's; with the first one there are recovery codes. Throws `not_found` and `wrong_factor`. */
export async function confirmFactor(caller: SignedIn, id: string, proof: Proof) {
  const account = await held(caller);
  const factor = account.factors.find((pending) => pending.id === id && !pending.is_confirmed);
  if (!factor) throw new Problem("not_found");
  const use = await proveNew(account.user_id, factor, proof);
  if (!use) throw new Problem("wrong_factor");
  const { codes, hashes } = newRecoveryCodes();
  const amr = factor.type === "totp" ? "otp" : "hwk";
  const done = await unlessTaken(accounts.confirmFactor(selfOf(caller), use, hashes, amr));
  if (!done) throw new Problem("wrong_factor");
  const [confirmed] = v.parse(v.array(Confirmed), done);
  if (!confirmed) throw new Problem("not_found");
  tellOf(account, `${factor.type}_added`);
  return confirmed.are_kept ? codes : undefined;
}

const Removed = v.tuple([
  v.object({
    is_there: v.boolean(),
    is_required: v.boolean(),
    type: v.nullable(v.picklist(FACTOR_TYPES)),
  }),
]);

/** Removes a factor of the caller's. Throws `not_found`, and `factor_required` when a tenant requires this last one. */
export async function removeFactor(caller: SignedIn, id: string): Promise<void> {
  const account = await held(caller);
  const [{ is_there, is_required, type }] = v.parse(Removed, await accounts.removeFactor(selfOf(caller), id));
  if (!is_there) throw new Problem("not_found");
  if (is_required) throw new Problem("factor_required");
  if (type) tellOf(account, `${type}_removed`);
}

/** Other recovery codes for the caller; those before are void. Throws `not_found` without a factor. */
export async function renewRecoveryCodes(caller: SignedIn): Promise<string[]> {
  const account = await held(caller);
  const { codes, hashes } = newRecoveryCodes();
  if ((await accounts.renewCodes(selfOf(caller), hashes)).length === 0) throw new Problem("not_found");
  tellOf(account, "recovery_codes_made");
  return codes;
}

const Renewed = v.object({ ...Member.entries, generation: v.number() });

/** What proves again who calls: the password, where there is no second factor. */
type StepUp = Proof & { password?: string | undefined; challenge?: string | undefined };

/**
 * Renews the proof of who calls, in the same session: undefined when it is none. Whoever has a second factor proves that one, and
 * hears `wrong_factor` of any password.
 * The refresh token in the answer is as good as the one that the client has.
 */
export async function stepUp(caller: SignedIn, proof: StepUp): Promise<Session | undefined> {
  const account = await held(
    caller,
    proof.password === undefined ? accounts.takeGuess : accounts.findAccount,
  );
  refuseLocked(account);
  if (proof.password !== undefined && account.factors.some(({ is_confirmed }) => is_confirmed))
    throw new Problem("wrong_factor", {
      detail: "This account has a second factor. Prove that one: the password is not enough.",
    });
  const twin = twinToken();
  const renew = async (by: Parameters<typeof accounts.renewProof>[1], ...amr: string[]) => {
    const of = { amr: [...new Set([...caller.amr, ...amr])], twinHash: twin.hash };
    const [renewed] = v.parse(v.array(Renewed), await accounts.renewProof(selfOf(caller), by, of));
    return renewed && sessionOf(renewed, twin.of(caller.sessionId, renewed.generation));
  };
  if (proof.password !== undefined)
    return renew({ hashes: await hashesOf(account.email, proof.password) }, "pwd");
  const challenge = proof.challenge === undefined ? undefined : readChallenge(proof.challenge);
  const proved = await prove(account, proof, challenge);
  const session = proved && (await renew({ use: proved.use, challenge }, proved.amr, "mfa"));
  if (session && proved?.by === "recovery_code") tellOf(account, "recovery_code_used");
  return session;
}

/** The problem of a challenge that is over, or of a proof that is none: which, it does not say. */
export const wrongFactor = () => refused(WRONG_FACTOR);
