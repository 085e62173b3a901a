import { afterEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
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
  type SignedIn,
} from "./support/client.ts";
import { mailedToken, mailsTo } from "./support/mails.ts";

// An account's address and password: who may set them is whoever reads the mailbox, or knows the password before.

const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

type Me = {
  user: { id: string; email: string; name: string | null; locale: string | null };
  email_verified: boolean;
};

const OTHER = "another long enough one";
const someone = () => `${crypto.randomUUID()}@mailbox.test`;
const me = (token: string) => answered<Me>(200, request("GET", "/v1/me", { token }));
const post = (path: string, body: object, token?: string) => request("POST", path, { body, token });
const status = async (response: Response | Promise<Response>) => (await response).status;
const signsIn = (email: string, password: string) => status(post("/v1/sessions", { email, password }));
const reset = (email: string) => answered(202, post("/v1/password-resets", { email }));
const confirmReset = (token: string, password = OTHER) =>
  post("/v1/password-resets/confirm", { token, password });
const confirmEmail = (token: string, password?: string) =>
  post("/v1/email-verifications/confirm", { token, password });

/** Somebody who has signed up and confirmed their address. */
async function verified(): Promise<SignedIn> {
  const ada = await signedUp();
  await answered(204, confirmEmail(await mailedToken(ada.user.email, "pwv")));
  return ada;
}

describe("an address", () => {
  it("is confirmed by the link that sign-up sends, once", async () => {
    const ada = await signedUp();
    expect(await me(ada.token)).toMatchObject({ email_verified: false });
    const token = await mailedToken(ada.user.email, "pwv");
    await answered(204, confirmEmail(token));
    expect(await me(ada.token)).toMatchObject({ email_verified: true, user: { email: ada.user.email } });
    expect(await status(confirmEmail(token))).toBe(410);
  });

  it("is not confirmed with another password than its account's: whoever reads the mailbox did not choose that one", async () => {
    const squatter = await signedUp();
    const { email } = squatter.user;
    const token = await mailedToken(email, "pwv");
    expect(await answered(403, confirmEmail(token, OTHER))).toMatchObject({ code: "wrong_password" });
    expect(await me(squatter.token)).toMatchObject({ email_verified: false });
    // The link is as good as before.
    await answered(204, confirmEmail(token, PASSWORD));
    expect(await me(squatter.token)).toMatchObject({ email_verified: true });
  });

  it("is not confirmed by trying passwords with its link", async () => {
    const squatter = await signedUp();
    const token = await mailedToken(squatter.user.email, "pwv");
    const from = "203.0.113.77";
    const tries = [];
    for (let n = 0; n < 12; n++)
      tries.push(
        await status(
          request("POST", "/v1/email-verifications/confirm", {
            body: { token, password: `wrong one no ${n}` },
            headers: { "cf-connecting-ip": from },
          }),
        ),
      );
    expect(tries[0]).toBe(403);
    expect(tries.at(-1)).toBe(429);
  });

  it("that an account has lost to its mailbox's owner is sent no link", async () => {
    const squatter = await signedUp();
    await reset(squatter.user.email);
    await answered(204, confirmReset(await mailedToken(squatter.user.email, "pwp", 2)));
    const again = request("POST", "/v1/email-verifications", { token: squatter.token });
    expect(await answered(409, again)).toMatchObject({ code: "no_address" });
  });

  it("that is not confirmed uses its own tenant and invites nobody, unless UNVERIFIED_MAY says so", async () => {
    const ada = await signedUp();
    await answered(201, request("POST", "/v1/projects", { token: ada.token, body: { name: "Roof" } }));
    const invite = () => post("/v1/invitations", { email: someone(), role: "viewer" }, ada.token);
    expect(await answered(403, invite())).toMatchObject({ code: "email_not_verified" });
    settings.UNVERIFIED_MAY = "invite";
    await answered(201, invite());
    settings.UNVERIFIED_MAY = "use";
    await answered(204, confirmEmail(await mailedToken(ada.user.email, "pwv")));
    await answered(201, invite());
  });

  it("is sent another link on demand, and then only the latest is good", async () => {
    const ada = await signedUp();
    const first = await mailedToken(ada.user.email, "pwv");
    await answered(202, request("POST", "/v1/email-verifications", { token: ada.token }));
    const second = await mailedToken(ada.user.email, "pwv", 2);
    expect(await status(confirmEmail(first))).toBe(410);
    await answered(204, confirmEmail(second));
    // Nothing is left to confirm: no mail.
    await answered(202, request("POST", "/v1/email-verifications", { token: ada.token }));
    expect(await mailsTo(ada.user.email)).toHaveLength(2);
  });

  it("is never confirmed by reading: a GET of the link's page and of the route changes nothing", async () => {
    const ada = await signedUp();
    const token = await mailedToken(ada.user.email, "pwv");
    for (const path of [`/v1/email-verifications/confirm?token=${token}`, `/v1/email-verifications/confirm`])
      expect(await status(request("GET", path))).toBe(405);
    expect(await me(ada.token)).toMatchObject({ email_verified: false });
    await answered(204, confirmEmail(token));
  });
});

describe("a password", () => {
  it.each([
    ["common", "password123"],
    ["common, in capitals", "PASSWORD123"],
    ["of seven characters", "abc def"],
    ["of 257 characters", "ab".repeat(128) + "c"],
  ])("is refused when it is %s, at sign-up, reset and change", async (_, password) => {
    const ada = await verified();
    const refused = async (response: Promise<Response>) =>
      expect(await answered(422, response)).toMatchObject({ errors: [{ pointer: "/password" }] });
    await refused(
      post("/v1/signup", {
        email: someone(),
        password,
        tenant: { name: "x", slug: crypto.randomUUID().slice(0, 20) },
      }),
    );
    await refused(post("/v1/me/password", { current_password: PASSWORD, password }, ada.token));
    await reset(ada.user.email);
    const token = await mailedToken(ada.user.email, "pwp", 2);
    await refused(confirmReset(token, password));
    // The link is still good.
    await answered(204, confirmReset(token));
  });

  it("is refused when it holds the address", async () => {
    const ada = await verified();
    const password = `my ${ada.user.email.toUpperCase()}!`;
    expect(
      await answered(422, post("/v1/me/password", { current_password: PASSWORD, password }, ada.token)),
    ).toMatchObject({ errors: [{ pointer: "/password" }] });
  });

  it("of 256 characters works, in any script", async () => {
    const ada = await verified();
    const password = "пароль 密码 ".repeat(40).slice(0, 256);
    await answered(204, post("/v1/me/password", { current_password: PASSWORD, password }, ada.token));
    expect(await signsIn(ada.user.email, password)).toBe(201);
  });

  it("is changed by whoever knows it; every other session ends, in all tenants, and a mail says so", async () => {
    const ada = await verified();
    const other = await signIn(ada.user.email);
    const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
    const second = await answered<Session>(
      201,
      post("/v1/signup", { email: ada.user.email, password: PASSWORD, tenant: { name: slug, slug } }),
    );
    const wrong = post("/v1/me/password", { current_password: OTHER, password: OTHER }, ada.token);
    expect(await answered(403, wrong)).toMatchObject({ code: "wrong_password" });
    await answered(204, post("/v1/me/password", { current_password: PASSWORD, password: OTHER }, ada.token));
    expect(await status(request("GET", "/v1/me", { token: ada.token }))).toBe(200);
    for (const { access_token: token, refresh_token } of [other, second]) {
      expect(await status(request("GET", "/v1/me", { token }))).toBe(401);
      expect(await status(post("/v1/sessions/refresh", { refresh_token }))).toBe(401);
    }
    expect(await signsIn(ada.user.email, PASSWORD)).toBe(401);
    expect((await mailsTo(ada.user.email, 2)).at(-1)?.body.subject).toMatch(/password/i);
  });

  it("is reset by the mailed link, once; every session ends, and what was begun with the old one", async () => {
    const ada = await verified();
    const { email } = ada.user;
    await reset(email);
    const first = await mailedToken(email, "pwp", 2);
    await reset(email);
    const token = await mailedToken(email, "pwp", 3);
    expect(await status(confirmReset(first))).toBe(410);
    // Whoever has the session has begun to take the address elsewhere.
    await answered(202, post("/v1/me/email", { email: someone(), password: PASSWORD }, ada.token));
    await answered(204, confirmReset(token));
    expect(await status(confirmReset(token, "a third one, for later"))).toBe(410);
    expect(await status(request("GET", "/v1/me", { token: ada.token }))).toBe(401);
    expect(await status(post("/v1/sessions/refresh", { refresh_token: ada.refresh_token }))).toBe(401);
    expect([await signsIn(email, PASSWORD), await signsIn(email, OTHER)]).toEqual([401, 201]);
    const { rows } = {
      rows: await stage`select kind from control.mailed_links where user_id = ${ada.user.id}`,
    };
    expect(rows).toEqual([]);
  });

  it("is not reset after 30 minutes", async () => {
    const ada = await verified();
    await reset(ada.user.email);
    const token = await mailedToken(ada.user.email, "pwp", 2);
    const [row] = await stage`select extract(epoch from expires_at - now()) as s from control.mailed_links
      where user_id = ${ada.user.id} and kind = 'reset'`;
    expect(Number(row?.["s"])).toBeGreaterThan(1700);
    expect(Number(row?.["s"])).toBeLessThanOrEqual(1800);
    await stage`update control.mailed_links set expires_at = now() where user_id = ${ada.user.id}`;
    expect(await status(confirmReset(token))).toBe(410);
  });

  it("reset 10 times at once with one link is set once", async () => {
    const ada = await verified();
    await reset(ada.user.email);
    const token = await mailedToken(ada.user.email, "pwp", 2);
    const all = await Promise.all(
      Array.from({ length: 10 }, async (_, n) => ({
        n,
        status: await status(confirmReset(token, `${OTHER} ${n}`)),
      })),
    );
    const won = all.filter((each) => each.status === 204);
    expect(won).toHaveLength(1);
    expect(all.filter((each) => each.status === 410)).toHaveLength(9);
    expect(await signsIn(ada.user.email, `${OTHER} ${won[0]?.n}`)).toBe(201);
  });

  it("of an account that nobody confirmed is not reset: it gives way to the mailbox's own, or is confirmed by its maker", async () => {
    const squatter = await signedUp();
    const { email } = squatter.user;
    await reset(email);
    const { text } = (await mailsTo(email, 2))[1]?.body ?? { text: "" };
    expect(text).toContain("#verification=pwv_");
    await answered(204, confirmReset(await mailedToken(email, "pwp", 2)));
    expect(await signsIn(email, PASSWORD)).toBe(401);
    // The mailbox's owner is in no tenant yet, hears so, and makes one; the squatter has theirs, and no address.
    expect(await answered(403, post("/v1/sessions", { email, password: OTHER }))).toMatchObject({
      code: "no_tenant",
    });
    const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
    const owner = await answered<Session>(
      201,
      post("/v1/signup", { email, password: OTHER, tenant: { name: slug, slug } }),
    );
    expect(await me(owner.access_token)).toMatchObject({ email_verified: true, other_tenants: [] });
    expect(await me(squatter.token)).toMatchObject({ user: { id: squatter.user.id }, email_verified: false });
    expect((await me(squatter.token)).user.email).not.toBe(email);

    // Until they add one, with a password that is as good as any new one.
    for (const password of ["short", "password123"])
      await answered(422, post("/v1/me/email", { email: someone(), password }, squatter.token));
    const own = someone();
    await answered(202, post("/v1/me/email", { email: own, password: "the squatter's own" }, squatter.token));
    await answered(204, post("/v1/email-changes/confirm", { token: await mailedToken(own, "pwe") }));
    expect(await me(squatter.token)).toMatchObject({ user: { email: own }, email_verified: true });
    expect(await signsIn(own, "the squatter's own")).toBe(201);
  });

  it("of an account that its maker confirms from the same mail is reset as any other", async () => {
    const ada = await signedUp();
    await reset(ada.user.email);
    await answered(204, confirmEmail(await mailedToken(ada.user.email, "pwv", 2)));
    await answered(204, confirmReset(await mailedToken(ada.user.email, "pwp", 2)));
    expect((await signIn2(ada.user.email)).user.id).toBe(ada.user.id);
  });
});

const signIn2 = (email: string) => answered<Session>(201, post("/v1/sessions", { email, password: OTHER }));

describe("an address that changes", () => {
  const change = (ada: SignedIn, email: string, password = PASSWORD) =>
    post("/v1/me/email", { email, password }, ada.token);

  it("is confirmed from the new mailbox, with the same password, and members and mails follow", async () => {
    const ada = await verified();
    const email = someone();
    expect(await answered(403, change(ada, email, OTHER))).toMatchObject({ code: "wrong_password" });
    await answered(202, change(ada, email));
    expect((await me(ada.token)).user.email).toBe(ada.user.email);
    await answered(204, post("/v1/email-changes/confirm", { token: await mailedToken(email, "pwe") }));
    expect(await me(ada.token)).toMatchObject({ user: { email }, email_verified: true });
    expect([await signsIn(ada.user.email, PASSWORD), await signsIn(email, PASSWORD)]).toEqual([401, 201]);
    const members = await answered<{ data: { email: string }[] }>(
      200,
      request("GET", "/v1/members", { token: ada.token }),
    );
    expect(members.data).toMatchObject([{ email }]);
  });

  it("is brought back from the old mailbox within seven days: sessions and factors since then go", async () => {
    const ada = await verified();
    const email = someone();
    await answered(202, change(ada, email));
    await answered(204, post("/v1/email-changes/confirm", { token: await mailedToken(email, "pwe") }));
    const undo = await mailedToken(ada.user.email, "pwu", 2);
    // Whoever took it has changed the password as well, and moved it on.
    const password = "of whoever took it";
    await answered(204, post("/v1/me/password", { current_password: PASSWORD, password }, ada.token));
    const further = someone();
    await answered(202, change(ada, further, password));
    await answered(204, post("/v1/email-changes/confirm", { token: await mailedToken(further, "pwe") }));

    await answered(204, post("/v1/email-changes/undo", { token: undo }));
    expect(await status(request("GET", "/v1/me", { token: ada.token }))).toBe(401);
    expect(await signsIn(ada.user.email, PASSWORD)).toBe(201);
    for (const address of [email, further])
      for (const known of [PASSWORD, password]) expect(await signsIn(address, known)).toBe(401);
    expect(await status(post("/v1/email-changes/undo", { token: undo }))).toBe(410);
    const taken = await mailedToken(email, "pwu", 3);
    expect(await status(post("/v1/email-changes/undo", { token: taken }))).toBe(410);
  });

  it("is mailed to no more than a few mailboxes a minute, whichever they are", async () => {
    const ada = await signedUp();
    const tries = [];
    for (let n = 0; n < 8; n++) tries.push(await status(change(ada, someone())));
    expect(tries[0]).toBe(202);
    expect(tries.at(-1)).toBe(429);
  });

  it("goes to no address that another account has confirmed, and takes one that nobody has", async () => {
    const [ada, bob, squatter] = [await verified(), await verified(), await signedUp()];
    await answered(202, change(ada, bob.user.email));
    const token = await mailedToken(bob.user.email, "pwe", 2);
    expect(await answered(409, post("/v1/email-changes/confirm", { token }))).toMatchObject({
      code: "email_taken",
    });
    expect((await me(bob.token)).user.email).toBe(bob.user.email);
    await answered(202, change(ada, squatter.user.email));
    await answered(
      204,
      post("/v1/email-changes/confirm", { token: await mailedToken(squatter.user.email, "pwe", 2) }),
    );
    expect((await me(ada.token)).user.email).toBe(squatter.user.email);
    expect(await me(squatter.token)).toMatchObject({ user: { id: squatter.user.id }, email_verified: false });
  });

  it("is void once the password has changed", async () => {
    const ada = await verified();
    const email = someone();
    await answered(202, change(ada, email));
    await answered(204, post("/v1/me/password", { current_password: PASSWORD, password: OTHER }, ada.token));
    const token = await mailedToken(email, "pwe");
    expect(await status(post("/v1/email-changes/confirm", { token }))).toBe(410);
  });
});

describe("sign-up that verifies first", () => {
  it("answers 202 for a new and for a taken address, with one mail each, and makes the tenant by the link", async () => {
    settings.SIGN_UP = "verify_first";
    const taken = await newTenant();
    const signUp = (email: string, slug: string) =>
      post("/v1/signup", { email, password: PASSWORD, tenant: { name: slug, slug } });
    for (const [email, earlier] of [
      [someone(), 0],
      [taken.user.email, 0],
    ] as const) {
      const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
      const response = await signUp(email, slug);
      expect([response.status, await response.text()]).toEqual([202, ""]);
      const token = await mailedToken(email, "pws", earlier + 1);
      expect(await stage`select from control.tenants where slug = ${slug}`).toEqual([]);
      // Who reads the mailbox and did not sign up makes no tenant with a stranger's password.
      expect(await answered(422, confirmEmail(token))).toMatchObject({ errors: [{ pointer: "/password" }] });
      expect(await answered(403, confirmEmail(token, OTHER))).toMatchObject({ code: "wrong_password" });
      expect(await stage`select from control.tenants where slug = ${slug}`).toEqual([]);
      await answered(204, confirmEmail(token, PASSWORD));
      expect(await status(confirmEmail(token, PASSWORD))).toBe(410);
      expect(
        await stage`select u.email, u.email_verified_at is not null as is_verified from control.users u
          join control.memberships m on m.user_id = u.id join control.tenants t on t.id = m.tenant_id where t.slug = ${slug}`,
      ).toEqual([{ email, is_verified: true }]);
    }
    // The account that was there has its own password still.
    const [row] = await stage`select password_hash from control.users where id = ${taken.user.id}`;
    expect(row?.["password_hash"]).toMatch(/A{43}$/);
  });
});

describe("one's own account", () => {
  it("has a name and a language, by merge patch", async () => {
    const ada = await newTenant();
    const patch = (body: object) => request("PATCH", "/v1/me", { token: ada.token, body });
    expect(await answered(200, patch({ name: " Ada ", locale: "de-at" }))).toMatchObject({
      user: { name: "Ada", locale: "de-AT" },
    });
    expect(await answered(200, patch({ name: null }))).toMatchObject({
      user: { name: null, locale: "de-AT" },
    });
    for (const body of [{ locale: "no language" }, { name: "" }, { email: "x@y.test" }])
      await answered(422, patch(body));
  });

  it("is shown whole to its person, without hashes and secrets, and to nobody else", async () => {
    const ada = await signedUp();
    const data = await answered<object>(200, request("GET", "/v1/me/data", { token: ada.token }));
    expect(data).toMatchObject({
      user: { id: ada.user.id, email: ada.user.email, email_verified_at: null },
      memberships: [{ tenant_id: ada.tenant.id, role: "owner" }],
      sessions: [{ id: ada.session.id, tenant_id: ada.tenant.id }],
      factors: [],
    });
    expect(JSON.stringify(data)).not.toMatch(/scrypt|hash|secret/);
  });

  it("is not ended by the last owner of a tenant, who is told of which", async () => {
    const ada = await newTenant();
    const ending = () => request("DELETE", "/v1/me", { token: ada.token });
    expect(await answered(409, ending())).toMatchObject({
      code: "owner_of_tenants",
      tenants: [{ id: ada.tenant.id, slug: ada.tenant.slug }],
    });
    await newMember(ada.tenant.id, "owner");
    await answered(204, ending());
    expect(await status(ending())).toBe(401);
    expect(await stage`select from control.users where id = ${ada.user.id}`).toEqual([]);
  });

  it("leaves every tenant, where what they made stays without a name, and the trail says that they left", async () => {
    const ada = await newTenant();
    const bob = await newMember(ada.tenant.id, "member");
    const project = await answered<{ id: string }>(
      201,
      request("POST", "/v1/projects", { token: bob.token, body: { name: "Roof" } }),
    );
    await answered(204, request("DELETE", "/v1/me", { token: bob.token }));
    expect(await status(request("GET", "/v1/projects", { token: bob.token }))).toBe(401);
    const made = request("GET", `/v1/projects/${project.id}`, { token: ada.token });
    expect(await answered(200, made)).toMatchObject({ created_by: bob.user.id });
    const events = await answered<{ data: object[] }>(
      200,
      request("GET", "/v1/audit-events", { token: ada.token }),
    );
    expect(events.data).toContainEqual(
      expect.objectContaining({
        action: "delete",
        resource: "memberships",
        resource_id: bob.user.id,
        actor: { id: bob.user.id, type: "user", name: null },
      }),
    );
    // Nothing of theirs is left anywhere but that id.
    for (const table of ["members", "former_members"])
      expect(await stage.query(`select from public.${table} where id = $1`, [bob.user.id])).toEqual([]);
    const placesOf = async (email: string) =>
      (
        await stage.query(
          `select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'r' and n.nspname in ('control', 'public') and query_to_xml(format(
           'select 1 from %I.%I x where x::text like %L limit 1', nspname, relname, $1::text), true, true, '')::text like '%<row%'`,
          [`%${email}%`],
        )
      ).map(({ relname }) => relname);
    expect(await placesOf(bob.user.email)).toEqual([]);
    expect(new Set(await placesOf(ada.user.email))).toEqual(new Set(["mailed_links", "members", "users"]));
  });
});

describe("sessions", () => {
  const CHROME =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
  const FIREFOX = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0";
  const signInFrom = (email: string, agent: string) =>
    answered<Session>(
      201,
      request("POST", "/v1/sessions", {
        body: { email, password: PASSWORD },
        headers: { "user-agent": agent },
      }),
    );

  it("say on what device they are, and a new one is told by mail, another version of it is not", async () => {
    const ada = await verified();
    const { email } = ada.user;
    await signInFrom(email, CHROME);
    const told = (await mailsTo(email, 2))[1]?.body;
    expect(told?.subject).toMatch(/new/i);
    expect(told?.text).toContain(CHROME);
    await signInFrom(email, CHROME.replace("142", "143"));
    const { access_token: token } = await signInFrom(email, FIREFOX);
    expect((await mailsTo(email, 3)).map(({ body }) => body.text.includes("Firefox"))).toEqual([
      false,
      false,
      true,
    ]);
    const list = await answered<{ data: { device: string; country: null; current: boolean }[] }>(
      200,
      request("GET", "/v1/sessions", { token }),
    );
    expect(list.data.map(({ device, current }) => [device, current])).toEqual([
      ["Firefox on macOS", true],
      ["Chrome on Linux", false],
      ["Chrome on Linux", false],
      ["", false],
    ]);
  });
});
