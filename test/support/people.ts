import { Secret, TOTP } from "otpauth";
import { afterEach, beforeEach, vi } from "vitest";
import type { Session } from "../../src/identity/session.ts";
import { Passkey } from "./authenticator.ts";
import { answered, PASSWORD, request, signedUp, stage, type SignedIn } from "./client.ts";
import { mailsTo } from "./mails.ts";

// People with accounts of their own: what they send, what they are mailed, and their second factors.

type Options = { challenge: string; rp?: { id: string }; rpId?: string };
export type Setup = { id: string; secret: string; options: Options };
export type Needed = { code: string; challenge: string; methods: string[]; options: Options };
type Codes = { recovery_codes?: string[] };

export const ORIGIN = "https://api.partywall.test";
export const OTHER = "another long enough one";

export const someone = () => `${crypto.randomUUID()}@mailbox.test`;
export const newSlug = () => `t-${crypto.randomUUID().slice(0, 13)}`;
export const post = (path: string, body: unknown, token?: string) => request("POST", path, { body, token });
export const status = async (response: Response | Promise<Response>) => (await response).status;

/** Somebody who has signed up with PASSWORD and shown that the mailbox is theirs. */
export async function verified(): Promise<SignedIn> {
  const person = await signedUp();
  await stage`update control.users set email_verified_at = now() where id = ${person.user.id}`;
  return person;
}

/** The newest token of this prefix that the mailbox got, once there is one that is not `before`. */
export async function mailed(email: string, prefix: string, before?: string): Promise<string> {
  const pattern = new RegExp(`${prefix}_[\\w-]+`, "g");
  for (let least = 0; ; least++) {
    const mails = await mailsTo(email, least);
    const token = mails.flatMap(({ body }) => body.text.match(pattern) ?? []).at(-1);
    if (token && token !== before) return token;
    least = mails.length;
  }
}

/** Stops the clock for each test of a file: a code is good in one time step, and a test may begin at the end of one. */
export function stopClock(): void {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
  afterEach(() => void vi.useRealTimers());
}

export const signsIn = (email: string, password = PASSWORD, tenant?: string) =>
  post("/v1/sessions", { email, password, tenant });
/** The challenge that somebody with a second factor is answered. */
export const asked = (email: string, password = PASSWORD, tenant?: string) =>
  answered<Needed>(401, signsIn(email, password, tenant));
export const proveBy = (challenge: string, proof: object) =>
  post("/v1/sessions/factor", { challenge, ...proof });
export const stepUp = (token: string, proof: object) => post("/v1/sessions/current/step-up", proof, token);
export const forPasskey = () => answered<Needed>(201, post("/v1/passkey-challenges", {}));

/** The code of a step from now; each is used once, so tests go on in time. */
export const codeOf = (secret: string, step = 0) =>
  new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + step * 30_000 });
/** A code that is none of those that are good around now. */
export const wrongCode = (secret: string) => {
  const good = new Set([-2, -1, 0, 1, 2].map((step) => codeOf(secret, step)));
  return ["000000", "111111", "222222", "333333", "444444", "555555"].find((code) => !good.has(code)) ?? "";
};

export const beginTotp = (token: string) =>
  answered<Setup>(201, post("/v1/me/factors", { type: "totp", name: "Phone" }, token));
export const beginPasskey = (token: string) =>
  answered<Setup>(201, post("/v1/me/factors", { type: "passkey", name: "Laptop" }, token));
export const confirm = (id: string, proof: object, token: string) =>
  post(`/v1/me/factors/${id}/confirm`, proof, token);

export async function addTotp(token: string) {
  const setup = await beginTotp(token);
  const done = await answered<Codes>(200, confirm(setup.id, { code: codeOf(setup.secret, -1) }, token));
  return { ...setup, codes: done.recovery_codes ?? [] };
}

export async function addPasskey(token: string, passkey = new Passkey()) {
  const setup = await beginPasskey(token);
  const response = passkey.made(setup.options, ORIGIN);
  const done = await answered<Codes>(200, confirm(setup.id, { response }, token));
  return { ...setup, passkey, codes: done.recovery_codes ?? [] };
}

/** The same session, whose proof is of a while ago: its access token now. */
export async function aWhileLater(of: SignedIn): Promise<string> {
  await stage`update control.sessions set auth_at = now() - interval '11 minutes' where id = ${of.session.id}`;
  const { refresh_token } = of;
  const session = await answered<Session>(200, post("/v1/sessions/refresh", { refresh_token }));
  of.refresh_token = session.refresh_token;
  return session.access_token;
}

/** All that the database holds of an account, to see that nothing has changed. */
export async function kept(userId: string) {
  const [users, links, factors, codes, sessions, members] = await Promise.all([
    stage`select email, password_hash, email_verified_at, name, locale from control.users where id = ${userId}`,
    stage`select id, kind, email, data from control.mailed_links where user_id = ${userId} order by id`,
    stage`select id, name, confirmed_at, credential_id, counter from control.factors where user_id = ${userId} order by id`,
    stage`select hash from control.recovery_codes where user_id = ${userId} order by hash`,
    stage`select id, revoked_at, auth_at, amr from control.sessions where user_id = ${userId} order by id`,
    stage`select tenant_id, role from control.memberships where user_id = ${userId} order by tenant_id`,
  ]);
  return { users, links, factors, codes, sessions, members };
}
