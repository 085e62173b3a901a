import { Agent, request } from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeBed, makeTenant, signIn, type Bed } from "./bench/bed.ts";
import { bundleDeployed, serve, type Served } from "./bench/workerd.ts";

// On bare workerd, from the bundle that is deployed: the Vitest pool's runtime lets no request wait for another.

const resources = new AsyncDisposableStack();
let bed: Bed;
let worker: Served;

beforeAll(async () => {
  bed = await makeBed(resources, 8);
  worker = await serve(resources, await bundleDeployed(resources), bed.variables);
}, 60_000);
afterAll(() => resources.disposeAsync());

const agent = new Agent({ keepAlive: true, maxSockets: 250 });

/** The status of one request; undefined when it is given up before the answer comes. */
function ask(token: string, signal?: AbortSignal): Promise<number | undefined> {
  const headers = { authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    request(
      { agent, port: worker.port, path: "/v1/tenant/limits", headers, ...(signal ? { signal } : {}) },
      (answer) => {
        answer.resume().on("end", () => resolve(answer.statusCode));
      },
    )
      .on("error", (error) => (signal?.aborted ? resolve(undefined) : reject(error)))
      .end();
  });
}

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
