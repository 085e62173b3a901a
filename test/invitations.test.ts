import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import type { Session } from "../src/identity/session.ts";
import {
  answered,
  newMember,
  newTenant,
  PASSWORD,
  request,
  signIn,
  signedUp,
  type SignedIn,
  stage,
} from "./support/client.ts";
import { countCalls } from "./support/calls.ts";
import { mailsTo } from "./support/mails.ts";

type Invitation = { id: string; email: string; role: string; invited_by: string; expires_at: string };
type Page = { data: Invitation[]; next_cursor: string | null };
type Me = { user: { id: string; email: string }; email_verified: boolean };

const MISSING = "01234567-89ab-7cde-8f01-23456789abcd";
const begun = { ...settings };

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
});
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

const someone = (at = crypto.randomUUID()) => `${at}@${crypto.randomUUID().slice(0, 8)}.test`;
const invite = (email: string, role = "member", by = ada) =>
  request("POST", "/v1/invitations", { token: by.token, body: { email, role } });
const accept = (token: string, password?: string) =>
  request("POST", "/v1/invitations/accept", { body: { token, password } });
const list = () => answered<Page>(200, request("GET", "/v1/invitations", { token: ada.token }));

async function tokenTo(email: string): Promise<string> {
  const text = (await mailsTo(email)).at(-1)?.body.text ?? "";
  return /pwi_[\w-]+/.exec(text)?.[0] ?? `no token in: ${text}`;
}
/** The token of an invitation, as whoever reads the mail has it. */
async function invited(email: string, role = "member", by = ada): Promise<string> {
  await answered(201, invite(email, role, by));
  return tokenTo(email);
}
/** What is told to whoever has an invitation that is no good. */
async function refusal(response: Response) {
  const { instance: _, ...told } = await response.json<Record<string, unknown>>();
  return { status: response.status, ...told };
}

describe("an invitation", () => {
  it("makes a new user with the password, a member of the tenant, and a session", async () => {
    const email = someone();
    const response = await invite(email.toUpperCase(), "admin");
    const invitation = await answered<Invitation>(201, response);
    expect(response.headers.get("location")).toBe(`/v1/invitations/${invitation.id}`);
    expect(invitation).toMatchObject({ email, role: "admin", invited_by: ada.user.id });
    const days = (Date.parse(invitation.expires_at) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(6.99);
    expect(days).toBeLessThanOrEqual(7);

    const session = await answered<Session>(201, accept(await tokenTo(email), PASSWORD));
    expect(session).toMatchObject({
      user: { email },
      tenant: { id: ada.tenant.id, slug: ada.tenant.slug, role: "admin" },
    });
    const me = await answered(200, request("GET", "/v1/me", { token: session.access_token }));
    expect(me).toMatchObject({ role: "admin", user: { email } });
    expect((await signIn(email)).tenant.id).toBe(ada.tenant.id);
    const body = { refresh_token: session.refresh_token };
    expect((await request("POST", "/v1/sessions/refresh", { body })).status).toBe(200);
    expect((await list()).data).toEqual([]);
  });

  it("adds the tenant to a user who exists", async () => {
    const bob = await newTenant();
    const token = await invited(bob.user.email, "viewer");
    const session = await answered<Session>(201, accept(token, PASSWORD));
    expect(session).toMatchObject({ user: bob.user, tenant: { id: ada.tenant.id, role: "viewer" } });
    const me = request("GET", "/v1/me", { token: session.access_token });
    expect(await answered(200, me)).toMatchObject({
      other_tenants: [{ slug: bob.tenant.slug, role: "owner" }],
    });
  });

  it("proves the mailbox: an account that somebody else made with its address gives way, and keeps its tenants", async () => {
    // Somebody signed up with an address that is not theirs.
    const squatter = await signedUp();
    const { email } = squatter.user;
    const token = await invited(email, "admin");
    // Nobody has shown that the account is this mailbox's, so it is not let in as it stands.
    expect(await refusal(await accept(token))).toMatchObject({
      status: 422,
      errors: [{ pointer: "/password" }],
    });
    const session = await answered<Session>(201, accept(token, "the owner's own password"));
    expect(session).toMatchObject({ user: { email }, tenant: { id: ada.tenant.id } });
    expect(session.user.id).not.toBe(squatter.user.id);

    const signing = (password: string, tenant?: string) =>
      request("POST", "/v1/sessions", { body: { email, password, tenant } });
    expect((await signing(PASSWORD)).status).toBe(401);
    await answered(201, signing("the owner's own password"));
    const me = await answered<Me>(200, request("GET", "/v1/me", { token: session.access_token }));
    expect(me).toMatchObject({ email_verified: true, other_tenants: [] });
    // What the squatter made stays theirs, under no address.
    const theirs = await answered<Me>(200, request("GET", "/v1/me", { token: squatter.token }));
    expect(theirs).toMatchObject({
      user: { id: squatter.user.id, email: expect.stringMatching(/@displaced\.invalid$/) },
      email_verified: false,
      tenant: { id: squatter.tenant.id, role: "owner" },
    });
    // From now on the account is known as its mailbox's, and another invitation needs no password.
    const bob = await newTenant();
    const second = await answered<Session>(201, accept(await invited(email, "viewer", bob)));
    expect(second).toMatchObject({ user: session.user, tenant: { id: bob.tenant.id } });
    expect((await request("GET", "/v1/me", { token: session.access_token })).status).toBe(200);
  });

  it("accepted with the account's own password confirms its address, and ends its earlier sessions", async () => {
    const bob = await signedUp();
    const token = await invited(bob.user.email);
    const session = await answered<Session>(201, accept(token, PASSWORD));
    expect(session.user).toEqual(bob.user);
    expect((await request("GET", "/v1/me", { token: bob.token })).status).toBe(401);
    const me = request("GET", "/v1/me", { token: session.access_token });
    expect(await answered(200, me)).toMatchObject({
      email_verified: true,
      other_tenants: [{ id: bob.tenant.id }],
    });
  });

  it("asks a new user for a password of 8 characters, and waits for it", async () => {
    const token = await invited(someone());
    for (const password of [undefined, "", "1234567"]) {
      const response = await accept(token, password);
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({ errors: [{ pointer: "/password" }] });
    }
    await answered(201, accept(token, "8 letter"));
  });

  it("works once: sent again after a lost answer it is the same session, until that is refreshed", async () => {
    const token = await invited(someone());
    const first = await answered<Session>(201, accept(token, PASSWORD));
    const again = await answered<Session>(201, accept(token, PASSWORD));
    expect(again).toMatchObject({ session: first.session, refresh_token: first.refresh_token });
    expect((await accept(token, "another password")).status).toBe(410);
    expect((await request("GET", "/v1/me", { token: first.access_token })).status).toBe(200);
    const body = { refresh_token: first.refresh_token };
    await answered(200, request("POST", "/v1/sessions/refresh", { body }));
    expect((await accept(token, PASSWORD)).status).toBe(410);
  });

  it("accepted 20 times at once makes one member and one session", async () => {
    const email = someone();
    const token = await invited(email);
    const answers = await Promise.all(Array.from({ length: 20 }, () => accept(token, PASSWORD)));
    const sessions = await Promise.all(answers.map((answer) => answered<Session>(201, answer)));
    expect(new Set(sessions.map(({ session }) => session.id)).size).toBe(1);
    const rows = await stage`
      select s.id from users u join memberships m on m.user_id = u.id join sessions s on s.user_id = u.id
      where u.email = ${email}`;
    expect(rows).toHaveLength(1);
  });

  it("of two tenants to one new user, accepted at once, both are good for the same password", async () => {
    const [bob, email] = [await newTenant(), someone()];
    const first = await invited(email);
    const second = await invited(email, "viewer", bob);
    const answers = await Promise.all([accept(first, PASSWORD), accept(second, PASSWORD)]);
    const sessions = await Promise.all(answers.map((answer) => answered<Session>(201, answer)));
    expect(new Set(sessions.map(({ user }) => user.id)).size).toBe(1);
    expect(sessions.map(({ tenant }) => tenant.id)).toEqual([ada.tenant.id, bob.tenant.id]);
  });

  it("tells a used, expired, revoked, replaced, damaged, foreign and made-up one apart in nothing", async () => {
    const used = await invited(someone());
    const { refresh_token } = await answered<Session>(201, accept(used, PASSWORD));
    await request("POST", "/v1/sessions/refresh", { body: { refresh_token } });
    const gone = await accept(used, PASSWORD);
    const told = await refusal(gone);
    expect(told).toMatchObject({ status: 410, type: "/problems/invitation_gone" });

    const email = someone();
    const replaced = await invited(email);
    const expired = await invited(email);
    await stage`
      update invitations set expires_at = now() where email = ${email}`;
    const other = someone();
    const revoked = await invited(other);
    const [{ id } = { id: "" }] = (await list()).data;
    await answered(204, request("DELETE", `/v1/invitations/${id}`, { token: ada.token }));
    const whole = await invited(someone());
    const damaged = [10, 40, 80, 100, whole.length - 2].map(
      (at) => whole.slice(0, at) + (whole[at] === "A" ? "B" : "A") + whole.slice(at + 1),
    );
    const made = [
      "",
      "pwi_",
      "x".repeat(300),
      `${whole}A`,
      whole.slice(4),
      ada.token.slice(0, 500),
      ada.refresh_token,
    ];
    for (const token of [replaced, expired, revoked, ...damaged, ...made])
      for (const password of [PASSWORD, undefined])
        expect(await refusal(await accept(token, password))).toEqual(told);
    await answered(201, accept(whole, PASSWORD));
  });

  it("makes one database request and one object call, and a made-up one makes none", async () => {
    const [token, wrong] = [await invited(someone()), await invited(ada.user.email.replace("owner", "o"))];
    await request("GET", "/v1/tenant/limits", { token: ada.token });
    const calls = countCalls();
    expect((await accept(`${wrong}x`, PASSWORD)).status).toBe(410);
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
    await answered(201, accept(token, PASSWORD));
    expect(calls).toEqual({ object: 1, sql: 1, site: 1 });
  });

  it("is made with one database request and one object call, beside its admission", async () => {
    await request("GET", "/v1/tenant/limits", { token: ada.token });
    const calls = countCalls();
    await answered(201, invite(someone()));
    expect(calls).toEqual({ object: 2, sql: 1, site: 1 });
  });

  it("starts nothing in a suspended tenant, and is good when that is over", async () => {
    const token = await invited(someone());
    const suspend = (status: string) =>
      stage`update control.tenants set status = ${status} where id = ${ada.tenant.id}`;
    await suspend("suspended");
    expect(await refusal(await accept(token, PASSWORD))).toMatchObject({
      status: 403,
      type: "/problems/tenant_suspended",
    });
    await suspend("active");
    await answered(201, accept(token, PASSWORD));
  });

  it("leaves somebody who has become a member meanwhile what they are", async () => {
    const bob = await newTenant();
    const token = await invited(bob.user.email, "owner");
    await stage`
      insert into memberships (tenant_id, user_id, role) values (${ada.tenant.id}, ${bob.user.id}, 'viewer')`;
    expect(await answered<Session>(201, accept(token, PASSWORD))).toMatchObject({
      tenant: { role: "viewer" },
    });
  });

  it("gives no session by a link that was used, once the session of its first use has expired", async () => {
    const token = await invited(someone());
    const { session } = await answered<Session>(201, accept(token, PASSWORD));
    await stage`
      update sessions set expires_at = now() - interval '1 minute' where id = ${session.id}`;
    expect((await accept(token)).status).toBe(410);
  });

  it("accepted again, gives a token that ends with its session as well", async () => {
    const token = await invited(someone());
    const { session } = await answered<Session>(201, accept(token, PASSWORD));
    await stage`
      update sessions set rotated_at = now() - interval '20 minutes' where id = ${session.id}`;
    const again = await answered<Session>(201, accept(token, PASSWORD));
    await answered(204, request("DELETE", "/v1/sessions/current", { token: again.access_token }));
    expect((await request("GET", "/v1/tenant/limits", { token: again.access_token })).status).toBe(401);
  });

  it("brings a removed member back, with nothing of what they had", async () => {
    const bea = await newMember(ada.tenant.id, "admin");
    await answered(204, request("DELETE", `/v1/members/${bea.user.id}`, { token: ada.token }));
    const session = await answered<Session>(201, accept(await invited(bea.user.email, "viewer"), PASSWORD));
    expect(session).toMatchObject({ user: bea.user, tenant: { role: "viewer" } });
    const statusOf = async (token: string) => (await request("GET", "/v1/projects", { token })).status;
    expect(await statusOf(session.access_token)).toBe(200);
    expect(await statusOf(bea.token)).toBe(401);
    const body = { refresh_token: bea.refresh_token };
    expect((await request("POST", "/v1/sessions/refresh", { body })).status).toBe(401);
  });

  it("is in the audit trail, as the one who made its member", async () => {
    const email = someone();
    const { id } = await answered<Invitation>(201, invite(email));
    const { user } = await answered<Session>(201, accept(await tokenTo(email), PASSWORD));
    const events = await answered<{ data: object[] }>(
      200,
      request("GET", "/v1/audit-events", { token: ada.token }),
    );
    const actor = { type: "invitation", id };
    expect(events.data).toMatchObject([
      { actor, action: "delete", resource: "invitations", resource_id: id },
      { actor, action: "create", resource: "memberships", resource_id: user.id },
      {
        actor: { type: "user", id: ada.user.id, name: null },
        action: "create",
        resource: "invitations",
        resource_id: id,
      },
    ]);
  });

  it("is kept as a hash: neither the database nor an answer has the token", async () => {
    const email = someone();
    const told = await (await invite(email)).text();
    const token = await tokenTo(email);
    const [dump] = await stage`
      select json_agg(i)::text as text from invitations i where email = ${email}`;
    const secret = Buffer.from(token.slice(4), "base64url").subarray(32, 64);
    for (const form of [token, secret.toString("hex"), secret.toString("base64url")])
      for (const text of [told, String(dump?.["text"]), JSON.stringify(await list())])
        expect(text).not.toContain(form);
  });
});

describe("inviting", () => {
  it.each([
    ["owner", "owner", 201],
    ["admin", "admin", 201],
    ["admin", "owner", 403],
    ["member", "viewer", 403],
    ["viewer", "viewer", 403],
  ] as const)("by a %s, as %s: %i", async (by, as, status) => {
    const actor = await newMember(ada.tenant.id, by);
    expect((await invite(someone(), as, actor)).status).toBe(status);
  });

  it("a member is 409, and one of another tenant's is as good as anybody", async () => {
    const [bea, bob] = [await newMember(ada.tenant.id, "viewer"), await newTenant()];
    expect(await refusal(await invite(bea.user.email))).toMatchObject({
      status: 409,
      type: "/problems/already_member",
    });
    expect(await mailsTo(bea.user.email)).toEqual([]);
    expect((await invite(bob.user.email)).status).toBe(201);
  });

  it("again replaces the first invitation, its role and its token", async () => {
    const email = someone();
    const first = await invited(email, "admin");
    const second = await invited(email, "viewer");
    const { data } = await list();
    expect(data).toMatchObject([{ email, role: "viewer" }]);
    expect((await accept(first, PASSWORD)).status).toBe(410);
    expect(await answered<Session>(201, accept(second, PASSWORD))).toMatchObject({
      tenant: { role: "viewer" },
    });
  });

  it("at once, many times: one invitation, and one token that is good", async () => {
    const email = someone();
    const answers = await Promise.all(Array.from({ length: 5 }, () => invite(email)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    expect((await list()).data).toHaveLength(1);
    const tokens = (await mailsTo(email)).map(({ body }) => /pwi_[\w-]+/.exec(body.text)?.[0] ?? "");
    const statuses = await Promise.all(tokens.map(async (token) => (await accept(token, PASSWORD)).status));
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
  });

  it("and revoking race with accepting: revoked means nobody came in", async () => {
    for (let round = 0; round < 6; round++) {
      const token = await invited(someone());
      const [{ id } = { id: "" }] = (await list()).data;
      const [session, revoked] = await Promise.all([
        accept(token, PASSWORD),
        request("DELETE", `/v1/invitations/${id}`, { token: ada.token }),
      ]);
      expect([
        [201, 404],
        [410, 204],
      ]).toContainEqual([session.status, revoked.status]);
    }
  });

  it("is refused when the body is not an email and a role", async () => {
    for (const body of [
      {},
      { email: "x", role: "viewer" },
      { email: someone() },
      { email: someone(), role: "king" },
    ])
      expect((await request("POST", "/v1/invitations", { token: ada.token, body })).status).toBe(422);
  });

  it("is listed newest first, a page at a time, and revoked with If-Match", async () => {
    for (const email of ["a@x.test", "b@x.test", "c@x.test"]) await answered(201, invite(email));
    const page = (query: string) =>
      answered<Page>(200, request("GET", `/v1/invitations?limit=2${query}`, { token: ada.token }));
    const first = await page("");
    const second = await page(`&cursor=${first.next_cursor ?? ""}`);
    expect([...first.data, ...second.data].map(({ email }) => email)).toEqual([
      "c@x.test",
      "b@x.test",
      "a@x.test",
    ]);
    const path = `/v1/invitations/${first.data[0]?.id ?? ""}`;
    const shown = await request("GET", path, { token: ada.token });
    expect([shown.status, shown.headers.get("etag")]).toEqual([200, '"1"']);
    const revoke = (etag: string) =>
      request("DELETE", path, { token: ada.token, headers: { "if-match": etag } });
    expect((await revoke('"2"')).status).toBe(412);
    expect((await revoke('"1"')).status).toBe(204);
    expect((await revoke('"1"')).status).toBe(404);
  });

  it("is the tenant's own: another's invitation and none are the same 404", async () => {
    const bob = await newTenant();
    const { id } = await answered<Invitation>(201, invite(someone()));
    for (const method of ["GET", "DELETE"]) {
      const told = async (of: string) =>
        refusal(await request(method, `/v1/invitations/${of}`, { token: bob.token }));
      const missing = await told(MISSING);
      expect(missing.status).toBe(404);
      expect(await told(id)).toEqual(missing);
    }
    expect((await list()).data).toHaveLength(1);
  });
});

describe("the mail", () => {
  it("goes to the invited email through the mail service, with the link", async () => {
    const email = someone();
    await answered(201, invite(email, "viewer"));
    const [delivery, ...more] = await mailsTo(email);
    expect(more).toEqual([]);
    expect(delivery).toMatchObject({
      authorization: `Bearer ${inject("variables")["MAIL_TOKEN"]}`,
      contentType: "application/json",
      body: {
        from: inject("variables")["MAIL_FROM"],
        to: email,
        subject: `Invitation to ${ada.tenant.name}`,
        text: expect.stringContaining(`${settings.ISSUER}/account#invitation=pwi_`),
        html: expect.stringContaining(`href="${settings.ISSUER}/account#invitation=pwi_`),
      },
    });
    expect(delivery?.body.text).toContain(`${ada.user.email} invites you to ${ada.tenant.name}, as viewer.`);
  });

  it("links to the page that INVITATION_URL says", async () => {
    settings.INVITATION_URL = "https://app.partywall.test/join#{token}";
    const email = someone();
    await answered(201, invite(email));
    expect((await mailsTo(email))[0]?.body.text).toContain("https://app.partywall.test/join#pwi_");
  });

  it("has the tenant's name on one line, whatever it is", async () => {
    await answered(
      200,
      request("PATCH", "/v1/tenant", { token: ada.token, body: { name: "Acme\r\nBcc: x@y.test" } }),
    );
    const email = someone();
    await answered(201, invite(email));
    expect((await mailsTo(email))[0]?.body.subject).toBe("Invitation to Acme Bcc: x@y.test");
  });

  it.each([["refused"], ["moved"]])(
    "that is %s makes a 503 that says so; inviting again sends another",
    async (at) => {
      const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
      const email = someone(at);
      for (const attempt of [1, 2]) {
        expect(await refusal(await invite(email))).toMatchObject({
          status: 503,
          type: "/problems/mail_not_sent",
        });
        expect(await mailsTo(email)).toHaveLength(attempt);
      }
      const told = JSON.stringify(logged.mock.calls);
      expect(told).toContain(`the mail service answered ${at === "moved" ? 307 : 500}`);
      expect(told).not.toContain("pwi_");
      expect(told).not.toContain(settings.MAIL_TOKEN);
      expect((await list()).data).toMatchObject([{ email }]);
      // Whoever has the mail all the same may come in.
      await answered(201, accept(await tokenTo(email), PASSWORD));
    },
  );

  it("that nobody takes makes a 503, soon enough", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    settings.MAIL_URL = "http://127.0.0.1:1/";
    expect((await invite(someone())).status).toBe(503);
    settings.MAIL_URL = begun.MAIL_URL;
    vi.spyOn(scheduler, "wait").mockImplementation(async () => undefined);
    expect((await invite(someone("silent"))).status).toBe(503);
  });

  it("is a 503 that changes nothing where none is set up", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    settings.MAIL_URL = "";
    expect(await refusal(await invite(someone()))).toMatchObject({
      status: 503,
      type: "/problems/mail_not_set_up",
    });
    expect((await list()).data).toEqual([]);
  });

  it("is written into the log only where that is asked for", async () => {
    const logged = vi.spyOn(console, "log").mockImplementation(() => undefined);
    await answered(201, invite(someone()));
    expect(JSON.stringify(logged.mock.calls)).not.toContain("pwi_");
    settings.MAIL_URL = "log";
    const email = someone();
    await answered(201, invite(email));
    expect(JSON.stringify(logged.mock.calls)).toContain("#invitation=pwi_");
    expect(await mailsTo(email)).toEqual([]);
  });
});
