import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { SignedIn } from "../caller.ts";
import * as accounts from "../db/accounts.ts";
import { violatedConstraint } from "../db/client.ts";
import { settings } from "../env.ts";
import { announce, mayMail, requireMail } from "../mail/mail.ts";
import { Problem } from "../problem.ts";
import { SIGNUP_PLAN } from "../product/plans.ts";
import { updateTenant } from "../tenant/stub.ts";
import { insufficientScope } from "./bearer.ts";
import { LINK_TTL_S, linkGone, makeLink, readLink, type MailedLink } from "./mailed-link.ts";
import { PREFIX } from "./sealing.ts";
import { checkPassword } from "./account.ts";
import { hashesOf, hashPassword } from "./password.ts";

// What a person does with their account: its address, its password, its end. It is of all their tenants, whose objects have
// confirmed each change before it is answered.

const Done = v.nullable(
  v.object({
    email: v.optional(v.string()),
    old: v.nullish(v.string()),
    heads: v.array(v.tuple([v.string(), v.number()])),
  }),
);

/** What a function of the database has done, once the objects of all the tenants know. Undefined when it did nothing. */
async function confirmed(done: unknown) {
  const known = v.parse(Done, done ?? null);
  if (!known) return undefined;
  await Promise.all(known.heads.map(([tenant, head]) => updateTenant(tenant, head)));
  return known;
}

/** The caller's account, for statements that ask whether the session is alive. */
export const selfOf = ({ id, sessionId }: SignedIn) => ({ userId: id, sessionId });

const Account = v.object({
  user_id: v.string(),
  email: v.string(),
  locale: v.nullable(v.string()),
  is_verified: v.boolean(),
});

/** The problem of a session that is no one's own: it was vouched for by a tenant's issuer, or has just ended. */
export const notOwn = () =>
  insufficientScope("This needs a session of your own: an identity provider's leads to no account.");

/** The caller's account. Throws `insufficient_scope` in a session that an issuer vouched for. */
export async function accountOfCaller(caller: SignedIn) {
  const [account] = v.parse(v.array(Account), await accounts.findAccount(selfOf(caller)));
  if (!account) throw notOwn();
  return account;
}

const Kept = v.tuple([
  v.object({ is_account: v.boolean(), is_unverified: v.boolean(), locale: v.nullable(v.string()) }),
]);

/**
 * Mails a link that sets a new password. Whether there is an account is for the mailbox alone to hear: the same is done, and
 * one mail sent, where there is none. Nothing is sent while the mailbox was sent several within a minute. Throws
 * `mail_not_set_up`.
 */
export async function askReset(email: string): Promise<void> {
  if (!(await mayMail(email))) return;
  const [reset, verification] = [makeLink("reset", email), makeLink("verification", email)];
  const kept = await accounts.keepReset(
    email,
    { ...reset, seconds: LINK_TTL_S.reset },
    { ...verification, seconds: LINK_TTL_S.verification },
  );
  const [{ is_account: isAccount, is_unverified: isUnverified, locale }] = v.parse(Kept, kept);
  if (!isAccount) announce("resetUnknown", { email }, locale);
  else if (isUnverified)
    announce("resetUnverified", { email, token: reset.token, verification: verification.token }, locale);
  else announce("reset", { email, token: reset.token }, locale);
}

/**
 * Sets the password of the address that the link was mailed to, and ends its sessions everywhere. An account that nobody has
 * shown to be that mailbox's keeps its tenants and loses the address: a new account has it. Throws `link_gone`.
 */
export async function resetPassword(token: string, password: string): Promise<void> {
  const link = readLink("reset", token);
  checkPassword(password, link.email);
  const hash = await hashPassword(link.email, password);
  const done = await accounts.resetPassword(link, hash, uuidv7()).catch((error: unknown) => {
    // Another account has shown meanwhile that the address is its own.
    if (violatedConstraint(error) === "users_email") return undefined;
    throw error;
  });
  if (!(await confirmed(done))) throw linkGone();
  announce("passwordChanged", { email: link.email });
}

/** Changes the caller's password, and ends all their other sessions. Undefined when the password before is another. */
export async function changePassword(
  caller: SignedIn,
  { email, locale }: { email: string; locale: string | null },
  of: { current_password: string; password: string },
): Promise<true | undefined> {
  checkPassword(of.password, email);
  const old = await hashesOf(email, of.current_password);
  const hash = await hashPassword(email, of.password);
  if (!(await confirmed(await accounts.changePassword(selfOf(caller), old, hash)))) return undefined;
  announce("passwordChanged", { email }, locale);
  return true;
}

/**
 * Mails the new address a link that makes it the caller's. An account without an address takes the password for its own.
 * Undefined when the password is another. Throws `too_many_attempts` and `mail_not_set_up`.
 */
export async function askEmailChange(
  caller: SignedIn,
  account: { email: string; locale: string | null },
  of: { email: string; password: string },
): Promise<true | undefined> {
  await requireMail(of.email, caller.id);
  const link = makeLink("email_change", of.email);
  const old = await hashesOf(account.email, of.password);
  const hash = await hashPassword(of.email, of.password);
  const kept = { ...link, seconds: LINK_TTL_S.email_change };
  if (!(await accounts.askEmailChange(selfOf(caller), old, kept, hash))) return undefined;
  announce("emailChange", { email: of.email, token: link.token }, account.locale);
  return true;
}

/** Rethrows the violation of an address that another account has shown to be its own as `email_taken`. */
function refuseTaken(error: unknown): never {
  if (violatedConstraint(error) === "users_email") throw new Problem("email_taken", { cause: error });
  throw error;
}

/**
 * Changes the address to the one that the link was mailed to, and tells the earlier one, with a link that undoes it. Throws
 * `link_gone` and `email_taken`.
 */
export async function changeEmail(token: string): Promise<void> {
  const link = readLink("email_change", token);
  const undo = makeLink("email_undo", "");
  const done = await accounts
    .changeEmail(link, { ...undo, seconds: LINK_TTL_S.email_undo })
    .catch(refuseTaken);
  const changed = await confirmed(done);
  if (!changed) throw linkGone();
  if (changed.old) announce("emailChanged", { email: changed.old, newEmail: link.email, token: undo.token });
}

/**
 * Brings the address back that the link was mailed to, with the password that it had; all sessions end. Throws `link_gone` and
 * `email_taken`.
 */
export async function undoEmailChange(token: string): Promise<void> {
  const link = readLink("email_undo", token);
  if (!(await confirmed(await accounts.undoEmailChange(link).catch(refuseTaken)))) throw linkGone();
}

/** What the address of an account ends with that has lost its own to whoever reads the mailbox (control.give_way()). */
const DISPLACED = "@displaced.invalid";

/**
 * Mails the caller the link that confirms their address, if it is not confirmed. Throws `no_address`, `too_many_attempts` and
 * `mail_not_set_up`.
 */
export async function askVerification(caller: SignedIn): Promise<void> {
  const { email, locale, is_verified: isVerified } = await accountOfCaller(caller);
  if (isVerified) return;
  if (email.endsWith(DISPLACED)) throw new Problem("no_address");
  await requireMail(email, caller.id);
  const link = makeLink("verification", email);
  const kept = await accounts.keepVerification(selfOf(caller), {
    ...link,
    seconds: LINK_TTL_S.verification,
  });
  if (kept.length > 0) announce("verification", { email, token: link.token }, locale);
}

const SignedUp = v.tuple([v.object({ is_account: v.boolean(), is_taken: v.boolean() })]);

/**
 * Keeps a sign-up, and mails the link that makes its tenant: the same is done whether or not the address has an account.
 * Throws `slug_taken` and `mail_not_set_up`. Nothing is sent while the mailbox was sent several within a minute.
 */
export async function askSignUp(of: {
  email: string;
  password: string;
  slug: string;
  name: string;
}): Promise<void> {
  const { email, slug, name } = of;
  checkPassword(of.password, email);
  const password = await hashPassword(email, of.password);
  if (!(await mayMail(email))) return;
  const link = makeLink("signup", email);
  const kept = await accounts.keepSignUp({ ...link, seconds: LINK_TTL_S.signup }, { slug, name, password });
  const [{ is_account: isAccount, is_taken: isTaken }] = v.parse(SignedUp, kept);
  if (isTaken) throw new Problem("slug_taken");
  announce(isAccount ? "signupTaken" : "signup", { email, tenant: name, token: link.token });
}

/** The mailbox to which a link was mailed that confirms it, or a sign-up. Throws `link_gone`. */
export const mailboxOf = (token: string): string => readConfirmation(token).email;

const readConfirmation = (token: string) => readLink(isSignUp(token) ? "signup" : "verification", token);
const isSignUp = (token: string) => token.startsWith(PREFIX.signup);

const Verified = v.array(v.object({ is_done: v.boolean() }));
const SignUpMade = v.array(v.object({ is_theirs: v.boolean(), done: v.unknown() }));

/**
 * Confirms an address, or makes the tenant of a sign-up, as the link says; undefined when the account's password is another
 * one, and the link stays good. Anybody may have signed up with this address: only whoever also knows the password chose it.
 * Throws `link_gone`, `slug_taken`, and `invalid_input` when a sign-up's password is missing.
 */
export async function confirmAddress(token: string, password: string | undefined): Promise<true | undefined> {
  const link = readConfirmation(token);
  const hashes = password === undefined ? undefined : await hashesOf(link.email, password);
  if (isSignUp(token)) return makeSignedUp(link, hashes);
  const [verified] = v.parse(Verified, await accounts.verifyEmail(link, hashes));
  if (!verified) throw linkGone();
  return verified.is_done || undefined;
}

async function makeSignedUp(
  link: MailedLink,
  hashes: readonly [string, ...string[]] | undefined,
): Promise<true | undefined> {
  if (!hashes)
    throw new Problem("invalid_input", {
      errors: [{ pointer: "/password", detail: "The password that the sign-up chose is missing." }],
    });
  const of = { userId: uuidv7(), tenantId: uuidv7(), plan: SIGNUP_PLAN, site: settings.SIGNUP_SITE };
  const make = () => accounts.makeSignedUp(link, hashes, of);
  const rows = await make().catch((error: unknown) => {
    const violated = violatedConstraint(error);
    if (violated === "tenants_slug") throw new Problem("slug_taken", { cause: error });
    // The address got its account in between: this time the tenant is added to that one.
    if (violated === "users_email") return make();
    throw error;
  });
  const [made] = v.parse(SignUpMade, rows);
  if (made && !made.is_theirs) return undefined;
  if (!(await confirmed(made?.done))) throw linkGone();
  return true;
}

const Ended = v.nullable(
  v.object({
    owned: v.optional(v.array(v.object({ id: v.string(), slug: v.string(), name: v.string() }))),
    heads: v.optional(v.array(v.tuple([v.string(), v.number()])), []),
  }),
);

/**
 * Ends the caller's account: they leave their tenants, and what they made there stays without a name. Throws
 * `owner_of_tenants`, with those of which they are the last owner.
 */
export async function endAccount(caller: SignedIn, requestId: string): Promise<void> {
  const done = v.parse(Ended, (await accounts.endAccount(selfOf(caller), requestId)) ?? null);
  if (!done) throw notOwn();
  if (done.owned) throw new Problem("owner_of_tenants", { tenants: done.owned });
  await Promise.all(done.heads.map(([tenant, head]) => updateTenant(tenant, head)));
}
