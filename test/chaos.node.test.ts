import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeBed, makeTenant, runSql, signIn, type Bed } from "./bench/bed.ts";
import { makeFolder, serve, type Bundle, type Served } from "./bench/workerd.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { deployedBundle } from "./support/node/deployed.ts";
import { faultsOf, type History } from "./support/node/history.ts";
import { startProxy, type Proxy } from "./support/node/proxy.ts";

// The whole Worker on bare workerd with a real Postgres, both killed and stalled while clients go on, and answers lost
// between them. It goes on until clients have done enough that something could have been lost.
// CHAOS_SECONDS=600 npm test -- test/chaos.node.test.ts goes on for longer.

const SECONDS = Number(process.env["CHAOS_SECONDS"] ?? 20);
/** Between one fault and the next, at least; and for how long a stall lasts. */
const CALM_MS = 700;
const STALL_MS = 1_000;
/** A client asks again after so long. */
const AGAIN_MS = 50;
/** An access token is renewed well before its end. */
const RENEWED_MS = 300_000;
/** A refresh whose answer was lost is good again for 20 s; a repeat that comes later may be refused. */
const GRACE_MS = 15_000;
const LIMIT = { units: 60, ms: 2_000 };
/** What clients must have done before it is over. */
const ENOUGH: Done = { written: 20, admitted: 2 * LIMIT.units, signedOut: 2 };
type Done = Record<"written" | "admitted" | "signedOut", number>;

const resources = new AsyncDisposableStack();
const agent = new Agent({ keepAlive: true, maxSockets: 200 });
let bed: Bed;
let proxy: Proxy;
let bundle: Bundle;
let objects: string;
let worker: Served;
let history: History;
/** What clients heard, by status; 0 is no answer. And how often each fault was made. */
const heard: Record<number, number> = {};
const made: Record<string, number> = {};

beforeAll(
  async () => {
    bed = await makeBed(resources, 24, startMigrated);
    // The bed trades durability for speed: here what Postgres acknowledges has left it.
    await runSql(bed.superuserUrl, "alter database partywall set synchronous_commit = on");
    proxy = await startProxy(resources, Number(new URL(bed.variables.NEON_FETCH_ENDPOINT).port));
    bundle = await deployedBundle();
    objects = makeFolder(resources);
    await start();
    const roomy = [{ name: "minute", limit: 1_000_000, window: 60 }];
    for (const slug of ["writes", "signs"]) await makeTenant(bed, worker, slug, roomy);
    await makeTenant(bed, worker, "limited", [
      { name: "window", limit: LIMIT.units, window: LIMIT.ms / 1000 },
    ]);
    history = await live();
  },
  // A machine that is busy with other tests has time.
  300_000 + SECONDS * 1000,
);
afterAll(() => resources.disposeAsync());

async function start(): Promise<void> {
  const variables = { ...bed.variables, NEON_FETCH_ENDPOINT: `http://127.0.0.1:${proxy.port}/sql` };
  worker = await serve(resources, bundle, variables, { objects });
}

type Asked = { token?: string | undefined; body?: object; key?: string; leavesAfterMs?: number };
type Answer = { status: number; asked: number; answered: number; body: Record<string, unknown> };

/** A client's request; status 0 is that of one which got no answer. */
async function send(
  method: string,
  path: string,
  { token, body, key, leavesAfterMs }: Asked,
): Promise<Answer> {
  const asked = performance.now();
  const headers = {
    ...(token && { authorization: `Bearer ${token}` }),
    ...(body && { "content-type": "application/json" }),
    ...(key && { "idempotency-key": key }),
  };
  const asking = request({ agent, port: worker.port, method, path, headers });
  const leaving =
    leavesAfterMs === undefined
      ? undefined
      : setTimeout(() => (asking.socket?.resetAndDestroy(), asking.destroy()), leavesAfterMs);
  let [status, text] = [0, ""];
  try {
    asking.end(body && JSON.stringify(body));
    const [response] = await once(asking, "response");
    for await (const chunk of response) text += String(chunk);
    status = Number(response.statusCode);
  } catch {
    status = 0;
  } finally {
    clearTimeout(leaving);
  }
  heard[status] = (heard[status] ?? 0) + 1;
  const answered = performance.now();
  return { status, asked, answered, body: status > 0 && text !== "" ? JSON.parse(text) : {} };
}

/** Asks until there is an answer that settles it: not nothing, and not that something is out of reach. */
async function insist(method: string, path: string, asked: Asked, goOn: () => boolean): Promise<Answer> {
  for (;;) {
    const answer = await send(method, path, asked);
    const isSettled = answer.status > 0 && answer.status < 500 && answer.status !== 409;
    if (isSettled || !goOn()) return answer;
    await delay(AGAIN_MS);
  }
}

/** An access token of the tenant's owner, renewed in time. */
function signedIn(slug: string): () => Promise<string> {
  let [token, until] = ["", 0];
  return async () => {
    while (Date.now() >= until)
      try {
        ({ token } = await signIn(worker, slug));
        until = Date.now() + RENEWED_MS;
      } catch {
        await delay(AGAIN_MS);
      }
    return token;
  };
}

/** Lets clients do what they do for so many seconds while everything around them breaks, and tells what came of it. */
async function live(): Promise<History> {
  const lived: History = {
    writes: [],
    found: [],
    admitted: [],
    limit: LIMIT,
    uses: [],
    signOuts: [],
    refusedRefreshes: [],
  };
  const tokens = { writes: signedIn("writes"), limited: signedIn("limited"), signs: signedIn("signs") };
  // Everybody is signed in before anything breaks.
  for (const token of Object.values(tokens)) await token();
  const until = Date.now() + SECONDS * 1000;
  const goesOn = () => Date.now() < until || !isEveryFaultMade() || !isMore(doneIn(lived), ENOUGH);
  const keep = async (act: (turn: number) => Promise<void>, who: number) => {
    for (let turn = 0; goesOn(); turn++) await act(turn * 100 + who);
  };
  const clients = [
    ...[0, 1, 2, 3].map((who) => keep((turn) => write(lived, tokens.writes, `w${turn}`, goesOn), who)),
    ...[0, 1].map((who) => keep((turn) => writeAndLeave(lived, tokens.writes, `l${turn}`), who)),
    ...[0, 1, 2, 3].map((who) => keep(() => beLimited(lived, tokens.limited), who)),
    ...[0, 1, 2].map((who) => keep(() => haveSession(lived, tokens.signs, goesOn), who)),
  ];
  await breakThings(lived, goesOn);
  await Promise.all(clients);

  const token = await tokens.writes();
  const always = () => true;
  for (let cursor: unknown = ""; cursor !== null;) {
    const path = `/v1/projects?limit=100${cursor === "" ? "" : `&cursor=${String(cursor)}`}`;
    const { body } = await insist("GET", path, { token }, always);
    lived.found.push(...(body["data"] as { name: string }[]).map(({ name }) => name));
    cursor = body["next_cursor"];
  }
  await useEnded(lived);
  return lived;
}

const doneIn = ({ writes, admitted, signOuts }: History): Done => ({
  written: writes.filter(({ acknowledged }) => acknowledged).length,
  admitted: admitted.length,
  signedOut: signOuts.length,
});

const isMore = (done: Done, than: Done): boolean =>
  done.written > than.written && done.admitted > than.admitted && done.signedOut > than.signedOut;

async function write(lived: History, token: () => Promise<string>, name: string, goesOn: () => boolean) {
  const entry = { name, acknowledged: false };
  lived.writes.push(entry);
  const asked = { token: await token(), body: { name }, key: name };
  entry.acknowledged = (await insist("POST", "/v1/projects", asked, goesOn)).status === 201;
}

/** Nobody waits for the answer, so it may be there or not, but once. */
async function writeAndLeave(lived: History, token: () => Promise<string>, name: string): Promise<void> {
  lived.writes.push({ name, acknowledged: false });
  const leavesAfterMs = Math.random() * 20;
  await send("POST", "/v1/projects", { token: await token(), body: { name }, leavesAfterMs });
}

async function beLimited(lived: History, token: () => Promise<string>): Promise<void> {
  const { status, asked, answered } = await send("GET", "/v1/tenant/limits", { token: await token() });
  if (status === 200) lived.admitted.push({ asked, answered });
  else await delay(AGAIN_MS);
}

type Session = { access_token: string; refresh_token: string; session: { id: string } };
/** Credentials of sessions that have ended, which are to be worth nothing. */
const ended: (Session & { until: number })[] = [];

/** Starts a session, uses and refreshes it, ends it, and tries all that it ever was given. */
async function haveSession(
  lived: History,
  token: () => Promise<string>,
  goesOn: () => boolean,
): Promise<void> {
  const body = { tenant: "signs" };
  const started = await insist("POST", "/v1/sessions/switch", { token: await token(), body }, goesOn);
  if (started.status !== 201) return;
  const first = started.body as Session;
  const since = performance.now();
  const refresh = { body: { refresh_token: first.refresh_token } };
  const refreshed = await insist("POST", "/v1/sessions/refresh", refresh, goesOn);
  const inTime = performance.now() - since < GRACE_MS;
  if (refreshed.status === 401 && inTime) lived.refusedRefreshes.push(first.session.id);
  if (refreshed.status !== 200) return;
  const second = refreshed.body as Session;
  await use(lived, second);

  const gone = await insist("DELETE", "/v1/sessions/current", { token: second.access_token }, goesOn);
  // 401 is what a repeat is told when the first one's answer was lost.
  if (gone.status !== 204 && gone.status !== 401) return;
  lived.signOuts.push({ session: first.session.id, acknowledged: gone.answered });
  ended.push({ ...first, until: Date.now() + RENEWED_MS }, { ...second, until: Date.now() + RENEWED_MS });
  await useEnded(lived, 3);
}

/** Tries some of the credentials that have ended, or all; those whose tokens would be good if they had not. */
async function useEnded(lived: History, some = ended.length): Promise<void> {
  for (const session of ended.slice(-some)) {
    if (Date.now() >= session.until) continue;
    await use(lived, session);
    const { refresh_token } = session;
    const { status, asked } = await send("POST", "/v1/sessions/refresh", { body: { refresh_token } });
    lived.uses.push({ session: session.session.id, asked, status });
  }
}

async function use(lived: History, { access_token: token, session }: Session): Promise<void> {
  const { status, asked } = await send("GET", "/v1/tenant/limits", { token });
  lived.uses.push({ session: session.id, asked, status });
}

/** A process and its children, which Postgres' sessions are. */
function family(pid: number): number[] {
  const children = parents().filter(([, parent]) => parent === pid);
  return [pid, ...children.map(([child]) => child)];
}

/** Every process with its parent. */
function parents(): [child: number, parent: number][] {
  // macOS has no /proc, and a small Linux has no ps.
  if (process.platform !== "linux")
    return [
      ...execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).matchAll(/(\d+) +(\d+)/g),
    ].map(([, child, parent]) => [Number(child), Number(parent)]);
  return readdirSync("/proc").flatMap((name) => {
    try {
      const stat = /^\d+$/.test(name) ? readFileSync(`/proc/${name}/stat`, "utf8") : "";
      return [[Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])]];
    } catch {
      return []; // It has just ended.
    }
  });
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids)
    try {
      process.kill(pid, name);
    } catch {
      // A session that has just ended.
    }
}

async function stall(pids: readonly number[]): Promise<void> {
  signal(pids, "SIGSTOP");
  await delay(STALL_MS);
  signal(pids, "SIGCONT");
}

const FAULTS: Record<string, () => Promise<void>> = {
  "Postgres is killed": async () => {
    process.kill(bed.stack.pids.postgres, "SIGKILL");
    await bed.stack.restartPostgres();
  },
  "answers are lost": async () => {
    proxy.become("loses answers");
    await delay(STALL_MS / 2);
    proxy.become("passes");
  },
  "workerd is killed": async () => {
    await worker.stop();
    await start();
  },
  "answers are held up": async () => {
    proxy.become("holds answers");
    await delay(STALL_MS);
    proxy.become("passes");
  },
  "Postgres stalls": () => stall(family(bed.stack.pids.postgres)),
  "workerd stalls": () => stall([worker.pid]),
  "workerd is killed while answers are held up": async () => {
    proxy.become("holds answers");
    await delay(STALL_MS / 4);
    await worker.stop();
    proxy.become("passes");
    await start();
  },
};

const isEveryFaultMade = (): boolean => Object.keys(FAULTS).every((name) => made[name] !== undefined);

/** One fault after the other; between two, clients get something of each kind done. */
async function breakThings(lived: History, goesOn: () => boolean): Promise<void> {
  while (goesOn())
    for (const [name, make] of Object.entries(FAULTS)) {
      const before = doneIn(lived);
      await delay(CALM_MS);
      while (goesOn() && !isMore(doneIn(lived), before)) await delay(AGAIN_MS);
      if (!goesOn()) return;
      await make();
      made[name] = (made[name] ?? 0) + 1;
    }
}

it("loses no acknowledged write, writes none twice, admits nothing over a limit and revives no session", () => {
  expect(faultsOf(history)).toEqual([]);
});

it("control: every fault was made, and clients noticed", () => {
  expect(isEveryFaultMade()).toBe(true);
  expect(heard[0]).toBeGreaterThan(0);
  expect(heard[503]).toBeGreaterThan(0);
  expect(isMore(doneIn(history), ENOUGH)).toBe(true);
});

describe("control: it would be noticed", () => {
  const first = <T>([value]: readonly T[]): T => {
    if (value === undefined) throw new Error("nothing happened");
    return value;
  };
  const acknowledged = () => first(history.writes.filter((each) => each.acknowledged)).name;

  it("a lost write", () => {
    const name = acknowledged();
    const found = history.found.filter((other) => other !== name);
    expect(faultsOf({ ...history, found })).toEqual([`${name} is lost`]);
  });

  it("a doubled write", () => {
    const name = acknowledged();
    const found = [...history.found, name];
    expect(faultsOf({ ...history, found })).toEqual([`${name} is there 2 times`]);
  });

  it("a write of nobody's", () => {
    const found = [...history.found, "x"];
    expect(faultsOf({ ...history, found })).toEqual(["nobody wrote x"]);
  });

  it("one admission too many", () => {
    const at = first(history.admitted).asked + 1e9;
    const admitted = Array.from({ length: LIMIT.units + 1 }, (_, index) => ({
      asked: at + index,
      answered: at + index + 1,
    }));
    expect(faultsOf({ ...history, admitted: [...history.admitted, ...admitted] })).toEqual([
      `${LIMIT.units + 1} were admitted in a window of ${LIMIT.units}`,
    ]);
    expect(faultsOf({ ...history, admitted: [...history.admitted, ...admitted.slice(1)] })).toEqual([]);
  });

  it("a session that came back", () => {
    const { session, acknowledged: end } = first(history.signOuts);
    const uses = (asked: number) => [...history.uses, { session, asked, status: 200 }];
    expect(faultsOf({ ...history, uses: uses(end + 1) })).toEqual([`${session} came back`]);
    expect(faultsOf({ ...history, uses: uses(end - 1) })).toEqual([]);
  });

  it("a refresh that was refused", () => {
    expect(faultsOf({ ...history, refusedRefreshes: ["s"] })).toEqual(["s was not refreshed"]);
  });
});
