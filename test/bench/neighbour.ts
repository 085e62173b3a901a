import { join } from "node:path";
import { aimsTable } from "./aims.ts";
import { ask, makeBed, makeTenant, signIn } from "./bed.ts";
import { ratio, shown, shownSpread, spread, table } from "./figures.ts";
import { startLoad, type Outcome } from "./load.ts";
import type { Options, Result } from "./subject.ts";
import { bundleDeployed, bundleWorker, serve } from "./workerd.ts";

/** What the quiet tenant has beside it. */
const SITUATIONS = [
  "nobody",
  "500 within its limit",
  "500 over its limit",
  "500 at a constant answer",
] as const;
type Situation = (typeof SITUATIONS)[number];
type Round = { quiet: Outcome; loud: Outcome | undefined };

const WARM_UP_S = 2;
const QUIET_CONNECTIONS = 2;
const LOUD_CONNECTIONS = 500;
/** Who is told to come back in a second does so, but for a flood. */
const PAUSE_MS = 1_000;
/** The loud one is there before the quiet one is measured, and still there afterwards. */
const LEAD_S = 0.5;
/** Of Postgres, for both. */
const DATABASE_CONNECTIONS = 20;

const ROOMY = [{ name: "minute", limit: 60_000_000, window: 60 }];
const SMALL = [{ name: "minute", limit: 300, window: 60 }];
/** What 500 connections cost the machine and the runtime alone, in the same isolate. */
const CONSTANT = "/bench/constant";

/** A quiet tenant's `GET /v1/projects/{id}` while another one, in the same isolate, sends as much as it can. */
export async function neighbour(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { rounds, seconds, say } = options;
  say("starting Postgres, bundling the Worker");
  const bed = await makeBed(bench, DATABASE_CONNECTIONS);
  const entry = join(import.meta.dirname, "workers/constant.ts");
  const [whole, measured] = await Promise.all([
    bundleDeployed(bench),
    bundleWorker(bench, entry, [{ name: "TENANT", class_name: "Tenant" }]),
  ]);
  const api = await serve(bench, whole, bed.variables);
  const worker = await serve(bench, measured, bed.variables);
  for (const [slug, limits] of [
    ["quiet", ROOMY],
    ["within", ROOMY],
    ["over", SMALL],
  ] as const)
    await makeTenant(bed, api, slug, limits);
  const projectOf = async (token: string): Promise<string> => {
    const { id } = await ask<{ id: string }>(worker, "/v1/projects", { token, body: { name: "Roof" } });
    return `/v1/projects/${id}`;
  };
  const requestsOf = async (slug: string) => {
    const { token } = await signIn(api, slug);
    return { port: worker.port, tokens: [token], path: await projectOf(token) };
  };
  const quiet = await requestsOf("quiet");
  const louds = {
    nobody: undefined,
    "500 within its limit": { ...(await requestsOf("within")), pauseMs: PAUSE_MS },
    "500 over its limit": await requestsOf("over"),
    "500 at a constant answer": { port: worker.port, path: CONSTANT },
  };
  const [quietLoad, loudLoad] = [startLoad(bench), startLoad(bench)];

  const found = Object.fromEntries(SITUATIONS.map((name) => [name, [] as Round[]])) as Record<
    Situation,
    Round[]
  >;
  for (let round = 0; round <= rounds; round++)
    for (const situation of round % 2 === 0 ? SITUATIONS : SITUATIONS.toReversed()) {
      const length = round === 0 ? WARM_UP_S : seconds;
      const loud = louds[situation];
      const beside = loud
        ? loudLoad.run({ ...loud, connections: LOUD_CONNECTIONS, seconds: length + 2 * LEAD_S })
        : undefined;
      await new Promise((resolve) => setTimeout(resolve, LEAD_S * 1000));
      const result = await quietLoad.run({ ...quiet, connections: QUIET_CONNECTIONS, seconds: length });
      if (result.statuses[200] !== result.answers)
        throw new Error(`Not all answers were 200: ${JSON.stringify(result.statuses)}`);
      const when = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
      say(`${when}: beside ${situation}, p50 ${shown(result.p50, 1)} ms, p99 ${shown(result.p99, 1)} ms`);
      const outcome = await beside;
      if (round > 0) found[situation].push({ quiet: result, loud: outcome });
    }
  return report(options, found);
}

function report({ rounds, seconds }: Options, found: Record<Situation, Round[]>): Result {
  const of = (situation: Situation, key: "p50" | "p99" | "perSecond") =>
    found[situation].map(({ quiet }) => quiet[key]);
  const figures = SITUATIONS.map((situation) => {
    const answers = (status: (code: number) => boolean) =>
      found[situation].map(({ loud }) =>
        Object.entries(loud?.statuses ?? {})
          .filter(([code]) => status(Number(code)))
          .reduce((sum, [, count]) => sum + count, 0),
      );
    return {
      situation,
      perSecond: spread(of(situation, "perSecond")),
      p50: spread(of(situation, "p50")),
      p99: spread(of(situation, "p99")),
      p50ToCalm: ratio(of(situation, "p50"), of("nobody", "p50")),
      p99ToCalm: ratio(of(situation, "p99"), of("nobody", "p99")),
      loudAnswered: spread(answers((code) => code === 200)),
      loudRefused: spread(answers((code) => code !== 200)),
    };
  });
  const is = (situation: Situation) =>
    figures.find((each) => each.situation === situation)?.p99ToCalm.median ?? Number.NaN;
  const aims = (["500 within its limit", "500 over its limit"] as const).map((situation) => ({
    aim: `p99 beside ${situation}, to calm`,
    most: 3,
    is: is(situation),
  }));
  const text = [
    `A quiet tenant's GET /v1/projects/{id}, ${QUIET_CONNECTIONS} connections, while another tenant of the same isolate has`,
    `${LOUD_CONNECTIONS} requests in flight: medians of ${rounds} rounds of ${seconds} s, interleaved; ratios round by round. Who is`,
    "refused within its limit waits for Retry-After; who floods does not. A constant answer, from the same isolate, is",
    "what as many requests cost this machine and the runtime by themselves.",
    "",
    table(
      ["beside", "requests/s", "p50 ms", "p99 ms", "p50 to calm", "p99 to calm", "its 200s", "its refusals"],
      figures.map(({ situation, perSecond, p50, p99, p50ToCalm, p99ToCalm, loudAnswered, loudRefused }) => [
        situation,
        shown(perSecond.median),
        shown(p50.median, 1),
        shown(p99.median, 1),
        shownSpread(p50ToCalm, 1),
        shownSpread(p99ToCalm, 1),
        shown(loudAnswered.median),
        shown(loudRefused.median),
      ]),
    ),
    "",
    aimsTable(aims),
  ].join("\n");
  return { data: { rounds, seconds, figures, aims }, text };
}
