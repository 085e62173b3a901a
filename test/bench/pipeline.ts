import { setTimeout as delay } from "node:timers/promises";
import { makeBed, type Bed } from "./bed.ts";
import { NAMES, startContest } from "./contestants.ts";
import { cpuOf, cpuOfFamily } from "./cpu.ts";
import { shown } from "./figures.ts";
import { startLoad, type Outcome } from "./load.ts";
import { report, type Round, type Rounds } from "./pipeline-report.ts";
import { chosenRequests, type Request, type RequestName } from "./requests.ts";
import { measureStartUp } from "./start-up.ts";
import type { Options, Result } from "./subject.ts";
import type { Served } from "./workerd.ts";

const WARM_UP_S = 3;

/** Requests through the whole Worker, beside one made by hand and the least that answers. */
export async function pipeline(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { connections, seconds, rounds, say } = options;
  const chosen = chosenRequests(options.only);
  say("starting Postgres, bundling the Workers");
  // Room for the connections of all logins: none is opened in a round because another's was closed.
  const bed = await makeBed(bench, connections * 4);
  const { contestants, requests, signIn, countEvents, reset } = await startContest(bench, bed);
  const load = startLoad(bench);

  const measured = new Map<RequestName, Rounds>(
    chosen.map((request) => [request, { partywall: [], "by hand": [], floor: [] }]),
  );
  for (let round = 0; round <= rounds; round++) {
    const headers = { authorization: `Bearer ${await signIn()}` };
    for (const [request, found] of measured) {
      const { asks, writes } = requests[request];
      for (const name of round % 2 === 0 ? NAMES : NAMES.toReversed()) {
        const { worker } = contestants[name];
        const duration = round === 0 ? WARM_UP_S : seconds;
        const result = await costing(bed, worker, requests[request], () =>
          load.run({ port: worker.port, asks, headers, connections, seconds: duration }),
        );
        const when = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
        say(`${when}, ${request}: ${name}, ${shown(result.perSecond)} requests/s`);
        if (round > 0) found[name].push(result);
        if (writes && name === "partywall" && (await countEvents()) !== result.answers)
          throw new Error(`${request}: the audit trail does not hold one event for each answer.`);
      }
      // Each contestant writes to its own table, and finds it in every round as it was in the first.
      if (writes) await reset();
    }
  }
  for (const { worker } of Object.values(contestants)) await worker.stop();

  say("starting each Worker afresh, several times");
  return report(options, requests, measured, contestants, await measureStartUp(bench, contestants));
}

/** Adds the CPU times of a request to what `run` finds. Throws when an answer had another status than it should. */
export async function costing(
  bed: Bed,
  worker: Served,
  { title, status }: Request,
  run: () => Promise<Outcome>,
): Promise<Round> {
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
  if (outcome.statuses[status] !== outcome.answers)
    throw new Error(`${title}: not all answers were ${status}: ${JSON.stringify(outcome.statuses)}`);
  const each = (part: keyof typeof after) => (after[part] - before[part]) / outcome.answers;
  return {
    ...outcome,
    workerdUs: each("workerd"),
    postgresUs: each("postgres"),
    endpointUs: each("endpoint"),
  };
}
