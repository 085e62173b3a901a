import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { isFetchable, isIssuerUrl } from "../src/identity/issuer-url.ts";
import { readSettings } from "../src/settings.ts";
import { answered, newMember, newTenant, request, type Row, type SignedIn } from "./support/client.ts";
import { AUDIENCE, exchange, exchanged, expectRefused, newIssuer, trust } from "./support/issuer.ts";

const MINUTE = 60_000;

let owner: SignedIn;
beforeAll(async () => {
  owner = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

/** Somebody whom a new issuer of the tenant vouches for. */
async function trusted() {
  const issuer = newIssuer();
  await trust(owner, issuer);
  return { issuer, sign: (signing = {}) => issuer.sign({ email: "ann@acme.test" }, signing) };
}

/** Lets so much time go by, in ms, for what is remembered here; not for tokens, whose end jose takes from Date itself. */
function pass(ms: number): void {
  const then = Date.now() + ms;
  vi.spyOn(Date, "now").mockImplementation(() => then);
}

/** Expects the answer that an issuer which does not answer gets its tenant, and what was logged of it. */
async function expectOutOfReach(token: string): Promise<string> {
  const lines = vi.spyOn(console, "error").mockImplementation(() => {});
  const response = await exchange(token);
  expect(response.status).toBe(503);
  expect(response.headers.get("retry-after")).toBe("10");
  expect(lines).toHaveBeenCalledTimes(1);
  const line = JSON.stringify(lines.mock.lastCall);
  lines.mockRestore();
  return line;
}

describe("an issuer's URL", () => {
  const good = [
    "https://accounts.google.com",
    "https://acme.eu.auth0.com/",
    "https://login.microsoftonline.com/8b8b6c5e-0000-4000-8000-000000000000/v2.0",
    "https://id.acme.test/realms/main",
    "https://xn--bcher-kva.example",
  ];
  it.each(good)("%s can be registered", (url) => {
    expect(isIssuerUrl(url)).toBe(true);
  });

  const inside = [
    "http://id.acme.test",
    "https://127.0.0.1",
    "https://127.1",
    "https://2130706433",
    "https://0x7f000001",
    "https://0x7f.0.0.1",
    "https://0177.0.0.1",
    "https://127。0。0。1",
    "https://１２７.0.0.1",
    "https://0",
    "https://10.0.0.1",
    "https://172.16.0.1",
    "https://192.168.1.1",
    "https://100.64.0.1",
    "https://169.254.169.254",
    "https://8.8.8.8",
    "https://[::1]",
    "https://[::]",
    "https://[fd00::1]",
    "https://[fe80::1]",
    "https://[::ffff:127.0.0.1]",
    "https://[::ffff:7f00:1]",
    "https://[64:ff9b::7f00:1]",
    "https://localhost",
    "https://LOCALHOST",
    "https://id.localhost",
    "https://localhost.localdomain",
    "https://intranet",
    "https://metadata.google.internal",
    "https://printer.local",
    "https://router.lan",
    "https://kube.svc.cluster.local",
    "https://id.acme.test.",
    "https://localhost.",
    "https://1.0.0.127.in-addr.arpa",
    "https://acme.onion",
  ];
  const odd = [
    "https://id.acme.test:8443",
    "https://id.acme.test:443",
    "https://id.acme.test:80",
    "https://user@id.acme.test",
    "https://user:password@id.acme.test",
    "https://id.acme.test@127.0.0.1",
    "https://id.acme.test?x=1",
    "https://id.acme.test/#x",
    "https://ID.acme.test",
    "https://id.acme.test/a/../b",
    "https://id.acme.test/%2e%2e/b",
    "https:\\\\id.acme.test",
    "https://id.acme.test\\@localhost",
    " https://id.acme.test",
    "https://id.acme.test\n",
    "https://id.ac\tme.test",
    "https:id.acme.test",
    "https://%6cocalhost",
    "https://id_.acme.test",
    "https://-id.acme.test",
    "https://.acme.test",
    "https://a..test",
    `https://${"a.".repeat(130)}test`,
    "ftp://id.acme.test",
    "file:///etc/passwd",
    "data:application/json,{}",
    "javascript:0",
    "id.acme.test",
    "",
  ];
  const own = [
    settings.ISSUER,
    `${settings.ISSUER}/`,
    `${settings.ISSUER}/x`,
    settings.ISSUER.replace("https", "http"),
  ];
  it.each([...inside, ...odd, ...own])("%j is refused", async (url) => {
    expect(isIssuerUrl(url)).toBe(false);
    const body = { issuer: url, audience: AUDIENCE, email_domains: ["acme.test"] };
    const response = await request("POST", "/v1/issuers", { token: owner.token, body });
    expect(response.status).toBe(422);
    const { errors } = await response.json<{ errors: { pointer: string }[] }>();
    expect(new Set(errors.map(({ pointer }) => pointer))).toEqual(new Set(["/issuer"]));
  });

  it("may be on loopback only where the configuration says so, and never elsewhere inside", () => {
    const [local = ""] = settings.LOCAL_ISSUERS;
    expect(isIssuerUrl(`${local}/x`)).toBe(true);
    for (const other of [
      local.replace("127.0.0.1", "localhost"),
      local.replace(/\d+$/, "1"),
      local.replace("http", "https"),
    ])
      expect(isIssuerUrl(`${other}/x`)).toBe(false);
    expect(isFetchable(local.replace("//", "//user@"))).toBe(false);
    const variables = (LOCAL_ISSUERS: string) => ({ LOCAL_ISSUERS });
    for (const origins of [
      "http://169.254.169.254",
      "http://10.0.0.1:80",
      "https://id.acme.test",
      `${local}/x`,
      "http://127.0.0.1.nip.io",
    ])
      expect(() => readSettings(variables(origins))).toThrow("LOCAL_ISSUERS is not well formed");
    expect(() => readSettings(variables(`${local},http://localhost:9000`))).not.toThrow("LOCAL_ISSUERS");
  });
});

describe("/v1/issuers", () => {
  it("is for admins", async () => {
    const member = await newMember(owner.tenant.id, "member");
    const id = crypto.randomUUID();
    for (const [method, path, body] of [
      ["GET", "", undefined],
      ["POST", "", {}],
      ["GET", `/${id}`, undefined],
      ["PATCH", `/${id}`, {}],
      ["DELETE", `/${id}`, undefined],
    ] as const)
      expect((await request(method, `/v1/issuers${path}`, { token: member.token, body })).status).toBe(403);
  });

  it("keeps an issuer as it was given, and changes what is patched", async () => {
    const { token } = await newTenant();
    const body = {
      issuer: "https://id.acme.test",
      audience: "app",
      role_claim: "groups",
      role_map: { boss: "admin" },
      default_role: "viewer",
      email_domains: ["acme.test", "acme.example"],
      just_in_time: true,
    };
    const made = await answered<Row>(201, request("POST", "/v1/issuers", { token, body }));
    expect(made).toMatchObject(body);
    const path = `/v1/issuers/${made.id}`;
    expect(await answered(200, request("GET", path, { token }))).toEqual(made);
    const patched = (patch: object) => answered(200, request("PATCH", path, { token, body: patch }));
    expect(await patched({ default_role: null, role_map: { staff: "member" } })).toMatchObject({
      ...body,
      default_role: null,
      role_map: { boss: "admin", staff: "member" },
    });
    expect(await patched({ role_map: { boss: null } })).toMatchObject({ role_map: { staff: "member" } });
    expect(await patched({ just_in_time: false })).toMatchObject({ role_map: { staff: "member" } });
    expect(await patched({ role_map: null })).toHaveProperty("role_map", {});
    expect(await answered(200, request("GET", "/v1/issuers", { token }))).toMatchObject({
      data: [{ id: made.id }],
    });

    expect((await request("POST", "/v1/issuers", { token, body })).status).toBe(409);
    const other = await answered<Row>(
      201,
      request("POST", "/v1/issuers", { token, body: { ...body, audience: "b" } }),
    );
    expect(other.id).not.toBe(made.id);
    const stranger = await newTenant();
    for (const method of ["GET", "PATCH", "DELETE"] as const)
      expect(
        (await request(method, path, { token: stranger.token, body: method === "PATCH" ? {} : undefined }))
          .status,
      ).toBe(404);
    const plain = { issuer: body.issuer, audience: "app", email_domains: ["acme.test"] };
    expect(
      await answered(201, request("POST", "/v1/issuers", { token: stranger.token, body: plain })),
    ).toMatchObject({
      role_claim: null,
      role_map: {},
      default_role: null,
      just_in_time: false,
    });
  });

  it.each([
    ["/email_domains", { email_domains: [] }],
    ["/email_domains/0", { email_domains: ["Acme.test"] }],
    ["/email_domains/0", { email_domains: ["test"] }],
    ["/email_domains/0", { email_domains: ["*.test"] }],
    ["/role_map/boss", { role_map: { boss: "owner" } }],
    ["/default_role", { default_role: "owner" }],
    ["/audience", { audience: "" }],
    ["/client_secret", { client_secret: "x" }],
  ])("refuses at %s %j", async (pointer, fault) => {
    const body = { issuer: "https://id.acme.test", audience: "c", email_domains: ["acme.test"], ...fault };
    const response = await request("POST", "/v1/issuers", { token: owner.token, body });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ errors: [{ pointer }] });
  });

  it.each([{ issuer: "https://id.acme.test" }, { audience: "d" }])("does not patch %j", async (body) => {
    const { id } = await trust(owner, newIssuer());
    expect((await request("PATCH", `/v1/issuers/${id}`, { token: owner.token, body })).status).toBe(422);
  });
});

describe("an issuer's keys", () => {
  it("are fetched once in ten minutes", async () => {
    const { issuer, sign } = await trusted();
    const token = await sign();
    for (let index = 0; index < 3; index++) await exchanged(token);
    expect(await issuer.fetches()).toBe(1);
    pass(9 * MINUTE);
    await exchanged(token);
    expect(await issuer.fetches()).toBe(1);
    pass(11 * MINUTE);
    await exchanged(token);
    expect(await issuer.fetches()).toBe(2);
  });

  it("are found again when they rotate, and asked for no more than once a minute", async () => {
    const { issuer, sign } = await trusted();
    const old = await sign();
    await exchanged(old);
    await issuer.rotate();
    const renewed = await sign();
    await expectRefused(exchange(renewed));
    expect(await issuer.fetches()).toBe(1);
    pass(MINUTE + 1000);
    await exchanged(renewed);
    expect(await issuer.fetches()).toBe(2);
    // The old key is withdrawn.
    await expectRefused(exchange(old), /did not sign/);
    for (let index = 0; index < 5; index++)
      await expectRefused(exchange(await sign({ header: { kid: `made-up-${index}` } })));
    expect(await issuer.fetches()).toBe(2);
  });

  it.each([
    ["fail", /answered 500/],
    ["redirect", /answered 302/],
    ["huge", /larger than 65536 bytes/],
    ["no-json", /SyntaxError/],
    ["other-issuer", /another issuer's/],
    ["keys-inside", /not to be fetched/],
    ["keys-elsewhere", /not to be fetched/],
    ["keys-redirect", /answered 302/],
  ] as const)(
    "are not taken from one that does %s: 503, one log line, and ten seconds of rest",
    async (behaviour, cause) => {
      const { issuer, sign } = await trusted();
      const token = await sign();
      await issuer.behave(behaviour);
      expect(await expectOutOfReach(token)).toMatch(cause);
      await issuer.behave("answer");
      await expectOutOfReach(token);
      expect(await issuer.fetches()).toBe(1);
      pass(11_000);
      await exchanged(token);
    },
  );

  it("are waited for three seconds, while other issuers' tokens and all else go on", async () => {
    const [slow, quick] = [await trusted(), await trusted()];
    const token = await slow.sign();
    await slow.issuer.behave("hang");
    const order: string[] = [];
    const timeout = vi.spyOn(AbortSignal, "timeout");
    await Promise.all([
      expectOutOfReach(token).then(() => order.push("hanging")),
      exchanged(await quick.sign()).then(() => order.push("quick")),
      request("GET", "/v1/projects", { token: owner.token }).then(() => order.push("request")),
    ]);
    expect(order.at(-1)).toBe("hanging");
    expect(timeout).toHaveBeenCalledWith(3_000);
  });

  it("serve for an hour while their issuer is out, and no longer", async () => {
    const { issuer, sign } = await trusted();
    const token = await sign();
    await exchanged(token);
    await issuer.behave("fail");
    const lines = vi.spyOn(console, "error").mockImplementation(() => {});
    pass(59 * MINUTE);
    await exchanged(token);
    await exchanged(token);
    expect(lines).toHaveBeenCalledTimes(1);
    expect(await issuer.fetches()).toBe(2);
    vi.restoreAllMocks();
    pass(61 * MINUTE);
    await expectOutOfReach(token);
  });

  it("come from the edge to an isolate that does not know them", async () => {
    const { issuer, sign } = await trusted();
    const token = await sign();
    await exchanged(token);
    // Another isolate: the same module once more, which remembers nothing.
    const again = "../src/identity/issuer-keys.ts?again";
    const { issuerKey }: typeof import("../src/identity/issuer-keys.ts") = await import(again);
    const key = await issuerKey(issuer.url, { alg: "ES256" }, () => {});
    expect(key.type).toBe("public");
    expect(await issuer.fetches()).toBe(1);
  });
});
