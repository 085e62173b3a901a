import { readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { join } from "node:path";
import { makeBed } from "./bed.ts";
import { startContest } from "./contestants.ts";
import { cpuOf } from "./cpu.ts";
import { shown, table } from "./figures.ts";
import { profiling, type Node, type Profile } from "./inspector.ts";
import { startLoad } from "./load.ts";
import { chosenRequests } from "./requests.ts";
import type { Options, Result } from "./subject.ts";
import type { Bundle } from "./workerd.ts";

const WARM_UP_S = 3;
const SHOWN = 40;
/** How esbuild says which file the lines that follow are of. */
const NAMED_FILE = /^(?:\/\/ |\s+")\S*?((?:node_modules|src|test)\/\S+\.[cm]?[jt]s)(?:"|$)/;

/** A function and where it is declared; its self time as a share of the samples, and in µs of CPU time a request. */
type Row = { name: string; at: string; share: number; us: number };

/**
 * Where the CPU time of a request goes, by function, in partywall's Worker and in the one by hand. The request is the
 * point read unless `--only` names another.
 */
export async function profile(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { connections, say } = options;
  const [chosen = "read"] = options.only.length > 0 ? chosenRequests(options.only) : [];
  const seconds = options.rounds * options.seconds;
  say("starting Postgres, bundling the Workers");
  const bed = await makeBed(bench, connections * 4);
  const { contestants, requests, signIn } = await startContest(bench, bed, { readable: true });
  const load = startLoad(bench);
  const { title, asks, status } = requests[chosen];

  const data: Record<string, Row[]> = {};
  const parts: string[] = [];
  for (const name of ["partywall", "by hand"] as const) {
    const { worker, bundle } = contestants[name];
    const headers = { authorization: `Bearer ${await signIn()}` };
    const asked = { port: worker.port, asks, headers, connections };
    say(`${name}: warming up`);
    await load.run({ ...asked, seconds: WARM_UP_S });
    say(`${name}: profiling for ${seconds} s`);
    const before = cpuOf(worker.pid);
    const { result, profile: taken } = await profiling(worker, () => load.run({ ...asked, seconds }));
    const us = (cpuOf(worker.pid) - before) / result.answers;
    if (result.statuses[status] !== result.answers)
      throw new Error(`Not all answers were ${status}: ${JSON.stringify(result.statuses)}`);
    data[name] = selfTimes(taken, bundle, us);
    parts.push(shownRows(`${name}, ${shown(result.perSecond)} requests/s`, data[name]));
  }
  const text = [
    `${title}, ${connections} connections, one profile of ${seconds} s each: self time by function, as a share of`,
    "the samples and as the same share of workerd's CPU time, in µs a request. The bundles are not minified and V8 is being",
    "sampled, so both Workers are slower than in `pipeline`. (program) is time outside JavaScript; what workerd does in a",
    "call from JavaScript, such as `fetch`, counts as that call's.",
    ...parts.map((part) => `\n${part}`),
  ].join("\n");
  return { data, text };
}

/** Self time by function, the longest first; `us` is the CPU time of a request, of which each has its share. */
function selfTimes({ nodes, samples }: Profile, bundle: Bundle, us: number): Row[] {
  const placeOf = sourcesOf(bundle);
  const counts = new Map<number, number>();
  for (const id of samples) counts.set(id, (counts.get(id) ?? 0) + 1);
  const busy = nodes.filter(({ callFrame }) => callFrame.functionName !== "(idle)");
  // Samples are counted, not timed: the time between two of them may have been another process's.
  const all = busy.reduce((sum, { id }) => sum + (counts.get(id) ?? 0), 0);
  const rows = new Map<string, Row>();
  for (const { id, callFrame } of busy) {
    const name = callFrame.functionName || "(anonymous)";
    const at = placeOf(callFrame);
    const row = rows.get(`${name} ${at}`) ?? { name, at, share: 0, us: 0 };
    row.share += (counts.get(id) ?? 0) / all;
    row.us = row.share * us;
    rows.set(`${name} ${at}`, row);
  }
  return [...rows.values()].filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
}

/** Finds where a function's source is: the file that esbuild names in the bundle, and the line of the source map. */
function sourcesOf({ dir, modules: [entry = ""] }: Bundle) {
  const lines = readFileSync(join(dir, entry), "utf8").split("\n");
  const map = new SourceMap(JSON.parse(readFileSync(join(dir, `${entry}.map`), "utf8")) as SourceMapPayload);
  return ({ url, lineNumber, columnNumber }: Node["callFrame"]): string => {
    if (!url.endsWith(entry)) return url;
    const file = lines.slice(0, lineNumber + 1).findLast((line) => NAMED_FILE.test(line)) ?? "";
    const found = map.findEntry(lineNumber, columnNumber);
    const line = "originalLine" in found ? found.originalLine : lineNumber;
    return `${NAMED_FILE.exec(file)?.[1] ?? entry}:${line + 1}`;
  };
}

function shownRows(title: string, rows: readonly Row[]): string {
  const line = (name: string, at: string, of: readonly Row[]) => {
    const sum = (part: "us" | "share") => of.reduce((total, row) => total + row[part], 0);
    return [name, at, shown(sum("us"), 1), shown(sum("share") * 100, 1)];
  };
  const others = rows.slice(SHOWN);
  return table(
    [title, "declared at", "µs", "%"],
    [
      ...rows.slice(0, SHOWN).map((row) => line(row.name, row.at, [row])),
      line(`${others.length} others`, "", others),
      line("all", "", rows),
    ],
  );
}
