import { once } from "node:events";
import { join } from "node:path";
import { Agent, request, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeBed, makeTenant, signIn, ask as askJson, type Bed } from "./bench/bed.ts";
import { bundleWorker, serve, type Served } from "./bench/workerd.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { deployedBundle } from "./support/node/deployed.ts";

// On bare workerd, from the bundle that is deployed: the Vitest pool's runtime lets no request wait for another.

const resources = new AsyncDisposableStack();
let bed: Bed;
let worker: Served;
/** The same, but for its objects, which can be told to take their time. */
let slow: Served;

beforeAll(async () => {
  bed = await makeBed(resources, 8, startMigrated);
  const [deployed, slowed] = await Promise.all([
    deployedBundle(),
    bundleWorker(resources, join(import.meta.dirname, "support/workers/slow.ts"), [
      { name: "TENANT", class_name: "Tenant" },
    ]),
  ]);
  [worker, slow] = await Promise.all([
    serve(resources, deployed, bed.variables),
    serve(resources, slowed, bed.variables),
  ]);
}, 60_000);
afterAll(() => resources.disposeAsync());

const agent = new Agent({ keepAlive: true, maxSockets: 250 });

/** The answer to one request, all of it there; undefined when it is given up before. */
async function answerOf(
  { port }: Served,
  token: string,
  signal?: AbortSignal,
  path = "/v1/tenant/limits",
): Promise<IncomingMessage | undefined> {
  const headers = { authorization: `Bearer ${token}` };
  const asking = request({
    agent,
    port,
    path,
    headers,
    ...(signal ? { signal } : {}),
  }).end();
  try {
    const [answer]: IncomingMessage[] = await once(asking, "response");
    if (answer) await once(answer.resume(), "end");
    return answer;
  } catch (error) {
    if (signal?.aborted) return undefined;
    throw error;
  }
}

const ask = async (token: string, signal?: AbortSignal) =>
  (await answerOf(worker, token, signal))?.statusCode;

/** Ms for which a request waited for the object. One that waits in vain asks for itself after 2,000. */
const waited = (answer: IncomingMessage | undefined) =>
  Number(/admit;dur=([\d.]+)/.exec(String(answer?.headers["server-timing"]))?.[1]);

async function newTenant(slug: string, limit: number): Promise<string> {
  await makeTenant(bed, worker, slug, [{ name: "minute", limit, window: 60 }]);
  return (await signIn(worker, slug)).token;
}

it("admits exactly the limit of 1,000 requests at once that wait for one another", async () => {
  const tokens = await Promise.all([newTenant("one", 700), newTenant("two", 1), newTenant("three", 999)]);
  const statuses = await Promise.all(
    tokens.map((token) => Promise.all(Array.from({ length: 1000 }, () => ask(token)))),
  );
  expect(statuses.map((all) => all.filter((status) => status === 200).length)).toEqual([700, 1, 999]);
  expect(statuses.map((all) => all.filter((status) => status === 429).length)).toEqual([300, 999, 1]);
}, 60_000);

it("answers those who stay when others give up in the middle, whoever was asking for whom", async () => {
  const token = await newTenant("leaving", 100_000);
  for (let round = 0; round < 10; round++) {
    const leaving = new AbortController();
    const asked = Array.from({ length: 100 }, () => [ask(token), ask(token, leaving.signal)] as const);
    await asked[0]?.[0];
    leaving.abort();
    await Promise.all(asked.flat());
    for (const [staying] of asked) expect(await staying).toBe(200);
  }
}, 60_000);

/** Has the slow objects take so long for each call from now on, and returns how many they have had. */
const slowDown = async (ms: number) => (await askJson<{ calls: number }>(slow, `/test/slow?ms=${ms}`)).calls;

it("asks once for each request, however slow the object is", async () => {
  const token = await newTenant("slow", 1000);
  await answerOf(slow, token);
  // Longer than a request waits for its turn: those that wait are asked for when that time is up.
  const before = await slowDown(2500);
  const answers = await Promise.all(Array.from({ length: 60 }, () => answerOf(slow, token)));
  expect(answers.map((answer) => answer?.statusCode)).toEqual(answers.map(() => 200));
  const calls = (await slowDown(0)) - before;
  expect(calls).toBeLessThanOrEqual(3);
  const last = await answerOf(slow, token);
  expect(last?.headers["ratelimit"]).toMatch(/^"minute";r=938;/);
}, 60_000);

it("leaves nobody behind when the one who asks for others has asked often enough", async () => {
  const token = await newTenant("often", 100_000);
  await answerOf(slow, token);
  const before = await slowDown(20);
  const askOften = async (times: number) => {
    for (let turn = 0; turn < times; turn++) expect(waited(await answerOf(slow, token))).toBeLessThan(2000);
  };
  await Promise.all(Array.from({ length: 20 }, () => askOften(20)));
  // More calls than one request makes, and far fewer than there were requests.
  const calls = (await slowDown(0)) - before;
  expect(calls).toBeGreaterThan(8);
  expect(calls).toBeLessThan(200);
}, 60_000);

it("asks an object once for many probes at once, and answers those who stay when the first gives up", async () => {
  const before = await slowDown(400);
  const leaving = new AbortController();
  const probe = (signal?: AbortSignal) => answerOf(slow, "", signal, "/ready");
  const first = probe(leaving.signal);
  const others = Array.from({ length: 50 }, () => probe());
  setTimeout(() => leaving.abort(), 200);
  await first;
  for (const answer of await Promise.all(others)) expect(answer?.statusCode).toBe(200);
  expect((await slowDown(0)) - before).toBe(1);
}, 60_000);

it("keeps nobody waiting for one who has left the line", async () => {
  const token = await newTenant("left", 1000);
  await answerOf(slow, token);
  await slowDown(400);
  const leaving = new AbortController();
  const first = answerOf(slow, token);
  const left = Array.from({ length: 5 }, () => answerOf(slow, token, leaving.signal));
  const staying = Array.from({ length: 5 }, () => answerOf(slow, token));
  setTimeout(() => leaving.abort(), 200);
  const answers = await Promise.all([first, ...staying]);
  await Promise.all(left);
  for (const answer of answers) {
    expect(answer?.statusCode).toBe(200);
    expect(waited(answer)).toBeLessThan(2000);
  }
}, 60_000);
