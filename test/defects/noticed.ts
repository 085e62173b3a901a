import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { look } from "./bench.ts";
import type { Bench } from "./stage.ts";

const FILE = join(import.meta.dirname, "noticed.json");
/** The full names of the tests of a watcher's that have noticed a defect. */
type Noticed = Record<string, string[]>;

/** For fewer defects, it takes longer to see that these tests pass without any than to run the file. */
const LEAST = 3;

/** What has passed without a defect in this run, or has not. */
const passes = new Map<string, Promise<boolean>>();

/**
 * The tests to run before the whole of a watcher's file: those that have noticed defects, and that pass by themselves in
 * this copy, in which no defect is yet. Empty if there are too few, or if they need the others.
 */
export async function testsToRunFirst(bench: Bench, watcher: string): Promise<string[]> {
  const names = read()[watcher] ?? [];
  if (names.length < LEAST) return [];
  const known =
    passes.get(watcher) ??
    look(bench, watcher, [], names).then(
      (line) => line === undefined,
      () => false,
    );
  passes.set(watcher, known);
  return (await known) ? names : [];
}

/** Writes down what has noticed the defects that these watched, in the place of what is known of the same watchers. */
export function record(found: readonly { watch: string[]; seen: string[] }[]): void {
  const noticed: Noticed = read();
  const watchers = new Set(found.flatMap(({ watch }) => watch));
  for (const watcher of watchers) delete noticed[watcher];
  for (const { watch, seen } of found)
    for (const line of seen)
      for (const watcher of watch) {
        const file = `test/${watcher.replace(/^.*:/, "")}.test.ts: `;
        if (!line.startsWith(file)) continue;
        const names = (noticed[watcher] ??= []);
        if (!names.includes(line.slice(file.length))) names.push(line.slice(file.length));
      }
  const sorted = Object.entries(noticed)
    .filter(([, names]) => names.length >= LEAST)
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([watcher, names]) => [watcher, names.sort()]);
  writeFileSync(FILE, `${JSON.stringify(Object.fromEntries(sorted), undefined, 2)}\n`);
}

const read = (): Noticed => JSON.parse(readFileSync(FILE, "utf8")) as Noticed;
