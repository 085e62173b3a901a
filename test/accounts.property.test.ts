import fc from "fast-check";
import { Secret, TOTP } from "otpauth";
import { afterAll, expect, it } from "vitest";
import { bindings, settings } from "../src/env.ts";
import type { Session } from "../src/identity/session.ts";
import { answered, operate, request, stage } from "./support/client.ts";
import { mailsTo } from "./support/mails.ts";

// People sign up with their own addresses and with others', confirm, forget, change and undo, add factors and recover, in any
// order, at once, and with answers that are lost. The model knows who reads which mailbox, and says which password, session and
// link works: after each step they all are tried, and none does that should not, or fails that should not.

const begun = settings.PASSWORD_PEPPERS;
// Not what is tried here: three mailboxes get a year's mail in a minute.
const guard = bindings.MAIL_GUARD;
bindings.MAIL_GUARD = { limit: async () => ({ success: true }) };
afterAll(() => {
  settings.PASSWORD_PEPPERS = begun;
  // The bindings are of all files that this Worker runs.
  bindings.MAIL_GUARD = guard;
});

const RUNS = Math.ceil(Number(process.env["PROPERTY_RUNS"] ?? 300) / 100);
const STEPS = 24;
const PASSWORDS = ["the first long password", "the second long password", "the third long password"];

type Account = {
  id: string;
  slug: string;
  /** Undefined for one that has given way, and has no address. */
  email: string | undefined;
  isVerified: boolean;
  /** Undefined: no password opens it. */
  password: string | undefined;
  hasFactor: boolean;
  codes: string[];
  /** Whether its tenant requires a factor. */
  isRequired: boolean;
};
type Held = { account: Account; access: string; refresh: string; isAlive: boolean };
type LinkKind = "verification" | "reset" | "email_change" | "email_undo";
type Link = {
  kind: LinkKind;
  token: string;
  account: Account;
  email: string;
  isGood: boolean;
  /** Of a change, the password at the new address; of an undo, that of the old one. */
  password: string | undefined;
  /** How many links and factors there were before it: an undo ends those that came later. */
  at: number;
};

const PREFIX: Record<LinkKind, string> = {
  verification: "pwv",
  reset: "pwp",
  email_change: "pwe",
  email_undo: "pwu",
};
const PATHS: Record<LinkKind, string> = {
  verification: "/v1/email-verifications/confirm",
  reset: "/v1/password-resets/confirm",
  email_change: "/v1/email-changes/confirm",
  email_undo: "/v1/email-changes/undo",
};

const post = (path: string, body: object, token?: string) => request("POST", path, { body, token });
const status = async (response: Promise<Response>) => (await response).status;
const pick = <T>(all: readonly T[], n: number): T | undefined => all[n % Math.max(1, all.length)];

const codeOf = (secret: string) => new TOTP({ secret: Secret.fromBase32(secret) }).generate();

class World {
  readonly emails = Array.from({ length: 3 }, () => `${crypto.randomUUID()}@property.test`);
  readonly accounts: Account[] = [];
  readonly sessions: Held[] = [];
  readonly links: Link[] = [];
  readonly #read = new Map<string, number>();
  #clock = 0;
  readonly factorsAt = new Map<Account, number>();

  tick = () => ++this.#clock;
  holder = (email: string) => this.accounts.find((account) => account.email === email);
  alive = () => this.sessions.filter(({ isAlive }) => isAlive);

  /** Waits for the next mail to this address, and keeps the links in it. */
  async mail(
    email: string,
    account: Account,
    found: Partial<Record<LinkKind, string | undefined>> = {},
  ): Promise<void> {
    const number = (this.#read.get(email) ?? 0) + 1;
    this.#read.set(email, number);
    const text = (await mailsTo(email, number))[number - 1]?.body.text ?? "";
    for (const kind of Object.keys(PREFIX) as LinkKind[]) {
      const token = new RegExp(`${PREFIX[kind]}_[\\w-]+`).exec(text)?.[0];
      if (!token) continue;
      if (kind !== "email_undo") this.void(account, kind);
      this.links.push({ kind, token, account, email, isGood: true, password: found[kind], at: this.tick() });
    }
  }

  void(account: Account, ...kinds: LinkKind[]): void {
    for (const link of this.links)
      if (link.account === account && kinds.includes(link.kind)) link.isGood = false;
  }

  endSessions(account: Account, but?: Held): void {
    for (const held of this.sessions) if (held.account === account && held !== but) held.isAlive = false;
  }

  /** Whoever has shown that the mailbox is theirs has the address. */
  giveWay(email: string, but?: Account): void {
    const holder = this.holder(email);
    if (!holder || holder === but || holder.isVerified) return;
    Object.assign(holder, { email: undefined, password: undefined });
    this.void(holder, "verification", "reset", "email_change", "email_undo");
  }

  newAccount(of: Pick<Account, "id" | "slug" | "email" | "isVerified" | "password">): Account {
    const account = { ...of, hasFactor: false, codes: [], isRequired: false };
    this.accounts.push(account);
    return account;
  }

  took(account: Account, session: Session): void {
    this.sessions.push({
      account,
      access: session.access_token,
      refresh: session.refresh_token,
      isAlive: true,
    });
  }
}

/** Signs in as the model says it goes, by a recovery code where a factor is asked for. */
async function signIn(world: World, email: string, password: string): Promise<void> {
  const account = world.holder(email);
  const response = await post("/v1/sessions", { email, password });
  if (account?.password !== password) return expect(response.status).toBe(401);
  // Right, and in no tenant.
  if (account.slug === "") return expect(response.status).toBe(403);
  if (!account.hasFactor && !account.isRequired)
    return world.took(account, await answered<Session>(201, response));
  const { challenge } = await answered<{ challenge: string }>(401, response);
  if (!account.hasFactor) return enrol(world, account, email, challenge);
  const [code, ...others] = account.codes;
  if (!code) return;
  account.codes = others;
  const proved = post("/v1/sessions/factor", { challenge, recovery_code: code });
  const session = await answered<Session>(201, proved);
  await world.mail(email, account);
  world.took(account, session);
}

/** Adds the factor that the tenant requires, and signs in by it. */
async function enrol(world: World, account: Account, email: string, challenge: string): Promise<void> {
  const of = { challenge, type: "totp", name: "Phone" };
  const { secret } = await answered<{ secret: string }>(201, post("/v1/sessions/factor/enrolment", of));
  const code = codeOf(secret);
  const session = await answered<Session & { recovery_codes: string[] }>(
    201,
    post("/v1/sessions/factor", { challenge, code }),
  );
  Object.assign(account, { hasFactor: true, codes: session.recovery_codes });
  world.factorsAt.set(account, world.tick());
  await world.mail(email, account);
  world.took(account, session);
}

/** Every password, session and link does what the model says. */
async function check(world: World, n: number): Promise<void> {
  for (const { access, isAlive } of world.sessions)
    expect(await status(request("GET", "/v1/me", { token: access }))).toBe(isAlive ? 200 : 401);
  const dead = pick(
    world.links.filter(({ isGood }) => !isGood),
    n,
  );
  if (dead) expect(await use(dead, PASSWORDS[0])).toBe(410);
  const gone = pick(
    world.sessions.filter(({ isAlive }) => !isAlive),
    n,
  );
  if (gone) expect(await status(post("/v1/sessions/refresh", { refresh_token: gone.refresh }))).toBe(401);
}

const use = ({ kind, token }: Link, password: string | undefined) =>
  status(post(PATHS[kind], kind === "reset" ? { token, password } : { token }));

/** Most often the password of the account, so that what it opens is entered. */
const likely = (account: Account | undefined, n: number) =>
  (n % 4 === 0 ? undefined : account?.password) ?? pick(PASSWORDS, n) ?? "";

type Act = (world: World, a: number, b: number) => Promise<void>;

/** The session of a sign-up, in a tenant with room for all that is tried. */
async function entered(response: Response): Promise<Session> {
  const session = await answered<Session>(201, response);
  await operate(session.tenant.id, { limits: [{ name: "minute", limit: 100_000, window: 60 }] });
  return session;
}

const ACTS: Record<string, Act> = {
  async signUp(world, a, b) {
    const [email, password] = [pick(world.emails, a) ?? "", pick(PASSWORDS, b) ?? ""];
    const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
    const holder = world.holder(email);
    const response = await post("/v1/signup", { email, password, tenant: { name: slug, slug } });
    if (!holder) {
      const session = await entered(response);
      const account = world.newAccount({ id: session.user.id, slug, email, isVerified: false, password });
      await world.mail(email, account);
      return world.took(account, session);
    }
    if (holder.password !== password) return expect(response.status).toBe(401);
    if (holder.hasFactor) {
      await answered(401, response);
      // The tenant is added all the same: it waits for the factor.
      if (holder.slug === "") holder.slug = slug;
      else await stage`delete from control.tenants where slug = ${slug}`;
      return;
    }
    // In several tenants a sign-in has to say which: one each keeps the model small.
    const session = await entered(response);
    if (holder.slug === "") holder.slug = slug;
    else await stage`delete from control.tenants where id = ${session.tenant.id}`;
    if (holder.slug === slug) world.took(holder, session);
  },
  async signIn(world, a, b) {
    const email = pick(world.emails, a) ?? "";
    await signIn(world, email, likely(world.holder(email), b));
  },
  async refresh(world, a) {
    const held = pick(world.alive(), a);
    if (!held) return;
    const refresh = () => post("/v1/sessions/refresh", { refresh_token: held.refresh });
    // An answer that was lost: the same successor again.
    const [lost, session] = [
      await answered<Session>(200, refresh()),
      await answered<Session>(200, refresh()),
    ];
    expect(session.refresh_token).toBe(lost.refresh_token);
    Object.assign(held, { access: session.access_token, refresh: session.refresh_token });
  },
  async useLink(world, a, b) {
    const link = pick(
      world.links.filter(({ isGood }) => isGood),
      a,
    );
    if (!link) return;
    const { kind, account, email } = link;
    const password = pick(PASSWORDS, b) ?? "";
    const taken = world.holder(email);
    const isTaken = taken !== undefined && taken !== account && taken.isVerified;
    // Twice at once: it works once.
    const both = await Promise.all([use(link, password), use(link, password)]);
    if (kind.startsWith("email") && isTaken) return expect(both).toEqual([409, 409]);
    expect(both.toSorted((x, y) => x - y)).toEqual([204, 410]);
    link.isGood = false;
    switch (kind) {
      case "verification":
        account.isVerified = true;
        return;
      case "reset":
        if (account.isVerified) {
          account.password = password;
          world.endSessions(account);
          world.void(account, "reset", "email_change");
        } else {
          world.giveWay(email);
          const [row] = await stage`select id from control.users where email = ${email}`;
          world.newAccount({ id: String(row?.["id"]), slug: "", email, isVerified: true, password });
        }
        return world.mail(email, account);
      case "email_change": {
        world.giveWay(email, account);
        const { email: old, password: before, isVerified } = account;
        Object.assign(account, { email, password: link.password, isVerified: true });
        world.void(account, "reset", "email_change", "verification");
        if (old !== undefined && old !== email && isVerified)
          await world.mail(old, account, { email_undo: before });
        return;
      }
      case "email_undo": {
        world.giveWay(email, account);
        Object.assign(account, { email, password: link.password, isVerified: true });
        world.endSessions(account);
        world.void(account, "reset", "email_change");
        for (const later of world.links)
          if (later.account === account && later.at >= link.at) later.isGood = false;
        if ((world.factorsAt.get(account) ?? 0) >= link.at)
          Object.assign(account, { hasFactor: false, codes: [] });
      }
    }
  },
  async askReset(world, a) {
    const email = pick(world.emails, a) ?? "";
    const holder = world.holder(email);
    await answered(202, post("/v1/password-resets", { email }));
    await world.mail(
      email,
      holder ?? {
        id: "",
        slug: "",
        email,
        isVerified: false,
        password: undefined,
        hasFactor: false,
        codes: [],
        isRequired: false,
      },
    );
  },
  async changePassword(world, a, b) {
    const held = pick(world.alive(), a);
    if (!held) return;
    const { account, access } = held;
    const [current, password] = [likely(account, b), pick(PASSWORDS, a + b) ?? ""];
    const response = post("/v1/me/password", { current_password: current, password }, access);
    if (account.password !== current) return expect(await status(response)).toBe(403);
    await answered(204, response);
    account.password = password;
    world.endSessions(account, held);
    world.void(account, "reset", "email_change");
    if (account.email) await world.mail(account.email, account);
  },
  async askEmailChange(world, a, b) {
    const held = pick(world.alive(), a);
    if (!held) return;
    const { account, access } = held;
    const [email, password] = [pick(world.emails, b) ?? "", likely(account, a + b)];
    const response = post("/v1/me/email", { email, password }, access);
    const isRight = account.email === undefined || account.password === password;
    if (!isRight) return expect(await status(response)).toBe(403);
    await answered(202, response);
    await world.mail(email, account, { email_change: password });
  },
  async addFactor(world, a) {
    const held = pick(world.alive(), a);
    if (!held || held.account.hasFactor) return;
    const { account, access } = held;
    const setup = await answered<{ id: string; secret: string }>(
      201,
      post("/v1/me/factors", { type: "totp", name: "Phone" }, access),
    );
    const code = codeOf(setup.secret);
    const { recovery_codes: codes = [] } = await answered<{ recovery_codes?: string[] }>(
      200,
      post(`/v1/me/factors/${setup.id}/confirm`, { code }, access),
    );
    expect(codes).toHaveLength(10);
    Object.assign(account, { hasFactor: true, codes });
    world.factorsAt.set(account, world.tick());
    if (account.email) await world.mail(account.email, account);
  },
  async stepUp(world, a, b) {
    const held = pick(world.alive(), a);
    if (!held) return;
    const { account, access } = held;
    const password = likely(account, b);
    const response = post("/v1/sessions/current/step-up", { password }, access);
    if (account.hasFactor || account.password !== password) return expect(await status(response)).toBe(403);
    const session = await answered<Session>(200, response);
    Object.assign(held, { access: session.access_token, refresh: session.refresh_token });
  },
  async require(world, a, b) {
    const held = pick(world.alive(), a);
    if (!held) return;
    const isRequired = b % 2 === 0;
    const body = { require_second_factor: isRequired };
    await answered(200, request("PATCH", "/v1/tenant", { token: held.access, body }));
    held.account.isRequired = isRequired;
  },
  async signOut(world, a) {
    const held = pick(world.alive(), a);
    if (!held) return;
    const out = () => request("DELETE", "/v1/sessions/current", { token: held.access });
    await answered(204, out());
    held.isAlive = false;
  },
  async rotate() {
    const kid = crypto.randomUUID().slice(0, 8);
    const pepper = { kid, key: crypto.getRandomValues(new Uint8Array(32)), cost: 8 };
    // None is dropped: whoever signs in is kept by the newest.
    settings.PASSWORD_PEPPERS = [pepper, ...settings.PASSWORD_PEPPERS.slice(0, 1)];
  },
};

it(
  "no credential works that should not, and none fails that should work",
  { timeout: 60_000 + RUNS * 60_000 },
  async () => {
    const step = fc.tuple(
      fc.constantFrom(
        ...Object.keys(ACTS).filter((name) => name !== "rotate"),
        "useLink",
        "useLink",
        "signUp",
      ),
      fc.nat(99),
      fc.nat(99),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: STEPS, maxLength: STEPS }), async (steps) => {
        const world = new World();
        settings.PASSWORD_PEPPERS = begun;
        for (const [at, [name, a, b]] of [["signUp", 0, 0] as const, ...steps].entries()) {
          // In the middle of it, the peppers change once.
          if (at === STEPS / 2) await ACTS["rotate"]?.(world, 0, 0);
          await ACTS[name]?.(world, a, b);
          await check(world, a + b);
        }
        expect(world.sessions.length).toBeGreaterThan(0);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
);
