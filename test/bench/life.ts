import { constants, setPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { aimsTable } from "./aims.ts";
import { ask, makeFleetBed, makeTenant, signIn } from "./bed.ts";
import { ratio, shown, shownSpread, spread, table } from "./figures.ts";
import { fillTenant, type Ground } from "./grounds.ts";
import { startLoad, type Outcome } from "./load.ts";
import { watchHeap } from "./inspector.ts";
import { peakOf, serveWhole } from "./miniflare.ts";
import { requestsTo } from "./requests.ts";
import { connect } from "./sides.ts";
import type { Options, Result } from "./subject.ts";
import { bundleDeployed, makeFolder, serve, type Served } from "./workerd.ts";

const ROWS = 1_000_000;
const NEIGHBOUR_ROWS = 10_000;
/** What a neighbour's clients do, 100 times a second. */
const NEIGHBOUR = { connections: 4, everyMs: 40 };
const ROUND_S = 3;
const ROUNDS_BEFORE = 10;
const POLL_MS = 100;
const LIMITS = [{ name: "minute", limit: 60_000_000, window: 60 }];

/** What was done to the tenant: how long it took, and a neighbour's requests meanwhile. */
type Phase = {
  name: string;
  seconds: number;
  during: Outcome[];
  own: Outcome[];
  memory: Memory;
};
/** The most so far, in MiB: of the isolate's heap, garbage included, and of its process, which has wrangler's simulators too. */
type Memory = { heap: number; process: number };

/** Exports a tenant, imports it into another one, and erases it, beside a neighbour who works on. */
export async function life(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { rows = ROWS, connections, say } = options;
  say("starting Postgres, bundling the Worker");
  const { bed, variables: jobVariables } = await makeFleetBed(bench, connections);
  const bundle = await bundleDeployed(bench);
  const variables = { ...bed.variables, LOG_REQUESTS: "off" };
  const worker = await serveWhole(bench, bundle, variables, makeFolder(bench));
  // Where it is deployed, a Workflow and R2 are at other machines than the neighbours' requests.
  setPriority(worker.pid, constants.priority.PRIORITY_LOW);
  const neighbours = await serve(bench, bundle, variables);
  const first = await connect(bench, bed.superuserUrl);
  const ground: Ground = {
    bed,
    variables: jobVariables,
    worker: neighbours,
    first,
    second: { client: first, url: bed.superuserUrl },
  };
  const neighbour = await fillTenant(ground, "neighbour", NEIGHBOUR_ROWS);
  say(`loading ${shown(rows)} rows`);
  const large = await fillTenant(ground, "large", rows);
  await makeTenant(bed, neighbours, "empty", LIMITS);
  const [{ token: others }, { token }, target] = [
    await signIn(neighbours, "neighbour"),
    await signIn(worker, "large"),
    await signIn(worker, "empty"),
  ];
  const load = startLoad(bench);
  const round = (projects: string[], of: string, at: Served): Promise<Outcome> => {
    const { read, patch } = requestsTo(projects);
    const asks = patch.asks.flatMap((each) => [...read.asks, each]);
    return load.run({ port: at.port, asks, tokens: [of], ...NEIGHBOUR, seconds: ROUND_S });
  };
  await round(neighbour.projects, others, neighbours);
  const before: Outcome[] = [];
  for (let at = 0; at < ROUNDS_BEFORE; at++) before.push(await round(neighbour.projects, others, neighbours));
  const heap = await watchHeap(bench, worker.inspectorPort, "core:user:partywall");
  const memory = () => ({ heap: heap.peak(), process: peakOf(worker.pid) });
  const idle = memory();

  /** Waits until `isDone`, while the neighbour works, and the tenant itself where it may. */
  const watch = async (name: string, isOwn: boolean, isDone: () => Promise<boolean>): Promise<Phase> => {
    const started = performance.now();
    const [during, own]: [Outcome[], Outcome[]] = [[], []];
    const over = new AbortController();
    const working = (async () => {
      while (!over.signal.aborted) {
        during.push(await round(neighbour.projects, others, neighbours));
        if (isOwn && !over.signal.aborted) own.push(await round(large.projects, token, worker));
      }
    })();
    while (!(await isDone())) await delay(POLL_MS);
    const seconds = (performance.now() - started) / 1000;
    over.abort();
    await working;
    const most = memory();
    say(`${name}: ${shown(rows / seconds)} rows/s; so far at most ${shown(most.heap)} MiB of heap`);
    return { name, seconds, during, own, memory: most };
  };
  const api = `http://127.0.0.1:${worker.port}`;
  const statusOf = async (path: string, of: string): Promise<boolean> => {
    const { status } = await ask<{ status: string }>(worker, path, { token: of });
    if (status === "failed") throw new Error(`${path} has failed`);
    return status === "done";
  };

  const { id } = await ask<{ id: string }>(worker, "/v1/tenant/exports", { token, body: {} });
  const phases = [await watch("export", true, () => statusOf(`/v1/tenant/exports/${id}`, token))];
  const archive = await (
    await fetch(`${api}/v1/tenant/exports/${id}/archive`, { headers: { authorization: `Bearer ${token}` } })
  ).arrayBuffer();
  say(`the archive has ${shown(archive.byteLength / 1e6, 1)} MB`);
  const sent = await fetch(`${api}/v1/tenant/imports`, {
    method: "POST",
    headers: { authorization: `Bearer ${target.token}`, "content-type": "application/zip" },
    body: archive,
  });
  const { id: importing } = (await sent.json()) as { id: string };
  if (sent.status !== 202) throw new Error(`The import is refused: ${sent.status}`);
  phases.push(await watch("import", false, () => statusOf(`/v1/tenant/imports/${importing}`, target.token)));
  await ask(worker, `/v1/operator/tenants/${large.tenantId}/erase`, {
    token: bed.variables["OPERATOR_TOKEN"] ?? "",
    body: { reason: "bench" },
  });
  const isErased = async () =>
    (await ask<{ receipt: string | null }>(worker, `/v1/erasures/${large.tenantId}`)).receipt !== null;
  phases.push(await watch("erasure", false, isErased));

  const p99 = (outcomes: readonly Outcome[]) => spread(outcomes.map((each) => each.p99));
  const calm = p99(before).median;
  const to = (outcomes: readonly Outcome[]) =>
    ratio(
      outcomes.map((each) => each.p99),
      outcomes.map(() => calm),
    );
  return {
    data: {
      rows,
      archiveBytes: archive.byteLength,
      idle,
      calm,
      phases: phases.map(({ name, seconds, during, memory: most }) => ({
        name,
        seconds,
        memory: most,
        p99: p99(during),
        toCalm: to(during),
      })),
    },
    text: [
      `A tenant of ${shown(rows)} rows is exported, imported into another tenant, and erased, by the Workflows and the R2 that wrangler`,
      `simulates, in a process of low priority; the archive has ${shown(archive.byteLength / 1e6, 1)} MB. Another tenant reads and writes 100 times a second meanwhile; its p99 is`,
      `${shown(calm, 1)} ms before. The isolate's heap had ${shown(idle.heap)} MiB before, garbage included, and its process, which has the`,
      `simulators too, ${shown(idle.process)} MiB.`,
      "",
      table(
        [
          "",
          "seconds",
          "rows/s",
          "neighbour's p99, ms",
          "to before",
          "own requests, p99 ms",
          "heap, MiB",
          "process, MiB",
        ],
        phases.map(({ name, seconds, during, own, memory: most }) => [
          name,
          shown(seconds, 1),
          shown(rows / seconds),
          shownSpread(p99(during), 1),
          shownSpread(to(during)),
          shownSpread(p99(own), 1),
          shown(most.heap),
          shown(most.process),
        ]),
      ),
      "",
      aimsTable([
        ...phases
          .filter(({ name }) => name !== "import")
          .map(({ name, during }) => ({
            aim: `another tenant's p99 during the ${name}, to before`,
            is: to(during).median,
            most: 1.3,
          })),
        {
          aim: "own requests of the export that failed",
          is:
            phases[0]?.own.reduce((sum, each) => sum + each.answers - (each.statuses[200] ?? 0), 0) ??
            Number.NaN,
          most: 0,
        },
      ]),
    ].join("\n"),
  };
}
