import { afterEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { answered, newTenant, PASSWORD, request, signedUp, stage, type SignedIn } from "./support/client.ts";
import {
  addTotp,
  asked,
  beginTotp,
  codeOf,
  confirm,
  mailed,
  newSlug,
  OTHER,
  post,
  proveBy,
  someone,
  status,
  stepUp,
  stopClock,
  verified,
} from "./support/people.ts";

// Two things that are done to one account at the same time. Each takes locks of its own: none may wait for the other for ever,
// and none may find half of what the other does.

stopClock();
const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

/** Somebody with an authenticator app and its recovery codes. */
async function person() {
  const ada = await verified();
  return { ada, ...(await addTotp(ada.token)) };
}
type Person = Awaited<ReturnType<typeof person>>;
const emailOf = ({ ada }: Person) => ada.user.email;

/** Sign-ups of this mailbox that wait for their confirmation, each with a tenant of its own. */
async function waiting(email: string, many: number, password = PASSWORD): Promise<string[]> {
  settings.SIGN_UP = "verify_first";
  const tokens: string[] = [];
  for (let n = 0; n < many; n++) {
    const slug = newSlug();
    await answered(202, post("/v1/signup", { email, password, tenant: { name: slug, slug } }));
    tokens.push(await mailed(email, "pws", tokens.at(-1)));
  }
  settings.SIGN_UP = "immediate";
  return tokens;
}

async function invited(email: string): Promise<string> {
  const host = await newTenant();
  await answered(201, post("/v1/invitations", { email, role: "viewer" }, host.token));
  return mailed(email, "pwi");
}

/** What is done: all that it needs is made ready first, and what is returned does it. */
const ACTS: Record<string, (of: Person) => Promise<() => Promise<Response>>> = {
  "a sign-in by recovery code": async (of) => {
    const { challenge } = await asked(emailOf(of));
    return () => proveBy(challenge, { recovery_code: of.codes[0] });
  },
  "a step-up by recovery code":
    async ({ ada, codes }) =>
    () =>
      stepUp(ada.token, { recovery_code: codes[0] }),
  "other recovery codes":
    async ({ ada }) =>
    () =>
      request("POST", "/v1/me/recovery-codes", { token: ada.token }),
  "another factor": async ({ ada }) => {
    const { id, secret } = await beginTotp(ada.token);
    return () => confirm(id, { code: codeOf(secret) }, ada.token);
  },
  "the end of a factor":
    async ({ ada, id }) =>
    () =>
      request("DELETE", `/v1/me/factors/${id}`, { token: ada.token }),
  "an accepted invitation with a password": async (of) => {
    const token = await invited(emailOf(of));
    return () => post("/v1/invitations/accept", { token, password: OTHER });
  },
  "a changed address": async ({ ada }) => {
    const email = someone();
    await answered(202, post("/v1/me/email", { email, password: PASSWORD }, ada.token));
    const token = await mailed(email, "pwe");
    return () => post("/v1/email-changes/confirm", { token });
  },
  "a confirmed address": async (of) => {
    await stage`update control.users set email_verified_at = null where id = ${of.ada.user.id}`;
    const before = await mailed(emailOf(of), "pwv");
    await answered(202, request("POST", "/v1/email-verifications", { token: of.ada.token }));
    const token = await mailed(emailOf(of), "pwv", before);
    return () => post("/v1/email-verifications/confirm", { token, password: PASSWORD });
  },
  "a reset": async (of) => {
    await answered(202, post("/v1/password-resets", { email: emailOf(of) }));
    const token = await mailed(emailOf(of), "pwp");
    return () => post("/v1/password-resets/confirm", { token, password: OTHER });
  },
  "a confirmed sign-up": async (of) => {
    const [token = ""] = await waiting(emailOf(of), 1);
    return () => signUpBy(token);
  },
  "the end of all sessions":
    async ({ ada }) =>
    () =>
      request("DELETE", "/v1/sessions", { token: ada.token }),
};
const signUpBy = (token: string, password = PASSWORD) =>
  post("/v1/email-verifications/confirm", { token, password });
const acts = Object.entries(ACTS);
/** Each with each that follows it, and with itself. */
const PAIRS = acts.flatMap(([one, first], n) =>
  acts.slice(n).map(([other, second]) => [one, other, first, second] as const),
);

/** How many of what there is one of, or ten, are there afterwards. */
async function census({ ada }: Person) {
  const [row] = await stage`select
    (select count(*) from control.recovery_codes where user_id = ${ada.user.id})::int as codes,
    (select count(*) from control.users where email = ${ada.user.email})::int as users,
    (select count(*) from control.factors where user_id = ${ada.user.id} and confirmed_at is not null)::int as factors`;
  return row as { codes: number; users: number; factors: number };
}

describe("two at once for one account", () => {
  it.each(acts)("%s is done, where it is alone", async (_, ready) => {
    const act = await ready(await person());
    const response = await act();
    // Whoever has a second factor is asked for it where they are let in by something else.
    if (response.status === 401)
      expect(await response.json()).toMatchObject({ code: "second_factor_required" });
    else expect(response.status).toBeLessThan(300);
  });

  it.each(PAIRS)("%s and %s: both are answered, and neither is half-done", async (_, __, first, second) => {
    const ada = await person();
    const [one, other] = [await first(ada), await second(ada)];
    const both = await Promise.all([one(), other()].map(status));
    expect(both.every((code) => code < 500)).toBe(true);
    const { codes, users, factors } = await census(ada);
    expect([0, 9, 10]).toContain(codes);
    expect(codes === 0).toBe(factors === 0);
    expect(users).toBeLessThanOrEqual(1);
  });
});

/** An advisory lock that says how far another transaction is. */
const HELD = 20_260_102;

/** Has a transaction lock these rows of somebody's, wait until another one waits for it, and go on. Returns when they are locked. */
async function holdUntilAwaited(setting: string, locking: string, id: string, then: string) {
  const done = stage.transaction([
    stage.query(`set local ${setting}`),
    stage.query(locking, [id]),
    stage`select pg_advisory_xact_lock(${HELD})`,
    stage`do $$ begin
      while not exists (select from pg_locks where not granted and locktype = 'transactionid'
        and transactionid::text = pg_current_xact_id()::text) loop perform pg_sleep(0.01); end loop;
    end $$`,
    stage.query(then, [id]),
  ]);
  await expect
    .poll(() => stage`select from pg_locks where locktype = 'advisory' and objid = ${HELD}`, { interval: 20 })
    .toHaveLength(1);
  return { done };
}

// Whoever holds something else while they wait for the person is waited for by whoever has the person: a deadlock.
describe("the person is what a change of an account waits for first", () => {
  const OF_A_PERSON = ["mailed_links", "recovery_codes", "sessions", "factors"];
  const rows = (clause: string) =>
    OF_A_PERSON.map(
      (table) => `(select count(*) from (select from control.${table} where user_id = $1 ${clause}) held)`,
    );

  it.each(acts)("%s", async (_, ready) => {
    const ada = await person();
    const act = await ready(ada);
    const { id } = ada.ada.user;
    const { done } = await holdUntilAwaited(
      "statement_timeout = '20s'",
      "select from control.users where id = $1 for update",
      id,
      `select ${rows("").join(" + ")} as all, ${rows("for update skip locked").join(" + ")} as free`,
    );
    const [answer, held] = await Promise.all([act(), done]);
    expect(answer.status).toBeLessThan(500);
    const [{ all, free }] = held.at(-1) as [{ all: string; free: string }];
    expect(free).toBe(all);
  });
});

describe("what Postgres ends for a deadlock", () => {
  /** Locks the first, waits until somebody waits for that, and then wants the second: the other one is ended. */
  const cross = (first: string, second: string, id: string) =>
    holdUntilAwaited(
      "deadlock_timeout = '1min'",
      `select from control.${first} for update`,
      id,
      `select from control.${second} for update`,
    );

  it("is done again: a step-up", async () => {
    const { ada, secret } = await person();
    const { done } = await cross(
      "sessions where id = (select id from control.sessions where user_id = $1 limit 1)",
      "users where id = $1",
      ada.user.id,
    );
    expect(await status(stepUp(ada.token, { code: codeOf(secret) }))).toBe(200);
    await done;
  });

  it("is done again: a change in a tenant's context", async () => {
    const { ada } = await person();
    const { done } = await cross(
      "users where id = $1",
      "outbox_heads where tenant_id = (select tenant_id from control.memberships where user_id = $1)",
      ada.user.id,
    );
    await answered(204, request("DELETE", "/v1/sessions", { token: ada.token }));
    await done;
    expect(await status(request("GET", "/v1/me", { token: ada.token }))).toBe(401);
  });
});

describe("several for one mailbox", () => {
  it("sign-ups that are confirmed at once make one account with all their tenants", async () => {
    const email = someone();
    const tokens = await waiting(email, 2);
    expect(await Promise.all(tokens.map((token) => status(signUpBy(token))))).toEqual([204, 204]);
    const made = await stage`select u.id, count(*)::int as tenants from control.users u
      join control.memberships m on m.user_id = u.id where u.email = ${email} group by u.id`;
    expect(made).toMatchObject([{ tenants: 2 }]);
  });

  it("one sign-up that is confirmed four times at once makes one tenant", async () => {
    const email = someone();
    const [token = ""] = await waiting(email, 1);
    const statuses = await Promise.all([1, 2, 3, 4].map(() => status(signUpBy(token))));
    expect(statuses.toSorted((one, other) => one - other)).toEqual([204, 410, 410, 410]);
  });

  it("a confirmation and a reset of an account that nobody confirmed leave one of them in force", async () => {
    for (let n = 0; n < 8; n++) {
      const squatter: SignedIn = await signedUp();
      const { email } = squatter.user;
      await answered(202, post("/v1/password-resets", { email }));
      const reset = await mailed(email, "pwp");
      const link = await mailed(email, "pwv");
      const [confirmed, taken] = await Promise.all([
        status(post("/v1/email-verifications/confirm", { token: link })),
        status(post("/v1/password-resets/confirm", { token: reset, password: OTHER })),
      ]);
      expect(taken).toBe(204);
      expect([204, 410]).toContain(confirmed);
      const holder =
        await stage`select id, email_verified_at is not null as is_verified from control.users where email = ${email}`;
      // Confirmed first, it is that account with another password; else the address is a new account's.
      expect(holder).toMatchObject([{ is_verified: true }]);
      expect(holder[0]?.["id"] === squatter.user.id).toBe(confirmed === 204);
    }
  });
});
