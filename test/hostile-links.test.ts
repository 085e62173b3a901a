import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { sealToken } from "../src/identity/opaque-token.ts";
import type { Session } from "../src/identity/session.ts";
import {
  answered,
  newMember,
  newTenant,
  PASSWORD,
  request,
  signedUp,
  signIn,
  stage,
  storedKey,
  type SignedIn,
} from "./support/client.ts";
import { seal } from "../src/identity/sealing.ts";
import { exchanged, newIssuer, trust } from "./support/issuer.ts";
import { mailsTo } from "./support/mails.ts";
import {
  addPasskey,
  addTotp,
  asked,
  beginTotp,
  codeOf,
  confirm,
  forPasskey,
  kept,
  mailed,
  newSlug,
  ORIGIN,
  OTHER,
  post,
  proveBy,
  signsIn,
  someone,
  status,
  stopClock,
  verified,
} from "./support/people.ts";

// Accounts, as somebody uses them who wants another's: links that are not theirs, and what they must not find out.

stopClock();
const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

const me = (token: string) => request("GET", "/v1/me", { token });
const reset = (email: string) => answered(202, post("/v1/password-resets", { email }));
const move = (who: SignedIn, email: string, password = PASSWORD) =>
  answered(202, post("/v1/me/email", { email, password }, who.token));
const invite = (by: SignedIn, email: string, role = "viewer") =>
  answered<{ id: string }>(201, post("/v1/invitations", { email, role }, by.token));
const newTenantOf = (email: string) => {
  const slug = newSlug();
  return { email, password: OTHER, tenant: { name: slug, slug } };
};
async function askToSignUp(email: string): Promise<void> {
  settings.SIGN_UP = "verify_first";
  await answered(202, post("/v1/signup", newTenantOf(email)));
  settings.SIGN_UP = "immediate";
}

/** What a link is of, and how it is used. */
type Link = { token: string; userId: string; email: string; again?: () => Promise<string> };
type Kind = "verification" | "signup" | "reset" | "email_change" | "email_undo" | "invitation";
const USE: Record<Kind, (token: string) => Promise<Response>> = {
  verification: (token) => post("/v1/email-verifications/confirm", { token }),
  signup: (token) => post("/v1/email-verifications/confirm", { token, password: OTHER }),
  reset: (token) => post("/v1/password-resets/confirm", { token, password: OTHER }),
  email_change: (token) => post("/v1/email-changes/confirm", { token }),
  email_undo: (token) => post("/v1/email-changes/undo", { token }),
  invitation: (token) => post("/v1/invitations/accept", { token, password: OTHER }),
};
const NEW: Record<Kind, () => Promise<Link>> = {
  verification: async () => {
    const { user, token: by } = await signedUp();
    const token = await mailed(user.email, "pwv");
    const again = async () => {
      await answered(202, request("POST", "/v1/email-verifications", { token: by }));
      return mailed(user.email, "pwv", token);
    };
    return { token, userId: user.id, email: user.email, again };
  },
  signup: async () => {
    const email = someone();
    await askToSignUp(email);
    return { token: await mailed(email, "pws"), userId: crypto.randomUUID(), email };
  },
  reset: async () => {
    const { user } = await verified();
    await reset(user.email);
    const token = await mailed(user.email, "pwp");
    const again = async () => {
      await reset(user.email);
      return mailed(user.email, "pwp", token);
    };
    return { token, userId: user.id, email: user.email, again };
  },
  email_change: async () => {
    const [ada, email] = [await verified(), someone()];
    await move(ada, email);
    const token = await mailed(email, "pwe");
    const again = async () => {
      await move(ada, email);
      return mailed(email, "pwe", token);
    };
    return { token, userId: ada.user.id, email, again };
  },
  email_undo: async () => {
    const [ada, email] = [await verified(), someone()];
    await move(ada, email);
    await answered(204, USE.email_change(await mailed(email, "pwe")));
    return { token: await mailed(ada.user.email, "pwu"), userId: ada.user.id, email: ada.user.email };
  },
  invitation: async () => {
    const [host, ada] = [await newTenant(), await verified()];
    await invite(host, ada.user.email);
    const token = await mailed(ada.user.email, "pwi");
    const again = async () => {
      await invite(host, ada.user.email);
      return mailed(ada.user.email, "pwi", token);
    };
    return { token, userId: ada.user.id, email: ada.user.email, again };
  },
};
const KINDS = Object.keys(NEW) as Kind[];
const expire = (email: string) =>
  Promise.all([
    stage`update control.mailed_links set expires_at = now() where email = ${email}`,
    stage`update control.invitations set expires_at = now() where email = ${email}`,
  ]);

describe("a link in a mail", () => {
  it.each(KINDS)("of the kind %s works once", async (kind) => {
    const { token, userId } = await NEW[kind]();
    expect(await status(USE[kind](token))).toBeLessThan(300);
    if (kind === "invitation")
      await stage`update control.sessions set generation = 1 where user_id = ${userId}`;
    const before = await kept(userId);
    expect(await status(USE[kind](token))).toBe(410);
    expect(await kept(userId)).toEqual(before);
  });

  it.each(KINDS)("of the kind %s is not good after its time", async (kind) => {
    const { token, userId, email } = await NEW[kind]();
    await expire(email);
    const before = await kept(userId);
    expect(await status(USE[kind](token))).toBe(410);
    expect(await kept(userId)).toEqual(before);
  });

  it.each(["verification", "reset", "email_change", "invitation"] as const)(
    "of the kind %s is void once there is a later one",
    async (kind) => {
      const { token, again } = await NEW[kind]();
      const later = await again?.();
      expect(later).not.toBe(token);
      expect(await status(USE[kind](token))).toBe(410);
      expect(await status(USE[kind](later ?? ""))).toBeLessThan(300);
    },
  );

  it.each(KINDS)("of the kind %s is used by one of eight at once", async (kind) => {
    const { token, email } = await NEW[kind]();
    const all = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const response = await USE[kind](token);
        const body = response.status === 201 ? await response.json<Session>() : undefined;
        return { status: response.status, session: body?.session.id };
      }),
    );
    const won = all.filter(({ status: is }) => is < 300);
    expect(all.filter(({ status: is }) => is !== 410)).toEqual(won);
    // The same acceptance is the same session, so that a lost answer can be asked for again.
    if (kind === "invitation") expect(new Set(won.map(({ session }) => session)).size).toBe(1);
    else expect(won).toHaveLength(1);
    const [row] = await stage`select count(*)::int as many from control.users where email = ${email}`;
    if (kind === "signup") expect(row).toEqual({ many: 1 });
  });

  it.each(KINDS)("of the kind %s is not used by whatever fetches links ahead of a reader", async (kind) => {
    const { token, userId, email } = await NEW[kind]();
    const before = await kept(userId);
    const text = (await mailsTo(email)).map(({ body }) => body.text).find((each) => each.includes(token));
    const url = new URL(/https:\/\/\S+/.exec(text ?? "")?.[0] ?? "");
    expect(url.pathname + url.search).not.toContain(token);
    expect(url.hash).toContain(token);
    const routes = [
      "/v1/email-verifications/confirm",
      "/v1/password-resets/confirm",
      "/v1/email-changes/confirm",
      "/v1/email-changes/undo",
      "/v1/invitations/accept",
    ];
    for (const method of ["GET", "HEAD", "OPTIONS"]) {
      await request(method, url.pathname);
      for (const route of routes) {
        const response = await request(method, `${route}?token=${token}`);
        expect(method === "OPTIONS" ? [204, 401, 405] : [401, 405]).toContain(response.status);
      }
    }
    expect(await kept(userId)).toEqual(before);
    expect(await status(USE[kind](token))).toBeLessThan(300);
  });

  const BENT: [string, (token: string) => string][] = [
    ["without its last character", (token) => token.slice(0, -1)],
    ["cut in half", (token) => token.slice(0, token.length / 2)],
    ["that is its prefix alone", (token) => token.slice(0, 4)],
    ["that is empty", () => ""],
    ["with a character more", (token) => `${token}A`],
    ["with padding", (token) => `${token}=`],
    ["with a line feed", (token) => `${token}\n`],
    ["with a NUL", (token) => `${token}\0`],
    ["with a space in front", (token) => ` ${token}`],
    ["in capitals", (token) => token.toUpperCase()],
    ["in percent-encoding", (token) => token.replace("_", "%5F")],
    ["twice", (token) => token + token],
    ["in hex", (token) => `pwp_${Buffer.from(token.slice(4), "base64url").toString("hex")}`],
    ["whose first bit is another", (token) => flipped(token, 0)],
    ["whose secret is another", (token) => flipped(token, 20)],
    ["whose address is another", (token) => flipped(token, 50)],
    ["whose MAC is another", (token) => flipped(token, -1)],
    [
      "sealed with a key of somebody else's",
      (token) => seal({ kid: "stranger", key: new Uint8Array(32) }, "reset", bodyOf(token)),
    ],
    ["sealed as another kind", (token) => `pwp_${sealToken("verification", bodyOf(token)).slice(4)}`],
    [
      "for an address of somebody else's, sealed by this server",
      (token) =>
        sealToken(
          "reset",
          Buffer.concat([bodyOf(token).subarray(0, 16), Buffer.alloc(32), Buffer.from(someone())]),
        ),
    ],
  ];
  const bodyOf = (token: string) => Buffer.from(token.slice(4), "base64url").subarray(0, -16);
  const flipped = (token: string, at: number) => {
    const bytes = Buffer.from(token.slice(4), "base64url");
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = (bytes[index] ?? 0) ^ 1;
    return token.slice(0, 4) + bytes.toString("base64url");
  };
  describe("that is not as it was sent", () => {
    let link: Link;
    beforeAll(async () => {
      link = await NEW.reset();
    });
    it.each(BENT)("is gone: one %s", async (_, bend) => {
      const before = await kept(link.userId);
      // No text in JSON may have a NUL.
      expect(await status(USE.reset(bend(link.token)))).toBe(bend(link.token).includes("\0") ? 422 : 410);
      expect(await kept(link.userId)).toEqual(before);
    });
    it("is good all the same when it comes as it was sent", async () => {
      expect(await status(USE.reset(link.token))).toBe(204);
    });
  });
});

/** Each kind of token that this server makes, all of one person and all good. */
type Every = Kind | "refresh" | "challenge";
describe("a token of one kind", () => {
  const tokens = {} as Record<Every, string>;
  let ada: SignedIn;
  beforeAll(async () => {
    ada = await verified();
    const [email, host] = [someone(), await newTenant()];
    await move(ada, email);
    await answered(204, USE.email_change(await mailed(email, "pwe")));
    tokens.email_undo = await mailed(ada.user.email, "pwu");
    tokens.refresh = ada.refresh_token;
    await stage`update control.users set email_verified_at = null where id = ${ada.user.id}`;
    await answered(202, request("POST", "/v1/email-verifications", { token: ada.token }));
    tokens.verification = await mailed(email, "pwv");
    await stage`update control.users set email_verified_at = now() where id = ${ada.user.id}`;
    await reset(email);
    tokens.reset = await mailed(email, "pwp");
    const next = someone();
    await move(ada, next);
    tokens.email_change = await mailed(next, "pwe");
    await askToSignUp(email);
    tokens.signup = await mailed(email, "pws");
    await invite(host, email);
    tokens.invitation = await mailed(email, "pwi");
    await addTotp(ada.token);
    tokens.challenge = (await asked(email)).challenge;
  });

  const AT: [string, (token: string) => Promise<Response>, number, Every[]][] = [
    [
      "to confirm an address",
      (token) => post("/v1/email-verifications/confirm", { token }),
      410,
      ["verification", "signup"],
    ],
    ["to reset a password", USE.reset, 410, ["reset"]],
    ["to change an address", USE.email_change, 410, ["email_change"]],
    ["to undo that", USE.email_undo, 410, ["email_undo"]],
    ["to accept an invitation", USE.invitation, 410, ["invitation"]],
    ["to refresh", (refresh_token) => post("/v1/sessions/refresh", { refresh_token }), 401, ["refresh"]],
    ["as a challenge", (challenge) => proveBy(challenge, { code: "123456" }), 401, []],
    [
      "as a challenge to enrol by",
      (challenge) => post("/v1/sessions/factor/enrolment", { challenge, type: "totp", name: "x" }),
      401,
      [],
    ],
    ["as an access token", (token) => me(token), 401, []],
  ];
  const all: Every[] = [...KINDS, "refresh", "challenge"];
  const cases = AT.flatMap(([name, at, refused, own]) =>
    all
      .filter((kind) => !own.includes(kind) && !(kind === "challenge" && name === "as a challenge"))
      .map((kind) => [kind, name, at, refused] as const),
  );
  it.each(cases)("(%s) is worth nothing %s", async (kind, _, at, refused) => {
    expect(tokens[kind]).toMatch(/^pw[a-z]_/);
    const before = await kept(ada.user.id);
    expect(await status(at(tokens[kind]))).toBe(refused);
    expect(await kept(ada.user.id)).toEqual(before);
  });

  it("was good all the while where it belongs", async () => {
    expect(await status(post("/v1/sessions/refresh", { refresh_token: tokens.refresh }))).toBe(200);
    for (const kind of ["verification", "signup", "email_undo"] as const)
      expect(await status(USE[kind](tokens[kind]))).toBe(204);
  });
});

describe("a host that the client makes up", () => {
  const EVIL = "evil.test";
  const HOSTS: [string, { host?: string; headers?: Record<string, string> }][] = [
    ["Host", { host: EVIL }],
    ["Host, with a port", { host: `${EVIL}:8443` }],
    ["X-Forwarded-Host", { headers: { "x-forwarded-host": EVIL } }],
    ["Forwarded", { headers: { forwarded: `host=${EVIL};proto=http` } }],
    [
      "X-Original-Host, X-Host, X-Forwarded-Server",
      { headers: { "x-original-host": EVIL, "x-host": EVIL, "x-forwarded-server": EVIL } },
    ],
    ["Origin and Referer", { headers: { origin: `https://${EVIL}`, referer: `https://${EVIL}/account` } }],
  ];
  it.each(HOSTS)("is in no mail: %s", async (_, from) => {
    const send = (path: string, body: object, token?: string) =>
      request("POST", path, { ...from, body, token });
    const [ada, moved, guest, newcomer] = [await verified(), someone(), someone(), someone()];
    await send("/v1/password-resets", { email: ada.user.email });
    await send("/v1/me/email", { email: moved, password: PASSWORD }, ada.token);
    await send("/v1/invitations", { email: guest, role: "viewer" }, ada.token);
    settings.SIGN_UP = "verify_first";
    await send("/v1/signup", newTenantOf(newcomer));
    const boxes = [
      [ada.user.email, "pwp"],
      [moved, "pwe"],
      [guest, "pwi"],
      [newcomer, "pws"],
    ] as const;
    for (const [email, prefix] of boxes) {
      await mailed(email, prefix);
      expect(JSON.stringify(await mailsTo(email))).not.toContain("evil");
    }
  });
});

describe("what was begun with the password before", () => {
  const ENDS: [string, (ada: SignedIn) => Promise<unknown>][] = [
    [
      "a reset",
      async ({ user }) => {
        await reset(user.email);
        return answered(204, USE.reset(await mailed(user.email, "pwp")));
      },
    ],
    [
      "a change of the password",
      (ada) =>
        answered(204, post("/v1/me/password", { current_password: PASSWORD, password: OTHER }, ada.token)),
    ],
    [
      "an invitation accepted with a password",
      async ({ user }) => {
        await invite(await newTenant(), user.email);
        const token = await mailed(user.email, "pwi");
        // Who has a second factor is asked for it; the password is set all the same.
        expect([201, 401]).toContain(await status(USE.invitation(token)));
      },
    ],
  ];
  describe.each(ENDS)("is void after %s", (_, end) => {
    it("a factor that nobody confirmed", async () => {
      const ada = await verified();
      const { id, secret } = await beginTotp(ada.token);
      await end(ada);
      expect([401, 404]).toContain(await status(confirm(id, { code: codeOf(secret) }, ada.token)));
      expect(await stage`select from control.factors where user_id = ${ada.user.id}`).toEqual([]);
    });
    it("a sign-in that waits for a second factor", async () => {
      const ada = await verified();
      const { secret } = await addTotp(ada.token);
      const { challenge } = await asked(ada.user.email);
      await end(ada);
      expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(401);
    });
    it("a change of the address", async () => {
      const [ada, email] = [await verified(), someone()];
      await move(ada, email);
      const token = await mailed(email, "pwe");
      await end(ada);
      expect(await status(USE.email_change(token))).toBe(410);
      expect((await kept(ada.user.id)).users).toMatchObject([{ email: ada.user.email }]);
    });
    it("a reset", async () => {
      const ada = await verified();
      await reset(ada.user.email);
      const token = await mailed(ada.user.email, "pwp");
      await end(ada);
      expect(
        await status(post("/v1/password-resets/confirm", { token, password: "a third one, of a thief" })),
      ).toBe(410);
      expect(await status(signsIn(ada.user.email, "a third one, of a thief"))).toBe(401);
    });
  });

  it("is void after the address is brought back: factors, codes, sign-ins, links and sessions of the thief", async () => {
    const [ada, email, further] = [await verified(), someone(), someone()];
    await move(ada, email);
    await answered(204, USE.email_change(await mailed(email, "pwe")));
    const undo = await mailed(ada.user.email, "pwu");
    const { secret, codes } = await addTotp(ada.token);
    const pending = await answered<{ id: string }>(
      201,
      post("/v1/me/factors", { type: "passkey", name: "x" }, ada.token),
    );
    const { challenge } = await asked(email);
    await move(ada, further);
    await reset(email);
    const [change, thief] = [await mailed(further, "pwe"), await mailed(email, "pwp")];
    await answered(204, USE.email_undo(undo));
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(401);
    expect(await status(proveBy(challenge, { recovery_code: codes[0] }))).toBe(401);
    expect(await status(confirm(pending.id, {}, ada.token))).toBe(401);
    for (const response of [USE.email_change(change), USE.reset(thief), USE.email_undo(undo)])
      expect(await status(response)).toBe(410);
    expect(await kept(ada.user.id)).toMatchObject({
      users: [{ email: ada.user.email }],
      links: [],
      factors: [],
      codes: [],
    });
    await answered(201, signsIn(ada.user.email));
  });
});

describe("an account that gave its address up to the mailbox's owner", () => {
  it("does not sign in, reset, confirm or see the other account", async () => {
    const squatter = await signedUp();
    const { email } = squatter.user;
    const early = await mailed(email, "pwv");
    await reset(email);
    const [first, verification] = [await mailed(email, "pwp"), await mailed(email, "pwv", early)];
    await answered(204, USE.reset(first));
    const owner = await answered<Session>(
      201,
      post("/v1/signup", { ...newTenantOf(email), password: OTHER }),
    );
    const before = await kept(owner.user.id);
    for (const token of [early, verification]) expect(await status(USE.verification(token))).toBe(410);
    expect(await status(USE.reset(first))).toBe(410);
    expect(await status(signsIn(email, PASSWORD))).toBe(401);
    const own = await answered<{ user: { email: string } }>(200, me(squatter.token));
    expect(own.user.email).toMatch(/@displaced\.invalid$/);
    for (const password of [PASSWORD, OTHER, ""])
      expect(await status(signsIn(own.user.email, password))).toBe(401);
    await reset(own.user.email);
    expect(await status(post("/v1/sessions/switch", { tenant: owner.tenant.slug }, squatter.token))).toBe(
      404,
    );
    expect(
      await status(
        post("/v1/me/password", { current_password: OTHER, password: "for the squatter" }, squatter.token),
      ),
    ).toBe(403);
    await move(squatter, email, "of the squatter");
    expect(await status(USE.email_change(await mailed(email, "pwe")))).toBe(409);
    expect(await kept(owner.user.id)).toEqual(before);
  });

  it("keeps a passkey and a session, and neither leads to the other account", async () => {
    const squatter = await signedUp();
    const { email } = squatter.user;
    const { passkey } = await addPasskey(squatter.token);
    await reset(email);
    await answered(204, USE.reset(await mailed(email, "pwp")));
    const owner = await answered<Session>(
      201,
      post("/v1/signup", { ...newTenantOf(email), password: OTHER }),
    );
    const { challenge, options } = await forPasskey();
    const response = passkey.signed(options, ORIGIN);
    const session = await answered<Session>(201, post("/v1/sessions/passkey", { challenge, response }));
    expect(session).toMatchObject({ user: { id: squatter.user.id }, tenant: { id: squatter.tenant.id } });
    expect(session.user.id).not.toBe(owner.user.id);
  });
});

describe("an address in another spelling", () => {
  it.each([
    ["in capitals", (email: string) => email.toUpperCase(), 401],
    ["with spaces around it", (email: string) => `\t ${email} `, 401],
    ["with a Kelvin sign", (email: string) => email.replace("k", "\u212A"), 422],
    ["with a full-width letter", (email: string) => `\uFF4B${email.slice(1)}`, 422],
    ["with a Cyrillic letter", (email: string) => email.replace("o", "\u043E"), 422],
    ["with a combining mark", (email: string) => email.replace("o", "o\u0308"), 422],
    ["with a zero-width space", (email: string) => email.replace("@", "\u200B@"), 422],
    ["with a NUL", (email: string) => `${email}\0`, 422],
    ["in quotes", (email: string) => `"${email.split("@")[0]}"@${email.split("@")[1]}`, 422],
    ["with a dot at the end", (email: string) => `${email}.`, 422],
    ["with a name around it", (email: string) => `Ada <${email}>`, 422],
    ["and another one behind a comma", (email: string) => `${email},evil@mailbox.test`, 422],
    ["and a header behind a line feed", (email: string) => `${email}\r\nBcc: evil@mailbox.test`, 422],
  ])("makes no second account: %s", async (_, spell, is) => {
    const email = `ko-${someone()}`;
    const body = newTenantOf(email);
    await answered(201, post("/v1/signup", body));
    // The account is there and the password is another, or it is no address at all.
    const answer = await post("/v1/signup", { ...newTenantOf(spell(email)), password: "not that password" });
    expect(answer.status).toBe(is);
    const rows = await stage`select from control.users where email ilike ${`%${email.slice(3, 30)}%`}`;
    expect(rows).toHaveLength(1);
    if (is === 422) expect(await status(post("/v1/password-resets", { email: spell(email) }))).toBe(422);
  });

  it("with a tag is an account of its own: a mailbox of that name may be another's", async () => {
    const email = someone();
    await answered(201, post("/v1/signup", newTenantOf(email)));
    const tagged = email.replace("@", "+tag@");
    expect(await status(signsIn(tagged, OTHER))).toBe(401);
    await answered(201, post("/v1/signup", newTenantOf(tagged)));
  });
});

describe("a session that a tenant's issuer vouches for", () => {
  let owner: SignedIn;
  let member: SignedIn;
  let vouched: string;
  beforeAll(async () => {
    owner = await newTenant();
    // A person with an account of their own, to whom the issuer gives a session as well.
    member = await newMember(owner.tenant.id, "owner", PASSWORD);
    const issuer = newIssuer();
    await trust(owner, issuer, { email_domains: ["members.test"] });
    vouched = await exchanged(await issuer.sign({ email: member.user.email }));
  });
  const REFUSED: [string, (token: string) => Promise<Response>][] = [
    [
      "change the password",
      (token) => post("/v1/me/password", { current_password: PASSWORD, password: OTHER }, token),
    ],
    ["change the address", (token) => post("/v1/me/email", { email: someone(), password: PASSWORD }, token)],
    ["end the account", (token) => request("DELETE", "/v1/me", { token })],
    ["change the name", (token) => request("PATCH", "/v1/me", { token, body: { name: "x" } })],
    ["have the address confirmed", (token) => request("POST", "/v1/email-verifications", { token })],
    ["add an app", (token) => post("/v1/me/factors", { type: "totp", name: "x" }, token)],
    ["add a passkey", (token) => post("/v1/me/factors", { type: "passkey", name: "x" }, token)],
    ["make recovery codes", (token) => post("/v1/me/recovery-codes", {}, token)],
    ["read what is stored", (token) => request("GET", "/v1/me/data", { token })],
    ["step up", (token) => post("/v1/sessions/current/step-up", { password: PASSWORD }, token)],
    ["remove a factor", (token) => request("DELETE", `/v1/me/factors/${crypto.randomUUID()}`, { token })],
    ["confirm a factor", (token) => confirm(crypto.randomUUID(), { code: "123456" }, token)],
  ];
  it.each(REFUSED)("does not %s", async (_, act) => {
    const before = await kept(member.user.id);
    expect(await status(act(vouched))).toBe(403);
    expect(await kept(member.user.id)).toEqual(before);
  });
  it("sees and renames no factor", async () => {
    const { id } = await addTotp(member.token);
    const list = await request("GET", "/v1/me/factors", { token: vouched });
    expect(await list.text()).not.toContain(id);
    const rename = request("PATCH", `/v1/me/factors/${id}`, { token: vouched, body: { name: "mine" } });
    expect([403, 404]).toContain(await status(rename));
    expect((await kept(member.user.id)).factors).toMatchObject([{ name: "Phone" }]);
    await answered(204, request("DELETE", `/v1/me/factors/${id}`, { token: member.token }));
  });

  it.each(REFUSED)("no more than an API key does: %s", async (_, act) => {
    const key = await storedKey(owner);
    expect(await status(act(key.text))).toBe(403);
  });
  it.each(REFUSED)("no more than a session that was ended does: %s", async (_, act) => {
    const ada = await newMember(owner.tenant.id, "member");
    await answered(204, request("DELETE", "/v1/sessions/current", { token: ada.token }));
    const before = await kept(ada.user.id);
    expect(await status(act(ada.token))).toBe(401);
    expect(await kept(ada.user.id)).toEqual(before);
  });
});

describe("a body", () => {
  const PATHS = [
    "/v1/signup",
    "/v1/sessions",
    "/v1/sessions/factor",
    "/v1/sessions/factor/enrolment",
    "/v1/sessions/passkey",
    "/v1/password-resets",
    "/v1/password-resets/confirm",
    "/v1/email-verifications/confirm",
    "/v1/email-changes/confirm",
    "/v1/email-changes/undo",
    "/v1/invitations/accept",
  ];
  const OWN_PATHS = ["/v1/me/password", "/v1/me/email", "/v1/me/factors", "/v1/sessions/current/step-up"];
  const RAW: [string, string][] = [
    ["null", "null"],
    ["an array", "[]"],
    ["an array of one", `[{"email":"a@mailbox.test"}]`],
    ["a string", `"pwp_x"`],
    ["a number", "1"],
    ["true", "true"],
    ["a prototype", `{"__proto__":{"email":"a@mailbox.test","password":"long enough one","token":"pwp_x"}}`],
    ["a constructor", `{"constructor":{"prototype":{"token":"pwp_x"}}}`],
    [
      "an array for each value",
      `{"email":["a@mailbox.test"],"password":["x"],"token":["x"],"challenge":["x"],"code":["1"]}`,
    ],
    [
      "an object for each value",
      `{"email":{"$ne":""},"password":{"$ne":""},"token":{"$ne":""},"challenge":{},"code":{}}`,
    ],
    ["null for each value", `{"email":null,"password":null,"token":null,"challenge":null,"code":null}`],
  ];
  it.each(RAW)("is refused by every route: %s", async (_, body) => {
    for (const path of PATHS)
      expect([path, await status(request("POST", path, { body }))]).toEqual([path, 422]);
    const { token } = await newTenant();
    for (const path of OWN_PATHS)
      expect([path, await status(request("POST", path, { body, token }))]).toEqual([path, 422]);
    expect(({} as { token?: string }).token).toBeUndefined();
  });

  const MORE = {
    email_verified: true,
    email_verified_at: "2020-01-01T00:00:00Z",
    user_id: "01890000-0000-7000-8000-000000000000",
    id: "01890000-0000-7000-8000-000000000000",
    amr: ["mfa"],
    auth_time: 4_000_000_000,
    role: "owner",
    plan: "enterprise",
    is_confirmed: true,
    secret: "AAAA",
    __proto__: null,
  };
  it.each(Object.entries(MORE))("with a member that is not its own is refused: %s", async (name, value) => {
    const { token } = await verified();
    const BODIES: [string, string, object, string?][] = [
      ["POST", "/v1/signup", newTenantOf(someone())],
      [
        "POST",
        "/v1/signup",
        { ...newTenantOf(someone()), tenant: { name: "x", slug: newSlug(), [name]: value } },
      ],
      ["POST", "/v1/sessions", { email: someone(), password: PASSWORD }],
      ["POST", "/v1/sessions/factor", { challenge: "pwc_x", code: "123456" }],
      ["POST", "/v1/sessions/factor/enrolment", { challenge: "pwc_x", type: "totp", name: "x" }],
      ["POST", "/v1/password-resets", { email: someone() }],
      ["POST", "/v1/password-resets/confirm", { token: "pwp_x", password: OTHER }],
      ["POST", "/v1/email-verifications/confirm", { token: "pwv_x" }],
      ["POST", "/v1/email-changes/confirm", { token: "pwe_x" }],
      ["POST", "/v1/invitations/accept", { token: "pwi_x" }],
      ["POST", "/v1/me/password", { current_password: PASSWORD, password: OTHER }, token],
      ["POST", "/v1/me/email", { email: someone(), password: PASSWORD }, token],
      ["POST", "/v1/me/factors", { type: "totp", name: "x" }, token],
      ["POST", "/v1/sessions/current/step-up", { password: PASSWORD }, token],
      ["PATCH", "/v1/me", { name: "x" }, token],
    ];
    for (const [method, path, body, by] of BODIES)
      expect([
        path,
        await status(request(method, path, { token: by, body: { ...body, [name]: value } })),
      ]).toEqual([path, 422]);
  });
});

describe("what is secret", () => {
  it("is in no line of the log and in no problem", async () => {
    settings.LOG_REQUESTS = true;
    const lines: string[] = [];
    for (const method of ["log", "error", "warn", "info", "debug"] as const)
      vi.spyOn(console, method).mockImplementation((...of: unknown[]) => void lines.push(JSON.stringify(of)));
    const ada = await verified();
    const [email, secrets] = [someone(), [PASSWORD, OTHER, "a wrong password"]];
    const problems: string[] = [];
    const send = async (path: string, body: object, token?: string) => {
      const response = await post(path, body, token);
      if (response.status >= 400) problems.push(await response.text());
    };
    await send("/v1/sessions", { email: ada.user.email, password: "a wrong password" });
    await send("/v1/password-resets", { email: ada.user.email });
    const resetToken = await mailed(ada.user.email, "pwp");
    await send("/v1/me/email", { email, password: PASSWORD }, ada.token);
    const change = await mailed(email, "pwe");
    for (const token of [resetToken, change])
      for (const path of [
        "/v1/email-verifications/confirm",
        "/v1/email-changes/undo",
        "/v1/invitations/accept",
      ]) {
        await send(path, { token });
        await send(`${path}?token=${token}`, { token, more: token });
        await send(path, { token: `${token} `.repeat(9) });
      }
    await send("/v1/password-resets/confirm", { token: resetToken, password: `password123` });
    const { secret, codes } = await addTotp(ada.token);
    const { challenge } = await asked(ada.user.email);
    await send("/v1/sessions/factor", { challenge, code: "12345x" });
    await send("/v1/sessions/factor", { challenge, recovery_code: "0000-0000" });
    await send("/v1/email-changes/confirm", { token: challenge });
    await send("/v1/email-changes/confirm", { token: change });
    await send("/v1/password-resets/confirm", { token: resetToken, password: OTHER });
    await send("/v1/sessions/refresh", { refresh_token: ada.refresh_token });
    expect(problems.length).toBeGreaterThan(15);
    expect(lines.length).toBeGreaterThan(15);
    secrets.push(
      resetToken,
      change,
      challenge,
      secret,
      ada.token,
      ada.refresh_token,
      ...codes,
      ada.user.email,
      email,
    );
    for (const one of secrets) {
      expect(lines.join("\n")).not.toContain(one);
      expect(problems.join("\n")).not.toContain(one);
    }
  });

  it("is not in the database as it was sent: passwords, tokens and codes", async () => {
    const [ada, email, newcomer] = [await verified(), someone(), someone()];
    const { secret, codes } = await addTotp(ada.token);
    const { challenge } = await asked(ada.user.email);
    await move(ada, email);
    await reset(ada.user.email);
    await askToSignUp(newcomer);
    const secrets = [PASSWORD, OTHER, secret, challenge, ada.refresh_token, ...codes];
    secrets.push(...codes.map((code) => code.replaceAll("-", "")));
    secrets.push(
      await mailed(email, "pwe"),
      await mailed(ada.user.email, "pwp"),
      await mailed(newcomer, "pws"),
    );
    const rows = await Promise.all([
      stage`select u::text as of from control.users u where id = ${ada.user.id}`,
      stage`select l::text as of from control.mailed_links l where user_id = ${ada.user.id} or email = ${newcomer}`,
      stage`select f::text as of from control.factors f where user_id = ${ada.user.id}`,
      stage`select r::text as of from control.recovery_codes r where user_id = ${ada.user.id}`,
      stage`select c::text as of from control.challenges c where user_id = ${ada.user.id}`,
      stage`select s::text as of from control.sessions s where user_id = ${ada.user.id}`,
    ]);
    const texts = rows.flat().map((row) => String(row["of"]));
    expect(texts.length).toBeGreaterThan(15);
    expect(texts.join("\n")).toContain("scrypt$");
    for (const one of secrets) {
      const spellings = [one, Buffer.from(one).toString("hex"), Buffer.from(one).toString("base64url")];
      // What the token says behind its prefix, too.
      if (one.startsWith("pw"))
        spellings.push(Buffer.from(one.slice(4), "base64url").subarray(16, 48).toString("hex"));
      for (const text of texts) for (const spelled of spellings) expect(text).not.toContain(spelled);
    }
  });
});

describe("a refresh token in a cookie", () => {
  const WANTS = { "x-refresh-token": "cookie" };
  const OWN = { ...WANTS, origin: ORIGIN, "sec-fetch-site": "same-origin" };
  const on = () => void (settings.BROWSER_SESSIONS = true);
  const cookieIn = (response: Response) =>
    /^__Host-refresh=([^;]*)/.exec(response.headers.get("set-cookie") ?? "")?.[1] ?? "";
  const refresh = (cookie: string, headers: Record<string, string>, body: unknown = {}) =>
    request("POST", "/v1/sessions/refresh", { body, headers: { ...headers, cookie } });
  const enter = (ada: SignedIn, headers: Record<string, string> = OWN) =>
    request("POST", "/v1/sessions", { body: { email: ada.user.email, password: PASSWORD }, headers });

  it("is for this host's pages alone, no script reads it, and the body has none", async () => {
    on();
    const ada = await verified();
    const response = await enter(ada);
    const attributes = (response.headers.get("set-cookie") ?? "")
      .split("; ")
      .slice(1)
      .map((each) => each.toLowerCase());
    expect(attributes.toSorted((a, b) => a.localeCompare(b))).toEqual([
      "httponly",
      "max-age=2592000",
      "path=/",
      "samesite=strict",
      "secure",
    ]);
    const token = cookieIn(response);
    expect(token).toMatch(/^pwr_/);
    const text = await response.text();
    expect(text).not.toContain("pwr_");
    expect(JSON.parse(text)).toMatchObject({ refresh_token: "" });

    const next = await refresh(`other=1; __Host-refresh=${token}`, OWN);
    expect(next.status).toBe(200);
    expect(await next.text()).not.toContain("pwr_");
    expect(cookieIn(next)).not.toBe(token);
  });

  it.each<[string, Record<string, string>]>([
    ["a sibling subdomain", { origin: "https://evil.partywall.test", "sec-fetch-site": "same-site" }],
    ["another site", { origin: "https://evil.test", "sec-fetch-site": "cross-site" }],
    ["another site that says this origin", { origin: ORIGIN, "sec-fetch-site": "cross-site" }],
    ["an address bar", { origin: ORIGIN, "sec-fetch-site": "none" }],
    ["no origin", { "sec-fetch-site": "same-origin" }],
    ["the origin null", { origin: "null", "sec-fetch-site": "same-origin" }],
    ["a browser that says nothing of the site", { origin: ORIGIN }],
    ["this host without TLS", { origin: "http://api.partywall.test", "sec-fetch-site": "same-site" }],
    ["another port of this host", { origin: `${ORIGIN}:8443`, "sec-fetch-site": "same-site" }],
    [
      "an origin that begins like this one",
      { origin: `${ORIGIN}.evil.test`, "sec-fetch-site": "same-origin" },
    ],
    ["two origins", { origin: `${ORIGIN}, https://evil.test`, "sec-fetch-site": "same-origin" }],
  ])("is not read, given or cleared for %s", async (_, headers) => {
    on();
    const ada = await verified();
    const token = cookieIn(await enter(ada));
    const cookie = `__Host-refresh=${token}`;
    const refused = await refresh(cookie, { ...WANTS, ...headers });
    expect([refused.status, refused.headers.get("set-cookie")]).toEqual([403, null]);
    const given = await enter(ada, { ...WANTS, ...headers });
    expect([given.status, given.headers.get("set-cookie")]).toEqual([403, null]);
    expect(await given.text()).not.toContain("pwr_");
    const out = await request("DELETE", "/v1/sessions/current", {
      token: ada.token,
      headers: { ...WANTS, ...headers },
    });
    expect([out.status, out.headers.get("set-cookie")]).toEqual([403, null]);
    // Nothing of that used it up.
    expect(await status(refresh(cookie, OWN))).toBe(200);
    expect(await status(me(ada.token))).toBe(200);
  });

  it("is read for a front end that is allowed", async () => {
    on();
    const cookie = `__Host-refresh=${cookieIn(await enter(await verified()))}`;
    settings.ALLOWED_ORIGINS = ["https://app.partywall.test"];
    const headers = { ...OWN, "sec-fetch-site": "same-site", origin: "https://app.partywall.test" };
    expect(await status(refresh(cookie, headers))).toBe(200);
  });

  it.each<[string, (token: string) => string]>([
    ["twice", (token) => `__Host-refresh=${token}; __Host-refresh=${token}`],
    ["twice, the first empty", (token) => `__Host-refresh=; __Host-refresh=${token}`],
    ["twice, the second another's", (token) => `__Host-refresh=${token};__Host-refresh=pwr_x`],
    ["under a name without its prefix", (token) => `refresh=${token}`],
    ["under a name in lower case", (token) => `__host-refresh=${token}`],
    ["under __Secure-", (token) => `__Secure-refresh=${token}`],
    ["in quotes", (token) => `__Host-refresh="${token}"`],
    ["in percent-encoding", (token) => `__Host-refresh=${token.replace("_", "%5F")}`],
    ["empty", () => "__Host-refresh="],
  ])("is worth nothing when it comes %s", async (_, spell) => {
    on();
    const token = cookieIn(await enter(await verified()));
    expect(await status(refresh(spell(token), OWN))).toBe(401);
    expect(await status(refresh(`__Host-refresh=${token}`, OWN))).toBe(200);
  });

  it("opens no other route, and none without the header", async () => {
    on();
    const ada = await verified();
    const token = cookieIn(await enter(ada));
    const headers = { ...OWN, cookie: `__Host-refresh=${token}` };
    for (const path of ["/v1/me", "/v1/projects", "/v1/sessions", "/v1/me/factors"])
      expect(await status(request("GET", path, { headers }))).toBe(401);
    for (const path of ["/v1/sessions/switch", "/v1/sessions/current/step-up", "/v1/api-keys"])
      expect(await status(request("POST", path, { headers, body: {} }))).toBe(401);
    expect(await status(request("DELETE", "/v1/sessions/current", { headers }))).toBe(401);
    const { "x-refresh-token": _, ...without } = headers;
    expect(await status(request("POST", "/v1/sessions/refresh", { headers: without, body: {} }))).toBe(422);
    for (const value of ["Cookie", "true", "cookie, cookie"])
      expect(
        await status(
          request("POST", "/v1/sessions/refresh", {
            headers: { ...headers, "x-refresh-token": value },
            body: {},
          }),
        ),
      ).toBe(422);
    expect(await status(refresh(`__Host-refresh=${token}`, OWN))).toBe(200);
  });

  it("is forgotten at sign-out, and then worth nothing", async () => {
    on();
    const response = await enter(await verified());
    const token = cookieIn(response);
    const session = await response.json<Session>();
    const out = await request("DELETE", "/v1/sessions/current", {
      token: session.access_token,
      headers: OWN,
    });
    expect(out.status).toBe(204);
    expect(out.headers.get("set-cookie")).toMatch(
      /^__Host-refresh=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=Strict$/i,
    );
    expect(await status(refresh(`__Host-refresh=${token}`, OWN))).toBe(401);
  });

  it("is not there where the setting is off: neither the header nor the cookie counts", async () => {
    settings.BROWSER_SESSIONS = true;
    const ada = await verified();
    const token = cookieIn(await enter(ada));
    settings.BROWSER_SESSIONS = false;
    const response = await enter(ada);
    expect(response.headers.get("set-cookie")).toBeNull();
    expect((await response.json<Session>()).refresh_token).toMatch(/^pwr_/);
    expect(await status(refresh(`__Host-refresh=${token}`, OWN))).toBe(422);
    const body = { refresh_token: ada.refresh_token };
    const next = await refresh(`__Host-refresh=${token}`, OWN, body);
    expect(await next.json()).toMatchObject({ session: { id: ada.session.id } });
    expect(next.headers.get("set-cookie")).toBeNull();
  });

  it("goes before one in the body, which somebody else may have put there", async () => {
    on();
    const [ada, thief] = [await verified(), await verified()];
    const response = await enter(ada);
    const next = await refresh(`__Host-refresh=${cookieIn(response)}`, OWN, {
      refresh_token: thief.refresh_token,
    });
    expect(await next.json()).toMatchObject({ user: { id: ada.user.id } });
    expect(await status(refresh("", OWN, { refresh_token: thief.refresh_token }))).toBe(401);
  });
});

describe("another tenant's people", () => {
  it.each(["owner", "admin", "member", "viewer"] as const)("are not reached by its %s", async (role) => {
    const [host, victim] = [await newTenant(), await verified()];
    await addTotp(victim.token);
    const by = await newMember(host.tenant.id, role);
    const before = await kept(victim.user.id);
    const refused = await request("DELETE", `/v1/members/${victim.user.id}/factors`, { token: by.token });
    expect(refused.status).toBe(role === "owner" ? 404 : 403);
    expect(await kept(victim.user.id)).toEqual(before);
  });

  it("do not come nearer by an address: signing in somewhere else needs the password there", async () => {
    const [ada, host] = [await verified(), await newTenant()];
    expect(await status(signsIn(ada.user.email, PASSWORD, host.tenant.slug))).toBe(401);
    const own = await signIn(ada.user.email);
    expect(await status(post("/v1/sessions/switch", { tenant: host.tenant.slug }, own.token))).toBe(404);
  });
});
