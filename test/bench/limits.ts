import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { aimsTable } from "./aims.ts";
import { ask, makeBed, type Bed } from "./bed.ts";
import { measureCore, type Core } from "./core.ts";
import { cpuOf } from "./cpu.ts";
import { ratio, shown, shownSpread, spread, table, type Spread } from "./figures.ts";
import { makeTenants, prepareLimiters, TITLES, type Name, type Serve } from "./limiters.ts";
import { startLoad, type Admitted, type Generator, type Outcome } from "./load.ts";
import type { Options, Result } from "./subject.ts";
import { bundleText, makeFolder, serve as serveBundle, type Served } from "./workerd.ts";
import { worstWindow } from "./windows.ts";

const PATH = "/v1/tenant/limits";
const WARM_UP_S = 2;
/** Of the comparisons within partywall; they have half the rounds, too. */
const SHORT_S = 1;

const TENANTS = 8;
const IN_FLIGHT = 64;
/** Of the plan enterprise. */
const MINUTE = { name: "minute", limit: 30_000, window: 60 };
const SECOND = { name: "second", limit: 1_000, window: 1 };
const ROOMY = { name: "minute", limit: 10_000_000, window: 60 };
const NOTHING_LEFT = { name: "hour", limit: 1, window: 3600 };
/** Small enough that all limiters can be driven over it at once. */
const ATTACKED = { name: "window", limit: 500, window: 4 };
/** Joining needs it, and without it each request asks for itself. */
const WITHOUT_JOINING = "no_handle_cross_request_promise_resolution";

type Round = Outcome & { workerdUs: number };
type Counts = { rows: number; objectCalls: number; decisions: number; databaseRequests: number };

/** What every part of this subject works with. */
type Setting = Options & {
  bench: AsyncDisposableStack;
  bed: Bed;
  names: Name[];
  serve: Serve;
  load: Generator;
};

/** `GET /v1/tenant/limits` beside other limiters behind the same token, and what partywall's own costs. */
export async function limits(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { say, connections } = options;
  say("starting Postgres, bundling the Workers");
  const bed = await makeBed(bench, connections * 4);
  const { names, serve } = await prepareLimiters(bench, bed);
  const setting: Setting = { ...options, bench, bed, names, serve, load: startLoad(bench) };
  const loads = await compareLoads(setting);
  const refusing = await compareRefusing(setting);
  const joining = await compareJoining(setting);
  const saturation = await saturateObject(setting);
  const scale = await growTenants(setting);
  say(`attacking all of them, ${ATTACKED.limit} requests in ${ATTACKED.window} s`);
  const attacks = await Promise.all(names.map((name) => attack(setting, name)));
  const minute = await countRows(setting);
  say("the pure core, from 1 to 100,000 tenants and from 10 to 1,000,000 units");
  const core = await measureCore(bench);
  return report(setting, { loads, refusing, joining, saturation, scale, attacks, minute, core });
}

/** Measures several Workers in turn, forwards and backwards, after a warm-up. */
async function interleave<Key extends string>(
  { load, say }: Setting,
  rounds: number,
  seconds: number,
  workers: Record<Key, Served>,
  requests: { tokens?: string[]; connections: number },
  expected = 200,
): Promise<Record<Key, Round[]>> {
  const keys = Object.keys(workers) as Key[];
  const measured = Object.fromEntries(keys.map((key) => [key, [] as Round[]])) as Record<Key, Round[]>;
  for (let round = 0; round <= rounds; round++)
    for (const key of round % 2 === 0 ? keys : keys.toReversed()) {
      const { port, pid } = workers[key];
      const before = cpuOf(pid);
      const outcome = await load.run({
        port,
        path: PATH,
        ...requests,
        seconds: round === 0 ? WARM_UP_S : seconds,
      });
      const workerdUs = (cpuOf(pid) - before) / outcome.answers;
      const when = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
      say(`${when}: ${key}, ${shown(outcome.perSecond)} requests/s`);
      if (outcome.statuses[expected] !== outcome.answers)
        throw new Error(`Not all answers were ${expected}: ${JSON.stringify(outcome.statuses)}`);
      if (round > 0) measured[key].push({ ...outcome, workerdUs });
    }
  for (const key of keys) await workers[key].stop();
  return measured;
}

/** What each limiter does under a load of so many connections. */
type Compared = { connections: number; limiters: Record<Name, Round[]> };

/** The same loads on all limiters: what each is best at differs, and no one load is fair to all. */
async function compareLoads(setting: Setting): Promise<[Compared, ...Compared[]]> {
  const compared = async (times: number): Promise<Compared> => {
    const connections = setting.connections * times;
    setting.say(`all limiters, ${connections} connections`);
    return { connections, limiters: await compareDecisions({ ...setting, connections }) };
  };
  return [await compared(1), await compared(2), await compared(4)];
}

/** The same load on all limiters. */
async function compareDecisions(setting: Setting): Promise<Record<Name, Round[]>> {
  const { bed, names, serve, connections, rounds, seconds } = setting;
  const { tokens } = await makeTenants(bed, TENANTS, [MINUTE]);
  const workers = await Promise.all(names.map(async (name) => [name, await serve(name, MINUTE)] as const));
  const requests = { tokens, connections };
  return interleave(setting, rounds, seconds, Object.fromEntries(workers) as Record<Name, Served>, requests);
}

type Refusing = {
  measured: Record<"partywall" | "constant" | "identified", Round[]>;
  /** Of partywall, for so many refusals in a row. */
  refusals: number;
  objectCalls: number;
  databaseRequests: number;
};

/** A tenant that is over, beside a Worker that answers a constant 429, without and with the same way to it. */
async function compareRefusing(setting: Setting): Promise<Refusing> {
  const { bench, bed, serve, load, connections, rounds } = setting;
  const { tokens } = await makeTenants(bed, 1, [NOTHING_LEFT]);
  const partywall = await serve("partywall");
  const example = await refuse(partywall, tokens);
  const text = `const body = ${JSON.stringify(await example.text())};
    const init = { status: 429, headers: ${JSON.stringify(headersToRepeat(example))} };
    export default { fetch() { return new Response(body, init); } };`;
  const constant = await serveBundle(bench, bundleText(bench, text), {});
  const identified = await serve("none", NOTHING_LEFT);
  const measured = await interleave(
    setting,
    Math.ceil(rounds / 2),
    SHORT_S,
    { partywall, constant, identified },
    { tokens, connections },
    429,
  );

  const counting = await serve("counting");
  await refuse(counting, tokens);
  const before = await countsOf(counting);
  const { answers } = await load.run({
    port: counting.port,
    path: PATH,
    tokens,
    connections,
    seconds: SHORT_S,
  });
  const after = await countsOf(counting);
  await counting.stop();
  return {
    measured,
    refusals: answers,
    objectCalls: after.objectCalls - before.objectCalls,
    databaseRequests: after.databaseRequests - before.databaseRequests,
  };
}

/** Uses up what the tenant has and returns the 429 that follows. */
async function refuse({ port }: Served, [token]: string[]): Promise<Response> {
  const get = () =>
    fetch(`http://127.0.0.1:${port}${PATH}`, { headers: { authorization: `Bearer ${token}` } });
  for (let attempt = 0; attempt < 3; attempt++) {
    const response = await get();
    if (response.status === 429) return response;
    await response.arrayBuffer();
  }
  throw new Error("The tenant is not refused.");
}

/** Without those that workerd sets itself. */
function headersToRepeat({ headers }: Response): Record<string, string> {
  const own = new Set([
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "keep-alive",
    "transfer-encoding",
  ]);
  return Object.fromEntries([...headers].filter(([name]) => !own.has(name)));
}

type Joining = { measured: Record<"joined" | "single", Round[]>; callsPerRequest: number };

/** Many requests of one tenant at once, joined and not; and how many calls they make. */
async function compareJoining(setting: Setting): Promise<Joining> {
  const { bed, serve, load, rounds } = setting;
  const { tokens } = await makeTenants(bed, 1, [ROOMY]);
  const workers = {
    joined: await serve("partywall"),
    single: await serve("partywall", undefined, { flags: [WITHOUT_JOINING] }),
  };
  const requests = { tokens, connections: IN_FLIGHT };
  const measured = await interleave(setting, Math.ceil(rounds / 2), SHORT_S, workers, requests);

  const counting = await serve("counting");
  const run = () => load.run({ port: counting.port, path: PATH, ...requests, seconds: SHORT_S });
  await run();
  const before = await countsOf(counting);
  const { answers } = await run();
  const after = await countsOf(counting);
  await counting.stop();
  return { measured, callsPerRequest: (after.objectCalls - before.objectCalls) / answers };
}

type Saturation = { batch: number; callsPerSecond: number; decisionsPerSecond: number };

/** What one object decides when calls of one to many requests keep it busy. */
async function saturateObject({ bed, serve, say }: Setting): Promise<Saturation[]> {
  const { ids } = await makeTenants(bed, 1, [ROOMY]);
  const worker = await serve("counting");
  const measured: Saturation[] = [];
  for (const batch of [1, 1, 8, 64]) {
    const path = `/bench/saturate?tenant=${ids[0] ?? ""}&batch=${batch}&callers=8&ms=1500`;
    const { calls, admitted, ms } = await ask<{ calls: number; admitted: number; ms: number }>(worker, path);
    if (admitted !== calls * batch) throw new Error("The object refused under saturation.");
    say(`one object, ${batch} a call: ${shown((calls * 1000) / ms)} calls/s`);
    measured.push({
      batch,
      callsPerSecond: (calls * 1000) / ms,
      decisionsPerSecond: (admitted * 1000) / ms,
    });
  }
  await worker.stop();
  return measured.slice(1); // The first one warmed up.
}

type Scale = {
  tenants: number;
  /** First requests, which make the object, read the tenant's record from Postgres and store it. */
  firstPerSecond: number;
  perSecond: number;
  p50: number;
  p99: number;
  residentBytes: number;
};

/** The same load on ever more tenants, each of which has been there before. */
async function growTenants({ bed, serve, load, connections, say }: Setting): Promise<Scale[]> {
  const { tokens } = await makeTenants(bed, 1_000, [ROOMY]);
  const worker = await serve("partywall");
  const measured: Scale[] = [];
  const run = (some: string[], seconds: number) =>
    load.run({ port: worker.port, path: PATH, tokens: some, connections, seconds });
  let visited = 0;
  for (const tenants of [1, 100, 1_000]) {
    const some = tokens.slice(0, tenants);
    const fresh = some.slice(visited).values();
    const started = performance.now();
    const visit = async (): Promise<void> => {
      for (const token of fresh) await ask(worker, PATH, { token });
    };
    await Promise.all(Array.from({ length: connections }, visit));
    const firstPerSecond = ((tenants - visited) * 1000) / (performance.now() - started);
    visited = tenants;
    await run(some, WARM_UP_S);
    const { perSecond, p50, p99 } = await run(some, 2 * SHORT_S);
    say(`${shown(tenants)} tenants: ${shown(perSecond)} requests/s`);
    measured.push({ tenants, firstPerSecond, perSecond, p50, p99, residentBytes: residentBytes(worker.pid) });
  }
  await worker.stop();
  return measured;
}

/** Memory of a process; NaN where there is no /proc. */
function residentBytes(pid: number): number {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kilobytes) * 1024;
  } catch {
    return Number.NaN;
  }
}

type Attack = {
  name: Name;
  admitted: number;
  rows: number;
  /** Admitted over the limit in the worst window that ended before the crash, and in any. */
  over: number;
  overWithCrash: number;
};

/**
 * A client that takes all it can get from the middle of one fixed window to the end of the next one's first half,
 * having opened a window of its own before; then workerd is killed, starts again on the same storage, and it goes on.
 */
async function attack({ bench, bed, serve }: Setting, name: Name): Promise<Attack> {
  const { tokens } = await makeTenants(bed, 1, [ATTACKED]);
  const objects = makeFolder(bench);
  const contender = name === "partywall" ? "counting" : name;
  const load = startLoad(bench);
  const ms = ATTACKED.window * 1000;
  const strike = (port: number, seconds: number) =>
    load.run({ port, path: PATH, tokens, connections: 8, seconds, pauseMs: 10, traced: true });

  const first = await serve(contender, ATTACKED, { objects });
  const boundary = Math.ceil((Date.now() + ms) / ms) * ms;
  await delay(boundary - ms - Date.now() + 50);
  await ask(first, PATH, { token: tokens[0] ?? "" });
  await delay(boundary - ms / 2 - Date.now());
  const striking = strike(first.port, (ms * 0.9) / 1000);
  await delay(boundary + ms * 0.4 - Date.now() - 50);
  const before = await countsOf(first);
  await delay(boundary + ms * 0.4 - Date.now());
  await first.stop();
  const untilCrash = (await striking).admitted;

  const second = await serve(contender, ATTACKED, { objects });
  const sinceCrash = (await strike(second.port, (ms * 0.75) / 1000)).admitted;
  const after = await countsOf(second);
  await second.stop();
  const over = (admitted: Admitted[]) => Math.max(0, worstWindow(admitted, ms) - ATTACKED.limit);
  return {
    name,
    admitted: untilCrash.length + sinceCrash.length,
    rows: before.rows + after.rows,
    over: over(untilCrash),
    overWithCrash: over([...untilCrash, ...sinceCrash]),
  };
}

type Minute = { seconds: number; admitted: number; rows: number };

/** The rows of one tenant of the plan enterprise that takes all it can get for most of a minute. */
async function countRows({ bed, serve, load, say }: Setting): Promise<Minute> {
  const seconds = 33;
  say(`one tenant of the plan enterprise takes all that it can get, for ${seconds} s`);
  const { tokens } = await makeTenants(bed, 1, [SECOND, MINUTE]);
  const worker = await serve("counting");
  const { statuses } = await load.run({
    port: worker.port,
    path: PATH,
    tokens,
    connections: 16,
    seconds,
    pauseMs: 5,
  });
  const { rows } = await countsOf(worker);
  await worker.stop();
  return { seconds, admitted: statuses[200] ?? 0, rows };
}

const countsOf = (worker: Served): Promise<Counts> => ask<Counts>(worker, "/bench/counts");

type Found = {
  loads: [Compared, ...Compared[]];
  refusing: Refusing;
  joining: Joining;
  saturation: Saturation[];
  scale: Scale[];
  attacks: Attack[];
  minute: Minute;
  core: Core;
};

function report({ names, connections, seconds, rounds }: Setting, found: Found): Result {
  const { loads, refusing, joining, saturation, scale, attacks, minute, core } = found;
  const [{ limiters: decisions }] = loads;
  const of = (measured: readonly Round[], key: "perSecond" | "p50" | "p99" | "workerdUs") =>
    measured.map((round) => round[key]);
  const median = (measured: readonly Round[], key: "perSecond" | "p50" | "p99" | "workerdUs") =>
    spread(of(measured, key)).median;
  const to = (these: readonly Round[], those: readonly Round[]): Spread =>
    ratio(of(these, "perSecond"), of(those, "perSecond"));

  const rowsOf = ({ name, rows, admitted }: Attack): number =>
    name === "partywall" ? (minute.rows * 1000) / minute.admitted : (rows * 1000) / admitted;
  const compared = attacks.map((attacked) => ({
    ...attacked,
    perSecond: median(decisions[attacked.name], "perSecond"),
    p50: median(decisions[attacked.name], "p50"),
    p99: median(decisions[attacked.name], "p99"),
    workerdUs: median(decisions[attacked.name], "workerdUs"),
    rowsPer1000: rowsOf(attacked),
    partywallTo: to(decisions.partywall, decisions[attacked.name]),
  }));
  const best = (name: Name) => Math.max(...loads.map(({ limiters }) => median(limiters[name], "perSecond")));
  const ratios = {
    toStored: to(decisions.partywall, decisions.stored),
    toMemory: to(decisions.partywall, decisions.memory),
    bestToStored: best("partywall") / best("stored"),
    bestToMemory: best("partywall") / best("memory"),
    refusing: to(refusing.measured.partywall, refusing.measured.constant),
    refusingIdentified: to(refusing.measured.partywall, refusing.measured.identified),
    joined: to(joining.measured.joined, joining.measured.single),
  };
  const own = attacks.find(({ name }) => name === "partywall");
  const [singly] = saturation;
  const callNs = 1e9 / (singly?.callsPerSecond ?? Number.NaN);
  const growth = (values: number[]) => Math.max(...values) / (values[0] ?? Number.NaN);
  const aims = [
    { aim: `decisions/s to stored, ${connections} connections`, least: 2, is: ratios.toStored.median },
    { aim: `decisions/s to in memory, ${connections} connections`, least: 0.9, is: ratios.toMemory.median },
    { aim: "decisions/s to stored, each at its best load", least: 2, is: ratios.bestToStored },
    { aim: "decisions/s to in memory, each at its best load", least: 0.9, is: ratios.bestToMemory },
    { aim: "over the limit, crash included", most: 0, is: own?.overWithCrash ?? Number.NaN },
    { aim: "rows in a minute", most: 64, is: minute.rows },
    { aim: "rows per 1,000 admitted", most: 2.2, is: (minute.rows * 1000) / minute.admitted },
    { aim: "refusals/s to a constant 429", least: 0.8, is: ratios.refusing.median },
    { aim: "object calls while refused", most: 0, is: refusing.objectCalls },
    { aim: "database requests while refused", most: 0, is: refusing.databaseRequests },
    { aim: `object calls a request, ${IN_FLIGHT} in flight`, most: 0.1, is: joining.callsPerRequest },
    { aim: "requests/s, joined to not", least: 1, is: ratios.joined.median },
    {
      aim: "a call that decides, each time another of 100,000 tenants, to 1",
      most: 1.1,
      is: growth(core.byTenants.map(({ scatteredNs }) => callNs + scatteredNs)),
    },
    {
      aim: "pure core, 100,000 tenants to 1",
      most: 1.5,
      is: growth(core.byTenants.map(({ ns }) => ns)),
    },
    { aim: "pure core, largest L to L = 10", most: 1.5, is: growth(core.byLimit.map(({ ns }) => ns)) },
    {
      aim: "state of a policy, KiB",
      most: 16,
      is: Math.max(...core.byLimit.map(({ rowBytes }) => rowBytes)) / 1024,
    },
  ];

  const roundsLine = (title: string, measured: readonly Round[], against?: Spread) => [
    title,
    shown(median(measured, "perSecond")),
    shown(median(measured, "p50"), 2),
    shown(median(measured, "p99"), 2),
    shown(median(measured, "workerdUs")),
    against ? shownSpread(against) : "",
  ];
  const head = ["", "requests/s", "p50 ms", "p99 ms", "workerd CPU, µs a request"];
  const text = [
    `GET ${PATH}: ${connections} connections, ${TENANTS} tenants, medians of ${rounds} rounds of ${seconds} s, interleaved.`,
    "All have the same token and the same answer; only the limiter differs. Ratios are taken round by round:",
    "median (lowest–highest).",
    "",
    table(
      ["", ...compared.map(({ name }) => TITLES[name])],
      [
        ["requests/s", ...compared.map(({ perSecond }) => shown(perSecond))],
        ["p50 ms", ...compared.map(({ p50 }) => shown(p50, 2))],
        ["p99 ms", ...compared.map(({ p99 }) => shown(p99, 2))],
        ["workerd CPU, µs a request", ...compared.map(({ workerdUs }) => shown(workerdUs))],
        [
          "partywall's requests/s to these",
          ...compared.map(({ name, partywallTo }) => (name === "partywall" ? "" : shownSpread(partywallTo))),
        ],
        ["rows per 1,000 admitted", ...compared.map(({ rowsPer1000 }) => shown(rowsPer1000, 1))],
        ["over the limit, worst window", ...compared.map(({ over }) => shown(over))],
        ["the same, with a crash", ...compared.map(({ overWithCrash }) => shown(overWithCrash))],
      ],
    ),
    "In memory: a Durable Object's fixed window. Stored: a Durable Object's sliding log, a row a request. Postgres: a",
    "counter row, one statement a request. Flexible: rate-limiter-flexible's Postgres limiter, over the same HTTP.",
    ...(names.includes("flexible") ? [] : ["rate-limiter-flexible is not installed, and was left out."]),
    `Over the limit: an attack of ${shown(ATTACKED.limit)} in ${ATTACKED.window} s from mid-window, with workerd killed in the middle; only`,
    "requests that were asked and answered within one window count. partywall's rows are those of the plan enterprise,",
    `saturated for ${minute.seconds} s: ${shown(minute.admitted)} admitted, ${shown(minute.rows)} rows.`,
    "",
    table(
      ["requests/s", ...names.map((name) => TITLES[name]), "to in memory", "to stored"],
      loads.map(({ connections: many, limiters }) => [
        `${many} connections`,
        ...names.map((name) => shown(median(limiters[name], "perSecond"))),
        shownSpread(to(limiters.partywall, limiters.memory)),
        shownSpread(to(limiters.partywall, limiters.stored)),
      ]),
    ),
    "Requests of a tenant that wait for its object go as one call, so partywall gains where the others queue.",
    "",
    table(
      [...head, "partywall to it"],
      [
        roundsLine("partywall, refusing", refusing.measured.partywall),
        roundsLine("constant 429", refusing.measured.constant, ratios.refusing),
        roundsLine(
          "constant 429 after the same token",
          refusing.measured.identified,
          ratios.refusingIdentified,
        ),
      ],
    ),
    `While it refused ${shown(refusing.refusals)} requests: ${shown(refusing.objectCalls)} object calls, ${shown(refusing.databaseRequests)} database requests.`,
    "",
    table(
      [...head, "joined to it"],
      [
        roundsLine(`one tenant, ${IN_FLIGHT} in flight, joined`, joining.measured.joined),
        roundsLine("each asks for itself", joining.measured.single, ratios.joined),
      ],
    ),
    `Object calls a request, joined: ${shown(joining.callsPerRequest, 3)}. Joining is switched off by a compatibility flag, in the same bundle.`,
    "",
    table(
      ["one object, saturated", "calls/s", "decisions/s"],
      saturation.map(({ batch, callsPerSecond, decisionsPerSecond }) => [
        `${batch} a call`,
        shown(callsPerSecond),
        shown(decisionsPerSecond),
      ]),
    ),
    "",
    table(
      ["through workerd", "first requests/s", "requests/s", "p50 ms", "p99 ms", "workerd, MB resident"],
      scale.map(({ tenants, firstPerSecond, perSecond, p50, p99, residentBytes: bytes }) => [
        `${shown(tenants)} tenant${tenants === 1 ? "" : "s"}`,
        tenants === 1 ? "–" : shown(firstPerSecond),
        shown(perSecond),
        shown(p50, 2),
        shown(p99, 2),
        shown(bytes / 1e6),
      ]),
    ),
    "First requests make the object, read the tenant's record from Postgres, and wait for both of its rows.",
    "",
    table(
      ["pure core", "ns a decision", "ns, each time another tenant", "KB a tenant"],
      core.byTenants.map(({ tenants, ns, scatteredNs, bytes }) => [
        `${shown(tenants)} tenant${tenants === 1 ? "" : "s"}`,
        shown(ns),
        shown(scatteredNs),
        tenants < 1_000 ? "–" : shown(bytes / 1000, 1),
      ]),
    ),
    "A decision is one of 64 in a row for its tenant, or the first; that one has to fetch the tenant's cells from memory.",
    "",
    table(
      ["pure core", "ns a decision", "ns with its rows", "row, KiB"],
      core.byLimit.map(({ limit, ns, withRowsNs, rowBytes }) => [
        `L = ${shown(limit)}`,
        shown(ns),
        shown(withRowsNs),
        shown(rowBytes / 1024, 1),
      ]),
    ),
    "",
    aimsTable(aims),
  ].join("\n");
  const { measured, ...counted } = refusing;
  return {
    data: {
      connections,
      seconds,
      rounds,
      tenants: TENANTS,
      compared,
      loads: loads.map(({ connections: many, limiters }) => ({
        connections: many,
        perSecond: Object.fromEntries(names.map((name) => [name, median(limiters[name], "perSecond")])),
      })),
      ratios,
      refusing: {
        ...counted,
        perSecond: Object.fromEntries(
          Object.entries(measured).map(([key, each]) => [key, median(each, "perSecond")]),
        ),
      },
      joining: {
        callsPerRequest: joining.callsPerRequest,
        joined: median(joining.measured.joined, "perSecond"),
        single: median(joining.measured.single, "perSecond"),
      },
      saturation,
      scale,
      minute,
      core,
      aims,
    },
    text,
  };
}
