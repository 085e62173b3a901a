/**
 * Breaks the wall on purpose, one way at a time, in a temporary copy of the project, and prints what notices:
 * `node test/defects.ts [part of a name]`. Fails if a defect passes unseen, or if a text to replace is not there. With
 * `--quick`, for a project whose tests have just passed, one who notices is enough; `--check` only looks for the texts.
 * With `--record`, which plants all and runs each file whole, it writes down for later runs which tests have noticed.
 */
import { existsSync } from "node:fs";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { look, makeBench, root } from "./defects/bench.ts";
import { DEFECTS, type Defect, type Edit } from "./defects/list.ts";
import type { Bench } from "./defects/stage.ts";
import { testsToRunFirst, record } from "./defects/noticed.ts";

/** The function of a migration that its text up to here is in, or comes after. */
const functionAt = (text: string) => [...text.matchAll(/FUNCTION ([\w.]+\()/g)].at(-1)?.[1];

/** The later migration that makes the function anew which this text of a migration is in, so that an edit changes nothing. */
async function successor(path: string, file: string, text: string): Promise<string | undefined> {
  const name = /^drizzle\/\w+\/\d+_/.test(file) ? functionAt(text) : undefined;
  if (name === undefined) return undefined;
  const files = await readdir(join(path, dirname(file)));
  for (const later of files.filter((other) => other.endsWith(".sql") && other > basename(file)))
    if ((await readFile(join(path, dirname(file), later), "utf8")).includes(`REPLACE FUNCTION ${name}`))
      return later;
  return undefined;
}

/** The file as the edit changes it. Throws if its text is not there exactly once, or is no longer in force. */
async function edited(path: string, { file, from, to }: Edit, name: string): Promise<string> {
  if (from === "") return to + (await readFile(join(path, file), "utf8").catch(() => ""));
  const source = await readFile(join(path, file), "utf8");
  const [before = "", ...after] = source.split(from);
  if (after.length !== 1) throw new Error(`${name}: ${file} must contain once: ${from}`);
  const later = await successor(path, file, before + from);
  if (later !== undefined) throw new Error(`${name}: what ${file} says there, ${later} says anew: ${from}`);
  return source.replace(from, () => to);
}

/** What notices, of those who watch, or the first of them that does. Leaves the copy as it was. */
async function hunt(bench: Bench, watch: string[], defect?: Defect): Promise<string[]> {
  const { path } = bench;
  const edits = defect?.edits ?? [];
  const files = edits.map(({ file }) => file);
  const names = new Map<string, string[]>();
  if (options.quick && !options.record)
    for (const watcher of watch) names.set(watcher, await testsToRunFirst(bench, watcher));
  try {
    for (const change of edits)
      await writeFile(join(path, change.file), await edited(path, change, defect?.name ?? ""));
    const seen: string[] = [];
    for (const watcher of watch) {
      const known = names.get(watcher) ?? [];
      const line =
        (known.length > 0 ? await look(bench, watcher, files, known) : undefined) ??
        (await look(bench, watcher, files));
      if (line !== undefined) seen.push(line);
      if (line !== undefined && options.quick) break;
    }
    return seen;
  } finally {
    for (const { file } of edits) {
      if (existsSync(join(root, file))) await cp(join(root, file), join(path, file));
      else await rm(join(path, file), { force: true });
    }
  }
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    check: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
});
const [wanted = ""] = positionals;
const chosen = options.record ? DEFECTS : DEFECTS.filter(({ name }) => name.includes(wanted));
const stale = await Promise.allSettled(
  chosen.flatMap(({ name, edits }) => edits.map((each) => edited(root, each, name))),
);
for (const text of stale) if (text.status === "rejected") console.error(String(text.reason));
if (options.check || stale.some(({ status }) => status === "rejected"))
  process.exit(stale.some(({ status }) => status === "rejected") ? 1 : 0);

// Many a Node is started: what it compiles is kept for the next one.
process.env["NODE_COMPILE_CACHE"] ??= join(root, "node_modules/.cache/node");

await using resources = new AsyncDisposableStack();
const benches = await Promise.all(Array.from({ length: availableParallelism() }, () => makeBench(resources)));

const [firstBench] = benches;
const watchers = [...new Set(chosen.flatMap(({ watch }) => watch))];
const alarms = options.quick || !firstBench ? [] : await hunt(firstBench, watchers);
if (alarms.length > 0) throw new Error(`without any defect this is reported already: ${alarms.join("; ")}`);

let unseen = 0;
const noticed: { watch: string[]; seen: string[] }[] = [];
/** Those first whose tests find the database as it is without them, by the project that runs these: the stage stays. */
const order = ({ watch: [watcher = ""], edits }: Defect) =>
  `${edits.every(({ file }) => file.startsWith("src/")) ? 0 : 1} ${watcher.includes(":") ? watcher : ""}`;
const queue = chosen.toSorted((one, other) => order(one).localeCompare(order(other)));
async function work(bench: Bench): Promise<void> {
  for (let next = queue.shift(); next; next = queue.shift()) {
    const began = performance.now();
    const seen = await hunt(bench, next.watch, next).catch((error: unknown) => {
      process.exitCode = 1;
      return [`FAULT: ${error instanceof Error ? error.message : String(error)}`];
    });
    if (seen.length === 0) unseen += 1;
    noticed.push({ watch: next.watch, seen });
    const [first = "NOTHING", ...others] = seen;
    const seconds = Math.round((performance.now() - began) / 1000);
    console.log(`${`${seconds} s`.padStart(6)}  ${next.name.padEnd(54)}  ${first}`);
    for (const other of others) console.log(`${"".padEnd(62)}  ${other}`);
  }
}
await Promise.all(benches.map(work));
if (options.record) record(noticed);
console.log(`${chosen.length} defects, ${unseen} unseen`);
if (unseen > 0) process.exitCode = 1;
