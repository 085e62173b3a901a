import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeBed, makeTenant, runSql, signIn, type Bed, type Member } from "./bench/bed.ts";
import { makeFolder, serveIsolates, type Bundle, type Served } from "./bench/workerd.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { deployedBundle } from "./support/node/deployed.ts";

// Three isolates on bare workerd, each with its own memo of verified tokens, that share nothing but the tenants'
// objects: as on Cloudflare, where the next request may come to any isolate.

const resources = new AsyncDisposableStack();
let bed: Bed;
let bundle: Bundle;
let objects: string;
let isolates: Served[];
/** Somebody of another tenant, who joins acme at times. */
let ben: Member;

beforeAll(async () => {
  bed = await makeBed(resources, 16, startMigrated);
  bundle = await deployedBundle();
  objects = makeFolder(resources);
  await serve();
  for (const slug of ["acme", "ben"])
    await makeTenant(bed, anIsolate(), slug, [{ name: "minute", limit: 1_000_000, window: 60 }]);
  ben = await signIn(anIsolate(), "ben");
}, 60_000);
afterAll(() => resources.disposeAsync());

const serve = async (): Promise<void> => {
  isolates = await serveIsolates(resources, bundle, [bed.variables, bed.variables, bed.variables], {
    objects,
  });
};

function anIsolate(turn = 0): Served {
  const isolate = isolates[turn % isolates.length];
  if (!isolate) throw new Error("nothing is served");
  return isolate;
}

type Session = { access_token: string; refresh_token: string; session: { id: string } };

async function send(
  { port }: Served,
  method: string,
  path: string,
  { token, body }: { token?: string; body?: object } = {},
): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body && { "content-type": "application/json" }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
}

/** A new session of the user whose token this is, without a password. */
async function anotherSession(token: string): Promise<Session> {
  const response = await send(anIsolate(), "POST", "/v1/sessions/switch", {
    token,
    body: { tenant: "acme" },
  });
  expect(response.status).toBe(201);
  return (await response.json()) as Session;
}

/** The status that each isolate answers to a request with this token, asked at the same time. */
const everywhere = (token: string): Promise<number[]> =>
  Promise.all(
    isolates.map(async (isolate) => {
      const response = await send(isolate, "GET", "/v1/projects?limit=1", { token });
      await response.arrayBuffer();
      return response.status;
    }),
  );

const GOOD = [200, 200, 200];
const REFUSED = [401, 401, 401];

/** Keeps every isolate busy with these tokens, each answer with the time, of performance.now(), it was asked at. */
function traffic(tokens: readonly string[]) {
  const answers: { token: string; asked: number; status: number }[] = [];
  const ended = new AbortController();
  const loops = isolates.flatMap((isolate) =>
    tokens.map(async (token) => {
      while (!ended.signal.aborted) {
        const asked = performance.now();
        const response = await send(isolate, "GET", "/v1/tenant/limits", { token });
        await response.arrayBuffer();
        answers.push({ token, asked, status: response.status });
      }
    }),
  );
  const stop = async () => {
    ended.abort();
    await Promise.all(loops);
    return answers;
  };
  return { stop };
}

it("control: the isolates share the tenant's object, and nothing else", async () => {
  await makeTenant(bed, anIsolate(), "shared", [{ name: "minute", limit: 7, window: 60 }]);
  const { token } = await signIn(anIsolate(), "shared");
  const answers = await Promise.all([1, 2, 3, 4].map(() => everywhere(token)));
  expect(answers.flat().filter((status) => status === 200)).toHaveLength(7);
  expect(new Set(isolates.map(({ port }) => port)).size).toBe(3);
});

/** Credentials that are good everywhere, and the request that revokes them, sent to one isolate. */
type Case = { revoked: string[]; refresh?: string[]; revoke: (by: Served) => Promise<Response> };

/** A member of acme with this role, who is signed in there. */
async function newMember(role: string): Promise<Session & { userId: string }> {
  const { token, userId } = ben;
  await runSql(
    bed.superuserUrl,
    `insert into control.memberships (tenant_id, user_id, role) select id, $1, $2 from control.tenants where slug = 'acme'
     on conflict (tenant_id, user_id) do update set role = excluded.role`,
    [userId, role],
  );
  return { ...(await anotherSession(token)), userId };
}

async function newKey(owner: string): Promise<{ id: string; key: string }> {
  const body = { name: "Revoked soon", scopes: ["projects:read"] };
  const response = await send(anIsolate(), "POST", "/v1/api-keys", { token: owner, body });
  expect(response.status).toBe(201);
  return (await response.json()) as { id: string; key: string };
}

const CASES: Record<string, (owner: string) => Promise<Case>> = {
  "signing out": async (owner) => {
    const { access_token: token, refresh_token } = await anotherSession(owner);
    return {
      revoked: [token],
      refresh: [refresh_token],
      revoke: (by) => send(by, "DELETE", "/v1/sessions/current", { token }),
    };
  },
  "ending another session": async (token) => {
    const { access_token, refresh_token, session } = await anotherSession(token);
    return {
      revoked: [access_token],
      refresh: [refresh_token],
      revoke: (by) => send(by, "DELETE", `/v1/sessions/${session.id}`, { token }),
    };
  },
  "signing out everywhere": async () => {
    const [one, two] = [await newMember("member"), await anotherSession(ben.token)];
    return {
      revoked: [one.access_token, two.access_token],
      refresh: [one.refresh_token, two.refresh_token],
      revoke: (by) => send(by, "DELETE", "/v1/sessions", { token: one.access_token }),
    };
  },
  "another role": async (token) => {
    const { access_token, userId } = await newMember("admin");
    const body = { role: "viewer" };
    return {
      revoked: [access_token],
      revoke: (by) => send(by, "PATCH", `/v1/members/${userId}`, { token, body }),
    };
  },
  "removing a member": async (token) => {
    const { access_token, refresh_token, userId } = await newMember("admin");
    const { key } = await newKey(access_token);
    return {
      revoked: [access_token, key],
      refresh: [refresh_token],
      revoke: (by) => send(by, "DELETE", `/v1/members/${userId}`, { token }),
    };
  },
  "deleting an API key": async (token) => {
    const { id, key } = await newKey(token);
    return { revoked: [key], revoke: (by) => send(by, "DELETE", `/v1/api-keys/${id}`, { token }) };
  },
};

describe.each(Object.entries(CASES))("%s", (_name, arrange) => {
  it("is in force for the next request to any isolate, many times over, under load", async () => {
    const { token: owner } = await signIn(anIsolate(), "acme");
    for (let turn = 0; turn < 12; turn++) {
      const { revoked, refresh = [], revoke } = await arrange(owner);
      for (const credential of revoked) expect(await everywhere(credential)).toEqual(GOOD);

      const load = traffic(revoked);
      const response = await revoke(anIsolate(turn));
      const acknowledged = performance.now();
      expect(response.ok).toBe(true);
      for (const credential of revoked) expect(await everywhere(credential)).toEqual(REFUSED);

      const answers = await load.stop();
      expect(answers.filter(({ asked, status }) => asked > acknowledged && status !== 401)).toEqual([]);
      expect(answers.some(({ status }) => status === 200)).toBe(true);
      for (const refresh_token of refresh) {
        const body = { refresh_token };
        expect((await send(anIsolate(turn), "POST", "/v1/sessions/refresh", { body })).status).toBe(401);
      }
      expect(await everywhere(owner)).toEqual(GOOD);
    }
  }, 60_000);
});

it("a suspension is in force for the next request to any isolate, and so is its end", async () => {
  const { token, tenantId } = await signIn(anIsolate(), "acme");
  const body = (status: string) => ({
    token: bed.variables["OPERATOR_TOKEN"] ?? "",
    body: { status, reason: "test" },
  });
  for (let turn = 0; turn < 6; turn++) {
    expect(await everywhere(token)).toEqual(GOOD);
    const path = `/v1/operator/tenants/${tenantId}`;
    expect((await send(anIsolate(turn), "PATCH", path, body("suspended"))).status).toBe(200);
    expect(await everywhere(token)).toEqual([403, 403, 403]);
    expect((await send(anIsolate(turn + 1), "PATCH", path, body("active"))).status).toBe(200);
  }
});

it("a refresh token used again ends the session in every isolate", async () => {
  const { token } = await signIn(anIsolate(), "acme");
  const stolen = await anotherSession(token);
  const refresh = async (turn: number, refresh_token: string) =>
    send(anIsolate(turn), "POST", "/v1/sessions/refresh", { body: { refresh_token } });
  const second = (await (await refresh(0, stolen.refresh_token)).json()) as Session;
  const third = (await (await refresh(1, second.refresh_token)).json()) as Session;
  for (const { access_token } of [stolen, second, third])
    expect(await everywhere(access_token)).toEqual(GOOD);
  expect((await refresh(2, stolen.refresh_token)).status).toBe(401);
  for (const { access_token } of [stolen, second, third])
    expect(await everywhere(access_token)).toEqual(REFUSED);
  expect(await everywhere(token)).toEqual(GOOD);
});

it("what was revoked stays so when the process dies the moment it was acknowledged", async () => {
  const { token } = await signIn(anIsolate(), "acme");
  const [one, two] = [await anotherSession(token), await anotherSession(token)];
  for (const { access_token } of [one, two]) expect(await everywhere(access_token)).toEqual(GOOD);
  const response = await send(anIsolate(1), "DELETE", "/v1/sessions/current", { token: one.access_token });
  expect(response.status).toBe(204);
  await anIsolate().stop();
  await serve();
  expect(await everywhere(one.access_token)).toEqual(REFUSED);
  expect(await everywhere(two.access_token)).toEqual(GOOD);
}, 30_000);
