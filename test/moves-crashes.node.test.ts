import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { House } from "./support/node/house.ts";
import { Dice } from "./support/node/move-schedule.ts";

// Moves of tenants that are at work, with the Worker as deployed, two Postgres servers and the command line, while the mover,
// the Worker with its objects, and the connections of the servers are killed. `MOVE_CRASHES=200` runs more of them, and
// `MOVE_SEED` one alone.

const RUNS = Number(process.env["MOVE_CRASHES"] ?? 2);
const SEED = Number(process.env["MOVE_SEED"] ?? Date.now() % 1e6);
const SITES = ["shared", "own-schema", "own-database"];
const WRITERS = 3;

let house: House;
beforeAll(async () => {
  house = await House.start();
}, 120_000);
afterAll(() => house?.[Symbol.asyncDispose](), 60_000);

/** Asks until somebody answers, and not with a 503: a request whose answer was lost is repeated. */
async function persist(
  method: string,
  path: string,
  token: string,
  body?: object,
  headers = {},
): Promise<Response> {
  for (const until = Date.now() + 60_000; ;) {
    const answer = await house.ask(method, path, token, body, headers).catch(() => undefined);
    if (answer && answer.status !== 503) return answer;
    if (answer) expect(answer.headers.get("retry-after")).toMatch(/^\d+$/);
    await answer?.text();
    if (Date.now() > until) throw new Error(`${method} ${path} was refused for a minute`);
    await pause(20);
  }
}

/** One client of the tenant: what it was told is done, by the row's id. Its rows are its own. */
async function write(token: string, name: string, over: AbortSignal): Promise<Map<string, string>> {
  const told = new Map<string, string>();
  for (let at = 0; !over.aborted; at++) {
    // A repeat makes no second one.
    const key = { "idempotency-key": randomUUID() };
    const made = await persist("POST", "/v1/projects", token, { name: `${name} ${at}` }, key);
    expect(made.status).toBe(201);
    const { id } = (await made.json()) as { id: string };
    told.set(id, `${name} ${at}`);
    if (at % 2 === 1) {
      expect((await persist("PATCH", `/v1/projects/${id}`, token, { name: `${name} ${at}!` })).status).toBe(
        200,
      );
      told.set(id, `${name} ${at}!`);
    }
    const read = await persist("GET", `/v1/projects/${id}`, token);
    expect(await read.json()).toMatchObject({ id, name: told.get(id) });
    if (at % 3 === 2) {
      expect([204, 404]).toContain((await persist("DELETE", `/v1/projects/${id}`, token)).status);
      told.delete(id);
      expect((await persist("GET", `/v1/projects/${id}`, token)).status).toBe(404);
    }
  }
  return told;
}

/** What is killed while a move is under way; each may hit whatever step. */
const CRASHES: Record<string, () => Promise<unknown>> = {
  nothing: () => Promise.resolve(),
  "the mover's connections": () => house.disconnect("partywall_mover"),
  "all connections": () => house.disconnect("partywall_"),
  "the Worker and its objects": async () => {
    await house.worker.stop();
    await house.startWorker();
  },
  "the second server": async () => (await house.stopSecond())(),
};

it.each(Array.from({ length: RUNS }, (_, run) => SEED + run))(
  "loses nothing, doubles nothing and leaves others alone: seed %i",
  async (seed) => {
    const dice = new Dice(seed);
    const slug = `m-${seed}`;
    const from = dice.pick(SITES);
    const to = dice.pick(SITES.filter((site) => site !== from));
    const token = await house.newTenant(slug, from);
    const bystander = await house.newTenant(`b-${seed}`, to);
    await persist("POST", "/v1/projects", bystander, { name: "Stay" });
    const others = await house.rowsOf(`b-${seed}`, to);
    const over = new AbortController();
    const writers = Array.from({ length: WRITERS }, (_, writer) => write(token, `${writer}`, over.signal));

    const what: string[] = [];
    const begin = ["move", slug, "--to", to, "--yes", "--rate", "1000"];
    for (let attempt = 0; attempt < 4; attempt++) {
      const verb =
        attempt === 0 ? begin : ["moves", dice.pick(["resume", "resume", "abandon"]), slug, "--yes"];
      const child = house.spawn("drizzle/tenants.ts", ...verb);
      const ended = once(child, "exit");
      await pause(dice.below(attempt === 0 ? 3000 : 1500));
      const crash = dice.pick(Object.keys(CRASHES));
      what.push(`${verb.join(" ")}: ${crash}`);
      await CRASHES[crash]?.();
      // Killed, or left alone while another takes over.
      if (dice.oneIn(2)) child.kill("SIGKILL");
      if (dice.below(3) > 0) await ended;
    }
    // Whoever comes last brings it to an end.
    for (;;) {
      const { out, error } = await house.tenants("moves", "resume", slug, "--rate", "max");
      if (/Nothing is under way|is at/.test(out + error)) break;
    }
    over.abort();
    const told = new Map((await Promise.all(writers)).flatMap((each) => [...each]));
    const { site, epoch } = await house.told<{ site: string; epoch: number }>("show", slug);
    expect([from, to]).toContain(site);
    expect(epoch).toBe(site === from ? 1 : 2);
    expect({ what, rows: await house.projectsOf(slug, site) }).toEqual({ what, rows: told });
    expect(await house.rowsOf(`b-${seed}`, to)).toEqual(others);
  },
  180_000,
);
