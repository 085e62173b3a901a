import { execFile } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  jwtVerify,
  type JSONWebKeySet,
  type JWK,
} from "jose";
import { allowInsecureRequests, validateJwtAccessToken } from "oauth4webapi";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { rotate } from "../drizzle/rotate.ts";
import { makeSigningKey } from "../drizzle/variables.ts";
import { ask, makeBed, makeTenant, signIn, type Bed } from "./bench/bed.ts";
import { makeFolder, serve, type Bundle, type Served } from "./bench/workerd.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { deployedBundle } from "./support/node/deployed.ts";

// On bare workerd: a deployment's keys are read when its Worker starts, so each step of a rotation is a process.

const resources = new AsyncDisposableStack();
let bed: Bed;
let bundle: Bundle;

beforeAll(async () => {
  bed = await makeBed(resources, 16, startMigrated);
  bundle = await deployedBundle();
}, 60_000);
afterAll(() => resources.disposeAsync());

const deploy = (variables: Record<string, string> = {}): Promise<Served> =>
  serve(resources, bundle, { ...bed.variables, ...variables });
const keySetOf = (worker: Served) => ask<JSONWebKeySet>(worker, "/.well-known/jwks.json");
const keysIn = (value: string): JWK[] => (JSON.parse(value) as JSONWebKeySet).keys;

/** A new session of the user whose token this is, without a password, which would take long to hash. */
const anotherSession = (worker: Served, token: string, tenant: string) =>
  ask<{ access_token: string; refresh_token: string }>(worker, "/v1/sessions/switch", {
    token,
    body: { tenant },
  });

/** The status of a GET with this token. */
async function use({ port }: Served, token: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/projects?limit=1`, {
    headers: { authorization: `Bearer ${token}` },
  });
  await response.arrayBuffer();
  return response.status;
}

describe.each(["Ed25519", "ES256"] as const)("with a key for %s", (alg) => {
  const slug = alg.toLowerCase();
  let worker: Served;
  let token: string;

  beforeAll(async () => {
    worker = await deploy({ TOKEN_SIGNING_KEYS: JSON.stringify({ keys: [await makeSigningKey(alg)] }) });
    await makeTenant(bed, worker, slug, [{ name: "minute", limit: 1000, window: 60 }]);
    ({ token } = await signIn(worker, slug));
  });

  it("tokens are of RFC 9068 to an implementation that is not ours, which knows the key set alone", async () => {
    expect(decodeProtectedHeader(token)).toMatchObject({ alg, typ: "at+jwt" });
    const { ISSUER } = bed.variables;
    const server = { issuer: ISSUER, jwks_uri: `http://127.0.0.1:${worker.port}/.well-known/jwks.json` };
    const validate = (bearer: string, audience = ISSUER) =>
      validateJwtAccessToken(
        server,
        new Request(ISSUER, { headers: { authorization: `Bearer ${bearer}` } }),
        audience,
        { [allowInsecureRequests]: true },
      );
    expect(await validate(token)).toMatchObject({ iss: ISSUER, aud: ISSUER, client_id: "partywall" });
    await expect(validate(token, "https://other.test")).rejects.toThrow(/audience/);
    const [head, , signature] = token.split(".");
    const forged = Buffer.from(JSON.stringify({ ...decodeJwt(token), tid: "another" })).toString("base64url");
    await expect(validate(`${head}.${forged}.${signature}`)).rejects.toThrow(/signature/);
  });

  it("each signature has one spelling, which every new session's has", async () => {
    for (let times = 0; times < 12; times++) {
      const { access_token } = await anotherSession(worker, token, slug);
      expect(await use(worker, access_token)).toBe(200);
    }
  });

  it("they are good here, and not where the key is another", async () => {
    expect(await use(worker, token)).toBe(200);
    const elsewhere = await deploy({
      TOKEN_SIGNING_KEYS: JSON.stringify({ keys: [await makeSigningKey(alg)] }),
    });
    expect(await use(elsewhere, token)).toBe(401);
  });
});

describe("the key set", () => {
  it("shows each key's public part, its use and its algorithm, under its thumbprint", async () => {
    const { value } = await rotate("TOKEN_SIGNING_KEYS", bed.variables.TOKEN_SIGNING_KEYS, "ES256");
    const { keys } = await keySetOf(await deploy({ TOKEN_SIGNING_KEYS: value }));
    expect(keys.map((key) => Object.keys(key).sort())).toEqual([
      ["alg", "crv", "kid", "kty", "use", "x"],
      ["alg", "crv", "kid", "kty", "use", "x", "y"],
    ]);
    expect(keys).toMatchObject([
      { alg: "Ed25519", use: "sig" },
      { alg: "ES256", use: "sig" },
    ]);
    for (const key of keys) expect(key.kid).toBe(await calculateJwkThumbprint(key));
  });

  it("may be kept for five minutes by anyone, and is not sent again to who has it", async () => {
    const { port } = await deploy();
    const get = (headers: Record<string, string> = {}) =>
      fetch(`http://127.0.0.1:${port}/.well-known/jwks.json`, { headers });
    const first = await get();
    expect(first.headers.get("cache-control")).toBe("public, max-age=300");
    const etag = first.headers.get("etag") ?? "";
    expect(etag).toMatch(/^"[\w-]{43}"$/);
    for (const seen of [etag, `W/${etag}`, `"other", ${etag}`]) {
      const again = await get({ "if-none-match": seen });
      expect([again.status, await again.text()]).toEqual([304, ""]);
      expect(again.headers.get("etag")).toBe(etag);
      expect(again.headers.get("x-request-id")).not.toBeNull();
    }
    expect((await get({ "if-none-match": '"other"' })).status).toBe(200);
  });

  it.each<[string, (key: JWK) => object[]]>([
    ["no key at all", () => []],
    ["a first key that cannot sign", (key) => [{ ...key, d: undefined }]],
    ["one kid for two keys", (key) => [key, key]],
    ["a key without a kid", (key) => [{ ...key, kid: undefined }]],
    ["a curve that is not the algorithm's", (key) => [{ ...key, crv: "Ed448" }]],
    ["a symmetric key", ({ kid }) => [{ kty: "oct", alg: "HS256", kid: kid ?? "", k: "c2VjcmV0" }]],
  ])("is refused at the start with %s", async (_name, make) => {
    const [key] = keysIn(bed.variables.TOKEN_SIGNING_KEYS);
    const keys = make(key ?? {});
    const start = deploy({ TOKEN_SIGNING_KEYS: JSON.stringify({ keys }) });
    await expect(start).rejects.toThrow(/TOKEN_SIGNING_KEYS is not well formed/);
    await expect(start).rejects.not.toThrow(key?.d ?? "");
  });
});

describe("a rotation under load", () => {
  type Client = { token: string; refresh_token: string; refreshed: number };

  it("fails not one request, from the old key to the next, which is of another algorithm", async () => {
    let { TOKEN_SIGNING_KEYS, OPAQUE_TOKEN_KEYS = "" } = bed.variables;
    const workers = [await deploy()];
    while (workers.length < 4) {
      TOKEN_SIGNING_KEYS = (await rotate("TOKEN_SIGNING_KEYS", TOKEN_SIGNING_KEYS, "ES256")).value;
      OPAQUE_TOKEN_KEYS = (await rotate("OPAQUE_TOKEN_KEYS", OPAQUE_TOKEN_KEYS)).value;
      workers.push(await deploy({ TOKEN_SIGNING_KEYS, OPAQUE_TOKEN_KEYS }));
    }
    const [before, added, taken, after] = workers;
    if (!before || !added || !taken || !after) throw new Error("not all steps are served");

    await makeTenant(bed, before, "rotating", [{ name: "minute", limit: 1_000_000, window: 60 }]);
    let live = [before];
    /** What a verifier elsewhere has of the key set: at most five minutes old, so of the step before. */
    let cached = createLocalJWKSet(await keySetOf(before));
    const failures: unknown[] = [];
    const answered = new Map<Served, number>();
    const clients: Client[] = [];
    const ended = new AbortController();

    const keepAsking = async (client: Client, at: number): Promise<void> => {
      for (let turn = at; !ended.signal.aborted; turn++) {
        const worker = live[turn % live.length] ?? before;
        if (turn % 4 === 0) {
          const { refresh_token } = client;
          const session = await ask<{ access_token: string; refresh_token: string }>(
            worker,
            "/v1/sessions/refresh",
            { body: { refresh_token } },
          );
          client.token = session.access_token;
          client.refresh_token = session.refresh_token;
          client.refreshed += 1;
          await jwtVerify(client.token, cached, { issuer: bed.variables.ISSUER, typ: "at+jwt" });
        } else if ((await use(worker, client.token)) !== 200) throw new Error("a good token was refused");
        answered.set(worker, (answered.get(worker) ?? 0) + 1);
      }
    };
    /** Lets the load go on until each live Worker has answered more, and each client has a token made meanwhile. */
    const served = async (): Promise<void> => {
      const enough = new Map(live.map((worker) => [worker, (answered.get(worker) ?? 0) + 40]));
      const times = clients.map(({ refreshed }) => refreshed + 2);
      await vi.waitFor(
        () => {
          if (failures.length > 0) return;
          for (const [worker, count] of enough)
            expect(answered.get(worker) ?? 0).toBeGreaterThanOrEqual(count);
          for (const [index, { refreshed }] of clients.entries())
            expect(refreshed).toBeGreaterThanOrEqual(times[index] ?? 0);
        },
        { timeout: 20_000, interval: 10 },
      );
    };

    const owner = await signIn(before, "rotating");
    while (clients.length < 6) {
      const { access_token, refresh_token } = await anotherSession(before, owner.token, "rotating");
      clients.push({ token: access_token, refresh_token, refreshed: 0 });
    }
    const loops = clients.map((client, at) =>
      keepAsking(client, at).catch((error: unknown) => failures.push(error)),
    );
    const firstToken = clients[0]?.token ?? "";
    const kids = (await keySetOf(added)).keys.map(({ kid }) => kid);
    const kidsInUse = () => new Set(clients.map(({ token }) => decodeProtectedHeader(token).kid));

    await served();
    for (const [old, next] of [
      [before, added],
      [added, taken],
      [taken, after],
    ] as const) {
      live = [old, next];
      await served();
      live = [next];
      await served();
      expect(failures).toEqual([]);
      cached = createLocalJWKSet(await keySetOf(next));
      expect(kidsInUse()).toEqual(new Set([next === added ? kids[0] : kids[1]]));
    }
    ended.abort();
    await Promise.all(loops);
    expect(failures).toEqual([]);

    // The old key's tokens are good until it is dropped; a step left out would have been noticed.
    expect(await use(taken, firstToken)).toBe(200);
    expect(await use(after, firstToken)).toBe(401);
    expect(await use(before, clients[0]?.token ?? "")).toBe(401);
  }, 90_000);
});

describe("drizzle/rotate.ts", () => {
  const run = promisify(execFile);
  const script = join(import.meta.dirname, "../drizzle/rotate.ts");
  const command = (args: string[], env: Record<string, string> = {}) =>
    run(process.execPath, [script, ...args], { env: { ...process.env, ...env } });

  it("goes from one key to the next in three steps, and then has one key again", async () => {
    let value = JSON.stringify({ keys: [await makeSigningKey()] });
    const [old] = keysIn(value);
    const seen: JWK[][] = [];
    for (const alg of ["ES256", "Ed25519", "Ed25519"]) {
      const { stdout, stderr } = await command(["TOKEN_SIGNING_KEYS", "--alg", alg], {
        TOKEN_SIGNING_KEYS: value,
      });
      expect(stdout.trim().split("\n")).toHaveLength(1);
      for (const { d } of [...keysIn(value), ...keysIn(stdout)]) if (d) expect(stderr).not.toContain(d);
      value = stdout.trim();
      seen.push(keysIn(value));
    }
    const [[, next] = []] = seen;
    const { d: _, ...retired } = old ?? {};
    expect(next?.alg).toBe("ES256");
    expect(seen).toEqual([[old, next], [next, retired], [next]]);
  }, 30_000);

  it.each([
    ["OPAQUE_TOKEN_KEYS", `aaaaaaaa:${"A".repeat(43)}`],
    ["TENANT_CONTEXT_KEYS", `aaaaaaaa:${"A".repeat(43)}`],
    ["PASSWORD_PEPPERS", "original"],
  ])("takes %s through the same steps", async (name, begun) => {
    const { value: added } = await rotate(name, begun);
    const next = added.replace(`${begun},+`, "");
    expect(next).toMatch(/^[a-f0-9]{8}:[\w-]{43}$/);
    const { value: taken } = await rotate(name, added);
    expect(taken).toBe(`${next},${begun}`);
    expect((await rotate(name, taken)).value).toBe(next);
  });

  it("rewrites the one line of a file, for its owner's eyes only", async () => {
    const file = join(makeFolder(resources), "production.env");
    const before = `A='1'\nOPAQUE_TOKEN_KEYS='aaaaaaaa:${"A".repeat(43)}'\nB='$&'\n`;
    writeFileSync(file, before, { mode: 0o644 });
    const { stdout, stderr } = await command(["OPAQUE_TOKEN_KEYS", "--file", file], {
      OPAQUE_TOKEN_KEYS: "elsewhere",
    });
    const [, next] = /,\+[a-f0-9]{8}:([\w-]{43})/.exec(readFileSync(file, "utf8")) ?? [];
    expect(next).toBeDefined();
    expect(stdout).toBe("");
    expect(stderr).not.toContain(next);
    expect(readFileSync(file, "utf8").replace(/,\+.*(?=')/, "")).toBe(before);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it.each<[string, string[], Record<string, string>]>([
    ["PASSWORD_PEPPER, which no rotation survives", ["PASSWORD_PEPPER"], { PASSWORD_PEPPER: "s3cret" }],
    ["what is not well formed", ["TOKEN_SIGNING_KEYS"], { TOKEN_SIGNING_KEYS: '{"keys":[{"d":"s3cret"}]}' }],
    [
      "three keys",
      ["OPAQUE_TOKEN_KEYS"],
      { OPAQUE_TOKEN_KEYS: ["a", "b", "c"].map((kid) => `${kid.repeat(8)}:s3cret${"A".repeat(37)}`).join() },
    ],
    ["an algorithm that is not ours", ["TOKEN_SIGNING_KEYS", "--alg", "RS256"], {}],
  ])("refuses %s, and repeats no value", async (_name, args, env) => {
    const failed = await command(args, env).catch(
      (error: unknown) => error as { stdout: string; stderr: string },
    );
    expect(failed).toMatchObject({ code: 1, stdout: "" });
    expect(failed.stderr).not.toContain("s3cret");
  });
});
