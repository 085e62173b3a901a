import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import * as v from "valibot";

/** The figures that README.md and docs/ show: what `npm run bench -- … --json` wrote last, by subject. */
const RECORDED = join(import.meta.dirname, "recorded.json");

const Entry = v.strictObject({
  /** The day, UTC. */
  date: v.pipe(v.string(), v.isoDate()),
  /** What was measured; `+` says that files were changed beside it. */
  commit: v.pipe(v.string(), v.regex(/^([0-9a-f]{7,}\+?|unknown)$/)),
  machine: v.pipe(v.string(), v.nonEmpty()),
  /** What to run to measure it again. */
  command: v.pipe(v.string(), v.startsWith("npm run bench -- ")),
  figures: v.record(v.string(), v.unknown()),
});
export type Entry = v.InferOutput<typeof Entry>;

const Record = v.record(v.string(), Entry);
export type Record = v.InferOutput<typeof Record>;

/** What such a file holds by subject; nothing where there is none. Throws if it has another form. */
export const readRecord = (file = RECORDED): Record =>
  existsSync(file) ? v.parse(Record, JSON.parse(readFileSync(file, "utf8"))) : {};

/** Writes what a run has found of a subject into such a file, in the place of what it had of it. Other subjects stay. */
export function addToRecord(file: string, subject: string, flags: readonly string[], figures: object): void {
  const [processor] = cpus();
  const entry = {
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    machine: `${cpus().length} × ${processor?.model.trim() ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release().split("-")[0]}, Node ${process.versions.node}`,
    command: ["npm run bench --", subject, ...flags].join(" "),
    figures,
  };
  const all = { ...readRecord(file), [subject]: entry };
  const sorted = Object.fromEntries(Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(file, `${JSON.stringify(sorted, rounded, 2)}\n`);
}

/** Six digits are more than any bench can tell. */
const rounded = (_: string, value: unknown) =>
  typeof value === "number" && Number.isFinite(value) ? Number(value.toPrecision(6)) : value;

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, {
      cwd: import.meta.dirname,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  try {
    const isClean = git("status", "--porcelain", "--", ":/src", ":/drizzle").trim() === "";
    return `${git("rev-parse", "--short", "HEAD").trim()}${isClean ? "" : "+"}`;
  } catch {
    return "unknown";
  }
}
