import { setTimeout as delay } from "node:timers/promises";
import { aimsTable } from "./aims.ts";
import { makeBed, type Bed } from "./bed.ts";
import { NAMES, startContest, type Contestant, type Name } from "./contestants.ts";
import { cpuOf, cpuOfFamily } from "./cpu.ts";
import { ratio, shown, shownSpread, spread, table, type Spread } from "./figures.ts";
import { startLoad, type Outcome } from "./load.ts";
import { measureStartUp, STARTS } from "./start-up.ts";
import type { Options, Result } from "./subject.ts";
import { sizeOf, type Served } from "./workerd.ts";

const WARM_UP_S = 3;
/** Above this share of its own time the load generator, not the Worker, would be what is measured. */
const TOO_BUSY = 0.85;

/** One measurement; CPU times are µs a request. */
type Round = Outcome & { workerdUs: number; postgresUs: number; endpointUs: number };
type Rounds = Record<Name, Round[]>;

type Quantity = "perSecond" | "p50" | "p99" | "workerdUs" | "postgresUs" | "endpointUs";

/** `GET /v1/projects/{id}` through the whole Worker, beside one made by hand and the least that answers. */
export async function pipeline(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { connections, seconds, rounds, say } = options;
  say("starting Postgres, bundling the Workers");
  // Room for the connections of all logins: none is opened in a round because another's was closed.
  const bed = await makeBed(bench, connections * 4);
  const { contestants, path, signIn } = await startContest(bench, bed);
  const load = startLoad(bench);

  const measured: Rounds = { partywall: [], "by hand": [], floor: [] };
  for (let round = 0; round <= rounds; round++) {
    const headers = { authorization: `Bearer ${await signIn()}` };
    for (const name of round % 2 === 0 ? NAMES : NAMES.toReversed()) {
      const { worker } = contestants[name];
      const duration = round === 0 ? WARM_UP_S : seconds;
      const result = await costing(bed, worker, () =>
        load.run({ port: worker.port, path, headers, connections, seconds: duration }),
      );
      const when = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
      say(`${when}: ${name}, ${shown(result.perSecond)} requests/s`);
      if (round > 0) measured[name].push(result);
    }
  }
  for (const { worker } of Object.values(contestants)) await worker.stop();

  say("starting each Worker afresh, several times");
  return report(options, measured, contestants, await measureStartUp(bench, contestants));
}

/** Adds the CPU times of a request to what `run` finds. Throws when an answer was not 200. */
async function costing(bed: Bed, worker: Served, run: () => Promise<Outcome>): Promise<Round> {
  const times = () => ({
    workerd: cpuOf(worker.pid),
    postgres: cpuOfFamily(bed.stack.pids.postgres),
    endpoint: cpuOf(bed.stack.pids.stack),
  });
  const before = times();
  const outcome = await run();
  // The endpoint goes on resetting its sessions after the last answer.
  await delay(100);
  const after = times();
  if (outcome.statuses[200] !== outcome.answers)
    throw new Error(`Not all answers were 200: ${JSON.stringify(outcome.statuses)}`);
  const each = (part: keyof typeof after) => (after[part] - before[part]) / outcome.answers;
  return {
    ...outcome,
    workerdUs: each("workerd"),
    postgresUs: each("postgres"),
    endpointUs: each("endpoint"),
  };
}

type Measured = {
  of: Record<Name, Spread>;
  toByHand: Spread;
  toFloor: Spread;
};

function report(
  { connections, seconds, rounds }: Options,
  measured: Rounds,
  contestants: Record<Name, Contestant>,
  startUps: Record<Name, Spread>,
): Result {
  const each = <T>(find: (name: Name) => T) =>
    Object.fromEntries(NAMES.map((name) => [name, find(name)])) as Record<Name, T>;
  const measure = (key: Quantity): Measured => {
    const of = each((name) => measured[name].map((round) => round[key]));
    return {
      of: each((name) => spread(of[name])),
      toByHand: ratio(of.partywall, of["by hand"]),
      toFloor: ratio(of.partywall, of.floor),
    };
  };
  const figures = {
    perSecond: measure("perSecond"),
    p50: measure("p50"),
    p99: measure("p99"),
    workerdUs: measure("workerdUs"),
    postgresUs: measure("postgresUs"),
    endpointUs: measure("endpointUs"),
  };
  const sizes = each((name) => sizeOf(contestants[name].bundle));
  const busy = Math.max(...NAMES.flatMap((name) => measured[name].map((round) => round.busy)));
  const aims = [
    { aim: "requests/s to the floor", least: 0.65, is: figures.perSecond.toFloor.median },
    { aim: "requests/s to by hand", least: 0.95, is: figures.perSecond.toByHand.median },
    { aim: "workerd CPU to the floor", most: 1.4, is: figures.workerdUs.toFloor.median },
    { aim: "bundle, KB gzipped", most: 130, is: sizes.partywall.gzip / 1000 },
  ];

  const line = (title: string, decimals: number, { of, toByHand, toFloor }: Measured) => [
    title,
    ...NAMES.map((name) => shown(of[name].median, decimals)),
    shownSpread(toByHand),
    shownSpread(toFloor),
  ];
  const text = [
    `GET /v1/projects/{id}: ${connections} connections, medians of ${rounds} rounds of ${seconds} s, interleaved.`,
    "Ratios are partywall's, taken round by round: median (lowest–highest).",
    "",
    table(
      ["", ...NAMES, "to by hand", "to the floor"],
      [
        line("requests/s", 0, figures.perSecond),
        line("p50 ms", 2, figures.p50),
        line("p99 ms", 2, figures.p99),
        line("workerd CPU, µs a request", 0, figures.workerdUs),
        line("Postgres CPU, µs a request", 0, figures.postgresUs),
        line("local endpoint CPU, µs a request", 0, figures.endpointUs),
      ],
    ),
    `The load generator was busy for ${shown(busy * 100)} % of its time at most.`,
    ...(busy > TOO_BUSY ? ["That is too much: it, not the Workers, may be what was measured."] : []),
    "",
    table(
      ["", ...NAMES],
      [
        ["bundle, KB", ...NAMES.map((name) => shown(sizes[name].raw / 1000))],
        ["bundle, KB gzipped", ...NAMES.map((name) => shown(sizes[name].gzip / 1000))],
        ["start-up, ms", ...NAMES.map((name) => shown(startUps[name].median, 1))],
      ],
    ),
    "Bundles are what `wrangler deploy` uploads, without source maps. Start-up is the time from the start of a fresh",
    `workerd to its first answer to GET /health, less the same for an empty Worker: the median of ${STARTS}. It holds the`,
    "first request too; the start-up time that Cloudflare limits is measured only at an upload.",
    "",
    aimsTable(aims),
  ].join("\n");
  return {
    data: { connections, seconds, rounds, figures, sizes, startUps, aims, generatorBusy: busy },
    text,
  };
}
