import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { aimsTable } from "./aims.ts";
import { ratio, shown, shownSpread, spread, table } from "./figures.ts";
import { startLoad } from "./load.ts";
import { costing } from "./pipeline.ts";
import type { Round } from "./pipeline-report.ts";
import { chosenRequests, type RequestName } from "./requests.ts";
import type { Options, Result } from "./subject.ts";

const SIDES = ["here", "there"] as const;
type Side = (typeof SIDES)[number];

const WARM_UP_S = 3;
/** What a change may cost a request that does not use it. */
const MOST_SLOWER = 0.03;

const FIGURES = [
  ["requests/s", ({ perSecond }: Round) => perSecond],
  ["p50 ms", ({ p50 }: Round) => p50],
  ["workerd CPU, µs a request", ({ workerdUs }: Round) => workerdUs],
  ["Postgres CPU, µs a request", ({ postgresUs }: Round) => postgresUs],
] as const;

/**
 * The same requests through this checkout's Worker and through that of `--checkout`, in turn, each with a Postgres of its own.
 * It says whether a change has made requests slower, which two runs of `pipeline`, one after the other, do not: a machine
 * is not as fast now as it was a minute ago.
 */
export async function beside(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { connections, seconds, rounds, say } = options;
  const [chosen, other] = [chosenRequests(options.only), checkoutOf(options)];
  const sides = {
    here: await enter(bench, join(import.meta.dirname, "../.."), options),
    there: await enter(bench, other, options),
  };
  const load = startLoad(bench);
  const measured = new Map<RequestName, Record<Side, Round[]>>(
    chosen.map((request) => [request, { here: [], there: [] }]),
  );
  for (let round = 0; round <= rounds; round++)
    for (const [request, found] of measured)
      for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
        const { bed, contest } = sides[side];
        const { contestants, requests, signIn, reset } = contest;
        const { worker } = contestants.partywall;
        const headers = { authorization: `Bearer ${await signIn()}` };
        const { asks, writes } = requests[request];
        const duration = round === 0 ? WARM_UP_S : seconds;
        const result = await costing(bed, worker, requests[request], () =>
          load.run({ port: worker.port, asks, headers, connections, seconds: duration }),
        );
        const when = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
        say(`${when}, ${request}: ${side}, ${shown(result.perSecond)} requests/s`);
        if (round > 0) found[side].push(result);
        if (writes) await reset();
      }
  return report(options, measured);
}

/** The other checkout's folder. Throws without one whose packages are installed. */
function checkoutOf({ checkout }: Options): string {
  const folder = checkout && resolve(checkout);
  if (folder && existsSync(join(folder, "node_modules")) && existsSync(join(folder, "test/bench/bed.ts")))
    return folder;
  throw new Error(
    "beside needs --checkout and the folder of another checkout, in which `npm ci` has run: `git worktree add ../before main~10`.",
  );
}

/** A bed and a contest as a checkout's own bench makes them: its migrations, its sign-up, its Worker. */
async function enter(bench: AsyncDisposableStack, folder: string, { connections, say }: Options) {
  say(`starting Postgres, bundling the Workers of ${folder}`);
  const moduleOf = (name: string) => import(pathToFileURL(join(folder, "test/bench", name)).href);
  // Both have been there for long, and are alike from one version to the next.
  const { makeBed } = (await moduleOf("bed.ts")) as typeof import("./bed.ts");
  const { startContest } = (await moduleOf("contestants.ts")) as typeof import("./contestants.ts");
  const bed = await makeBed(bench, connections * 4);
  return { bed, contest: await startContest(bench, bed) };
}

function report(
  { connections, seconds, rounds, checkout = "" }: Options,
  measured: ReadonlyMap<RequestName, Record<Side, Round[]>>,
): Result {
  const figures = [...measured].flatMap(([request, { here, there }]) =>
    FIGURES.map(([figure, of]) => ({
      request,
      figure,
      here: spread(here.map(of)),
      there: spread(there.map(of)),
      ratio: ratio(here.map(of), there.map(of)),
    })),
  );
  const aims = figures
    .filter(({ figure }) => figure === "requests/s")
    .map(({ request, ratio: is }) => ({
      aim: `${request}, requests/s to ${checkout}`,
      least: 1 - MOST_SLOWER,
      is: is.median,
    }));
  const text = [
    `${connections} connections, medians of ${rounds} rounds of ${seconds} s: this checkout and ${checkout} in turn, each with`,
    "a Postgres of its own. Ratios are this one's to the other's, round by round: median (lowest–highest).",
    "",
    table(
      ["", "here", "there", "ratio"],
      figures.map(({ request, figure, here, there, ratio: both }) => [
        `${request}: ${figure}`,
        shown(here.median, figure === "p50 ms" ? 2 : 0),
        shown(there.median, figure === "p50 ms" ? 2 : 0),
        shownSpread(both),
      ]),
    ),
    "",
    aimsTable(aims),
  ].join("\n");
  return { data: { checkout, rounds, seconds, figures, aims }, text };
}
