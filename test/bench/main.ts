import { spawnSync } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { beside } from "./beside.ts";
import { withBlocks } from "./blocks.ts";
import { fleet } from "./fleet.ts";
import { known } from "./known.ts";
import { life } from "./life.ts";
import { limits } from "./limits.ts";
import { move } from "./move.ts";
import { neighbour } from "./neighbour.ts";
import { pipeline } from "./pipeline.ts";
import { profile } from "./profile.ts";
import { addToRecord, readRecord } from "./record.ts";
import { sites } from "./sites.ts";
import { soak } from "./soak.ts";
import type { Subject } from "./subject.ts";
import { tokens } from "./tokens.ts";
import { wall } from "./wall.ts";

const SUBJECTS: Record<string, Subject> = {
  beside,
  fleet,
  known,
  life,
  limits,
  move,
  neighbour,
  pipeline,
  profile,
  sites,
  soak,
  tokens,
  wall,
};
const BY_DEFAULT = ["limits", "neighbour", "pipeline", "tokens"];

const USAGE = `npm run bench -- [subject…] [--json FILE] [--rounds 12] [--connections 32] [--seconds 1.5] [--rows 5000000]
  [--only read,list,create,patch | held,rate,copy,fence] [--checkout FOLDER]
npm run bench -- --write
--json adds what was measured to FILE, by subject. README.md and docs/ show what is in test/bench/recorded.json; --write measures
nothing, and writes them anew from it.
Subjects: ${Object.keys(SUBJECTS).join(", ")}; ${BY_DEFAULT.join(", ")} by default.
Only when named: wall, which loads --rows rows, profile, which tells where a request's CPU time goes, sites, which compares
where tenants' content can be, fleet, which migrates 300 sites, move, which moves a tenant of --rows rows (1000000),
life, which exports, imports and erases one, soak, which has 2000 tenants make --rows requests (100000), and sweeps, known, which asks whether time tells who has an account,
and beside, which makes the requests of pipeline here and in another checkout's Worker in turn.`;

/** Everything that runs or lies about because of this bench; ending it, once, is the last act. */
const bench = new AsyncDisposableStack();
let ending: Promise<void> | undefined;
const end = (): Promise<void> => (ending ??= bench.disposeAsync());

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)
  process.on(signal, () => void end().finally(() => process.exit(code)));

try {
  await main();
} catch (error) {
  // An interrupted measurement fails too; the signal's own exit follows.
  if (!ending) console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await end();
}

/** Measures the subjects named on the command line and prints their figures. */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "string" },
      rounds: { type: "string", default: "12" },
      connections: { type: "string", default: "32" },
      seconds: { type: "string", default: "1.5" },
      rows: { type: "string" },
      only: { type: "string", default: "" },
      checkout: { type: "string" },
      write: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  if (values.write) return writeDocuments();
  const options = {
    rounds: wholeNumber("rounds", values.rounds),
    connections: wholeNumber("connections", values.connections),
    seconds: positive("seconds", values.seconds),
    rows: values.rows === undefined ? undefined : wholeNumber("rows", values.rows),
    only: values.only.split(",").filter((name) => name !== ""),
    checkout: values.checkout,
  };
  const names = positionals.length > 0 ? positionals : BY_DEFAULT;
  const subjects = names.map((name) => {
    const subject = SUBJECTS[name];
    if (!subject) throw new Error(`There is no subject ${name}.\n${USAGE}`);
    return { name, subject };
  });

  const flags = process.argv.slice(2).filter((word, index, all) => {
    const isOfJson = word.startsWith("--json") || all[index - 1] === "--json";
    return !isOfJson && !positionals.includes(word);
  });
  for (const { name, subject } of subjects) {
    const { data, text } = await subject(bench, { ...options, say: (line) => console.error(`· ${line}`) });
    if (values.json) addToRecord(values.json, name, flags, data);
    console.log(`\n${text}\n`);
  }
}

/** Writes into README.md and docs/ what the record says, formatted as they are. */
function writeDocuments(): void {
  const root = join(import.meta.dirname, "../..");
  const record = readRecord();
  const documents = globSync(["README.md", "docs/*.md"], { cwd: root });
  for (const name of documents) {
    const before = readFileSync(join(root, name), "utf8");
    const after = withBlocks(before, record);
    if (after !== before) writeFileSync(join(root, name), after);
  }
  const { status } = spawnSync("npm", ["exec", "--", "oxfmt", ...documents], { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error("The documents could not be formatted.");
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new Error(`--${name} ${text} is not a number above 0.\n${USAGE}`);
}

function wholeNumber(name: string, text: string): number {
  const value = positive(name, text);
  if (Number.isInteger(value)) return value;
  throw new Error(`--${name} ${text} is not a whole number.\n${USAGE}`);
}
