import { once } from "node:events";
import { Agent, request, type ClientRequest, type IncomingMessage } from "node:http";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { ask, makeBed, makeTenant, signIn, type Bed } from "./bench/bed.ts";
import { startLoad } from "./bench/load.ts";
import { serve, type Served } from "./bench/workerd.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { deployedBundle } from "./support/node/deployed.ts";
import { startProxy, type Proxy } from "./support/node/proxy.ts";

// On bare workerd, from the bundle that is deployed: the Vitest pool's runtime lets no request wait for another. The
// database answers through a proxy that can keep its answers back.

const IN_FLIGHT = 400;
const AT_THE_DATABASE = 16;

const resources = new AsyncDisposableStack();
let bed: Bed;
let proxy: Proxy;
let worker: Served;
const agent = new Agent({ keepAlive: true, maxSockets: 1000 });

beforeAll(async () => {
  bed = await makeBed(resources, 24, startMigrated);
  proxy = await startProxy(resources, Number(new URL(bed.variables.NEON_FETCH_ENDPOINT).port));
  const variables = { ...bed.variables, NEON_FETCH_ENDPOINT: `http://127.0.0.1:${proxy.port}/sql` };
  worker = await serve(resources, await deployedBundle(), variables);
}, 60_000);
afterEach(() => proxy.become("passes"));
afterAll(() => resources.disposeAsync());

type Answer = { status: number; headers: IncomingMessage["headers"]; body: string };

function begin(method: string, path: string, token?: string, body?: object): ClientRequest {
  const asking = request({
    agent,
    port: worker.port,
    method,
    path,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body && { "content-type": "application/json" }),
    },
  });
  return asking.end(body && JSON.stringify(body));
}

async function answerTo(asking: ClientRequest): Promise<Answer> {
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    body: Buffer.concat(chunks).toString(),
  };
}

const get = (path: string, token: string) => answerTo(begin("GET", path, token));
const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);
const count = (answers: readonly Answer[], status: number) =>
  answers.filter((answer) => answer.status === status).length;

let made = 0;
async function newTenant(limit = 1_000_000): Promise<string> {
  const slug = `t${(made += 1)}`;
  await makeTenant(bed, worker, slug, [{ name: "minute", limit, window: 60 }]);
  return (await signIn(worker, slug)).token;
}

/** Units that the tenant has left, after the one that this costs. */
async function remaining(token: string): Promise<number> {
  const { body } = await get("/v1/tenant/limits", token);
  const { data }: { data: [{ remaining: number }] } = JSON.parse(body);
  return data[0].remaining;
}

/** Leaves as somebody does whose machine is gone: workerd cannot tell that from less. */
async function leave(asking: ClientRequest): Promise<void> {
  // One of many at once may not have been given its connection yet.
  if (!asking.socket) await once(asking, "socket");
  asking.socket?.resetAndDestroy();
}

it("works on 400 requests of a tenant at once, 16 of them at the database, and refuses the rest unasked", async () => {
  const [busy, quiet] = [await newTenant(), await newTenant()];
  for (const token of [busy, quiet]) expect((await get("/v1/projects", token)).status).toBe(200);
  // Their objects have read their records by now, too.
  await proxy.until(() => proxy.underWay === 0);
  const before = await remaining(busy);

  proxy.become("holds answers");
  proxy.takeMost();
  const refused: Answer[] = [];
  const someRefused = Promise.withResolvers<void>();
  const asked = times(IN_FLIGHT + 44, async () => {
    const answer = await get("/v1/projects", busy);
    if (answer.status === 503) refused.push(answer);
    if (refused.length === 44) someRefused.resolve();
    return answer;
  });
  await someRefused.promise;
  await proxy.until(() => proxy.underWay === AT_THE_DATABASE);
  for (const { headers, body } of refused) {
    expect(headers).toMatchObject({ "retry-after": "1", "content-type": "application/problem+json" });
    expect(JSON.parse(body)).toMatchObject({
      type: "/problems/unavailable",
      instance: headers["x-request-id"],
    });
  }
  // A neighbour has room, there too.
  expect((await get("/v1/tenant/limits", quiet)).status).toBe(200);
  const besides = get("/v1/projects", quiet);
  await proxy.until(() => proxy.underWay === AT_THE_DATABASE + 1);

  proxy.become("passes");
  const answers = await Promise.all(asked);
  expect([count(answers, 200), count(answers, 503)]).toEqual([IN_FLIGHT, 44]);
  expect((await besides).status).toBe(200);
  expect(proxy.takeMost()).toBe(AT_THE_DATABASE + 1);
  expect(before - (await remaining(busy))).toBe(IN_FLIGHT + 1);
});

it("says 429, not 503, to a tenant that is known to be over its limit", async () => {
  const token = await newTenant(IN_FLIGHT + 1);
  await proxy.until(() => proxy.underWay === 0);
  proxy.become("holds answers");
  const refused = Promise.withResolvers<void>();
  let refusals = 0;
  const asked = times(IN_FLIGHT + 1, async () => {
    const answer = await get("/v1/projects", token);
    if (answer.status === 503 && (refusals += 1) === 1) refused.resolve();
    return answer;
  });
  await refused.promise;
  proxy.become("passes");
  await Promise.all(asked);
  // What is left is one; this one and the next take what there is, and find that it is gone.
  expect((await get("/v1/projects", token)).status).toBe(200);
  expect((await get("/v1/projects", token)).status).toBe(429);

  expect(count(await Promise.all(times(IN_FLIGHT + 100, () => get("/v1/projects", token))), 429)).toBe(
    IN_FLIGHT + 100,
  );
});

it("answers bursts of 400 exactly: so many as the limit allows, and 429 to the others", async () => {
  const token = await newTenant(100);
  const answers = await Promise.all(times(IN_FLIGHT, () => get("/v1/projects", token)));
  expect([count(answers, 200), count(answers, 429)]).toEqual([100, IN_FLIGHT - 100]);
});

it("works on 640 requests without a token at once", async () => {
  const { refresh_token } = await ask<{ refresh_token: string }>(worker, "/v1/sessions", {
    body: { email: "t1@bench.test", password: "correct horse battery staple" },
  });
  proxy.become("holds answers");
  const refused = Promise.withResolvers<void>();
  let refusals = 0;
  const asked = times(652, async () => {
    const answer = await answerTo(begin("POST", "/v1/sessions/refresh", undefined, { refresh_token }));
    if (answer.status === 503 && (refusals += 1) === 12) refused.resolve();
    return answer;
  });
  await refused.promise;
  expect((await answerTo(begin("GET", "/health"))).status).toBe(200);
  proxy.become("passes");
  const answers = await Promise.all(asked);
  expect(count(answers, 503)).toBe(12);
  expect(
    answers.filter(({ status }) => status === 503).every(({ headers }) => headers["retry-after"] === "1"),
  ).toBe(true);
});

it("forgets nobody in the line for the database, one handing its turn to the next 3,000 times", async () => {
  const path = "/v1/projects";
  const tokens = [await newTenant()];
  const load = startLoad(resources);
  let answers = 0;
  // The load ends with an error when any answer takes 10 s.
  while (answers < 3_000) {
    const outcome = await load.run({ port: worker.port, path, tokens, connections: 48, seconds: 2 });
    expect(outcome.statuses).toEqual({ 200: outcome.answers });
    answers += outcome.answers;
  }
}, 60_000);

it("reads nothing on for clients that have left, and gives their places to others", async () => {
  const token = await newTenant();
  expect((await get("/v1/projects", token)).status).toBe(200);
  // Its object has read its record by now, too: that would be held, and counted.
  await proxy.until(() => proxy.underWay === 0);
  proxy.become("holds answers");
  const { sent } = proxy;
  const gone = times(IN_FLIGHT, () => begin("GET", "/v1/projects", token).on("error", () => undefined));
  await proxy.until(() => proxy.underWay === AT_THE_DATABASE);
  await Promise.all(gone.map(leave));
  await proxy.until(() => proxy.underWay === 0);

  const others = times(IN_FLIGHT, () => get("/v1/projects", token));
  await proxy.until(() => proxy.underWay === AT_THE_DATABASE);
  proxy.become("passes");
  expect(count(await Promise.all(others), 200)).toBe(IN_FLIGHT);
  // Workerd hears of one leaving after the other, and lets some in meanwhile; most of them are never sent.
  expect(proxy.sent - sent).toBeLessThan(1.5 * IN_FLIGHT);
});

it("carries a write on whose client has left: what it revoked is in force everywhere", async () => {
  const token = await newTenant();
  const other = await newTenant();
  for (const each of [token, other]) expect((await get("/v1/projects", each)).status).toBe(200);
  await proxy.until(() => proxy.underWay === 0);
  proxy.become("holds answers");
  const asking = begin("DELETE", "/v1/sessions/current", token).on("error", () => undefined);
  await proxy.until(() => proxy.underWay === 1);
  await leave(asking);
  // By the time that this one is cut off, workerd has heard of the other's leaving.
  const besides = begin("GET", "/v1/projects", other).on("error", () => undefined);
  await proxy.until(() => proxy.underWay === 2);
  await leave(besides);
  await proxy.until(() => proxy.underWay < 2);
  expect(proxy.underWay).toBe(1);
  proxy.become("passes");
  for (let status = 200; status !== 401;) ({ status } = await get("/v1/tenant/limits", token));
});
