import { describe, expect, it } from "vitest";
import type { Session } from "../src/identity/session.ts";
import { answered, newTenant, PASSWORD, request } from "./support/client.ts";
import { exchange, exchanged, expectRefused, newIssuer, trust } from "./support/issuer.ts";

const unique = () => crypto.randomUUID().slice(0, 8);
const signUp = (email: string) => {
  const slug = `e-${unique()}`;
  return request("POST", "/v1/signup", { body: { email, password: PASSWORD, tenant: { name: "E", slug } } });
};

const GOOD: [local: string, domain: string][] = [
  ["sean.o'hara", "example.test"],
  ["ana", "xn--bcher-kva.example"],
  ["ivan", "xn--80akhbyknj4f.xn--p1ai"],
  ["!#$%&'*+-/=?^_`{|}~", "example.test"],
  ["a", "b-c.d--e.example"],
  ["1", "1.2.example"],
  ["root", "localhost"],
  ["MiXed+Tag", "Example.TEST"],
  ["x".repeat(54), "example.test"],
];
const BAD = [
  "",
  "x",
  "@x.test",
  "a@",
  "a@b@c.test",
  "a b@x.test",
  "a@x .test",
  "a@-x.test",
  "a@x-.test",
  "a@x..test",
  "a@.x.test",
  "a@x.test.",
  "a@x_y.test",
  "a@[127.0.0.1]",
  '"a b"@x.test',
  "Ann <a@x.test>",
  "a,b@x.test",
  "a@x.test\r\nBcc: b@x.test",
  ".a@x.test",
  "a.@x.test",
  "a..b@x.test",
  `${"x".repeat(65)}@x.test`,
  `a@${"x".repeat(64)}.test`,
  `a@${"x.".repeat(125)}test`,
  "ana@bücher.example",
  "josé@x.test",
  "İ@x.test",
  "a@İx.test",
  "\u212a@x.test",
  "a@\u212a.test",
  "ſ@x.test",
  "a@x．test",
];

describe.each(GOOD)("%s@%s", (local, domain) => {
  it("signs up, in and is invited, in any case", async () => {
    const email = `${unique()}${local}@${domain}`;
    const lower = email.toLowerCase();
    const session = await answered<Session>(201, signUp(email));
    expect(session.user.email).toBe(lower);
    const body = { email: ` ${email.toUpperCase()} `, password: PASSWORD };
    expect((await answered<Session>(201, request("POST", "/v1/sessions", { body }))).user).toEqual(
      session.user,
    );
    const { token } = await newTenant();
    const invited = request("POST", "/v1/invitations", { token, body: { email, role: "viewer" } });
    expect(await answered(201, invited)).toMatchObject({ email: lower });
  });
});

it("is taken from an issuer's token as from anybody", async () => {
  const [owner, issuer] = [await newTenant(), newIssuer()];
  const email_domains = GOOD.map(([, domain]) => domain.toLowerCase()).filter((name) => name.includes("."));
  await trust(owner, issuer, { email_domains: [...new Set(email_domains)], default_role: "viewer" });
  for (const [local, domain] of GOOD.filter(([, name]) => name.includes("."))) {
    const token = await exchanged(await issuer.sign({ email: `${local}@${domain}` }));
    const me = answered(200, request("GET", "/v1/me", { token }));
    expect(await me).toMatchObject({ user: { email: `${local}@${domain}`.toLowerCase() } });
  }
});

it.each(BAD)("%j is refused with 422, and from an issuer's token", async (email) => {
  const { token } = await newTenant();
  for (const [refused, pointer] of [
    [await signUp(email), "/email"],
    [await request("POST", "/v1/sessions", { body: { email, password: PASSWORD } }), "/email"],
    [await request("POST", "/v1/invitations", { token, body: { email, role: "viewer" } }), "/email"],
  ] as const) {
    expect(refused.status).toBe(422);
    const { errors } = await refused.json<{ errors: { pointer: string }[] }>();
    expect(errors.map((error) => error.pointer)).toContain(pointer);
  }
  const [owner, issuer] = [await newTenant(), newIssuer()];
  await trust(owner, issuer, { email_domains: ["x.test", "k.test"], default_role: "viewer" });
  await expectRefused(exchange(await issuer.sign({ email })), /claim email/);
});
