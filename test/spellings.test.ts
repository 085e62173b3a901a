import { decodeJwt, type JWTPayload } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { parseList, serializeList } from "structured-headers";
import { verifyAccessToken } from "../src/identity/access-token.ts";
import { hasLowS, withLowS } from "../src/identity/low-s.ts";
import { answered, newProject, newTenant, request, type SignedIn } from "./support/client.ts";
import { es256, seal } from "./support/forge.ts";

// What this server hands out and takes back has one spelling each.

let ada: SignedIn;
beforeAll(async () => {
  ada = await newTenant();
});

describe("an ETag", () => {
  const patch = async (path: string, ifMatch: string) =>
    (await request("PATCH", path, { token: ada.token, body: {}, headers: { "if-match": ifMatch } })).status;
  const newPath = async () => `/v1/projects/${(await newProject(ada.token)).id}`;

  it.each(['W/"1"', '"x", W/"1"', '"x" ,\t"1"', ',"1",', '"a,b", "1"', '"", "1"'])(
    "lets a write through as %s, as a proxy that compresses or a client may spell it",
    async (spelled) => expect(await patch(await newPath(), spelled)).toBe(200),
  );

  it.each([
    '"01"',
    '"+1"',
    '"1.0"',
    '"0x1"',
    '"1e0"',
    'W/"01"',
    '"W/1"',
    '"0"',
    '"9999999999"',
    '"١"',
    '"2"',
  ])("is another one as %s", async (spelled) => expect(await patch(await newPath(), spelled)).toBe(412));

  it.each(["1", 'w/"1"', 'W/ "1"', '"1', '1"', '"1" "1"', '"1";a', '"1 "', "W/*", '*, "1"', '"1", *'])(
    "is none as %s, which is answered with 400",
    async (spelled) => expect(await patch(await newPath(), spelled)).toBe(400),
  );

  it.each(["/.well-known/jwks.json", "/openapi.json", "row"])(
    "of %s answers 304 to a client that has it, and to no other",
    async (where) => {
      const path = where === "row" ? await newPath() : where;
      const get = async (headers: Record<string, string>) =>
        request("GET", path, { token: ada.token, headers });
      const tag = (await get({})).headers.get("etag") ?? "";
      const statusOf = async (ifNoneMatch: string) => (await get({ "if-none-match": ifNoneMatch })).status;
      for (const known of [tag, `W/${tag}`, `"x", ${tag}`, "*"])
        expect([known, await statusOf(known)]).toEqual([known, 304]);
      for (const other of [
        `"x${tag}`,
        `${tag}x`,
        tag.slice(1, -1),
        `${tag.slice(0, -1)} "`,
        `"*"`,
        `x, ${tag}`,
      ])
        expect([other, await statusOf(other)]).toEqual([other, 200]);
    },
  );
});

it("a cursor is refused in another base64url spelling of the same bytes", async () => {
  await Promise.all([newProject(ada.token), newProject(ada.token), newProject(ada.token)]);
  const page = (cursor: string) =>
    request("GET", `/v1/projects?limit=1${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, {
      token: ada.token,
    });
  const { next_cursor: cursor } = await answered<{ next_cursor: string }>(200, page(""));
  const bytes = Buffer.from(cursor, "base64url");
  const last = cursor.at(-1) ?? "";
  const others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    .split("")
    .map((sign) => cursor.slice(0, -1) + sign)
    .filter((other) => Buffer.from(other, "base64url").equals(bytes) && !other.endsWith(last));
  const spellings = [
    ...others,
    `${cursor}=`,
    `${cursor}==`,
    ` ${cursor}`,
    `${cursor}\n`,
    `${cursor.slice(0, 20)} ${cursor.slice(20)}`,
    `${cursor.slice(0, 20)}.${cursor.slice(20)}`,
  ];
  expect((await page(cursor)).status).toBe(200);
  for (const other of spellings) {
    expect(Buffer.from(other, "base64url")).toEqual(bytes);
    const refused = await page(other);
    expect([other, refused.status]).toEqual([other, 400]);
    expect(await refused.json()).toMatchObject({ type: "/problems/invalid_cursor" });
  }
});

it("RateLimit and RateLimit-Policy are the lists that RFC 9651 would write, admitted and refused", async () => {
  const limits = [
    { name: "a", limit: 1, window: 1 },
    { name: "z9_long_name", limit: 4_294_967_295, window: 31_622_400 },
    { name: "month", limit: 2, window: "month" as const },
  ];
  const { token } = await newTenant(limits);
  const statuses = new Set<number>();
  for (let times = 0; times < 4; times++) {
    const { status, headers } = await request("GET", "/v1/tenant/limits", { token });
    statuses.add(status);
    for (const [name, keys] of [
      ["ratelimit", ["r", "t"]],
      ["ratelimit-policy", ["q", "w"]],
    ] as const) {
      const text = headers.get(name) ?? "";
      const list = parseList(text);
      expect(serializeList(list)).toBe(text);
      expect(list.map(([policy]) => policy)).toEqual(limits.map((limit) => limit.name));
      for (const [, parameters] of list) {
        expect([...parameters.keys()]).toEqual(keys);
        for (const value of parameters.values()) expect(value).toSatisfy(Number.isSafeInteger);
      }
    }
  }
  expect(statuses).toEqual(new Set([200, 429]));
});

it("an ES256 signature is made with the lower s, and refused with the higher", async () => {
  const header = { alg: "ES256", typ: "at+jwt", kid: es256.kid };
  const claims: JWTPayload = decodeJwt(ada.token);
  for (let times = 0; times < 20; times++) {
    const token = await seal(es256, header, Object.assign(claims, { jti: String(times) }));
    const at = token.lastIndexOf(".") + 1;
    const signature = Buffer.from(token.slice(at), "base64url");
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const s = order - BigInt(`0x${signature.toString("hex", 32)}`);
    const twin = Buffer.from(signature.toString("hex", 0, 32) + s.toString(16).padStart(64, "0"), "hex");
    expect([hasLowS(signature), hasLowS(twin)]).toEqual([true, false]);
    expect([withLowS(signature), withLowS(twin)]).toEqual([signature, signature]);
    expect(await verifyAccessToken(token.slice(0, at) + twin.toString("base64url"))).toBeUndefined();
    expect(await verifyAccessToken(token)).toBeDefined();
  }
});
