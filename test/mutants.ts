/**
 * Breaks the limits, the ledger and remembered denials on purpose, one way at a time, in a temporary copy, and runs their tests:
 * `node test/mutants.ts`. Fails if a mutant survives, or if a text to replace is no longer found exactly once.
 */
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

type Mutant = { name: string; file: string; from: string; to: string };
type Report = { testResults: { assertionResults: { status: string; fullName: string }[] }[] };

const change = (file: string, name: string, from: string, to: string): Mutant => ({ name, file, from, to });
const log = (name: string, from: string, to: string): Mutant =>
  change("limits/sliding-log.ts", name, from, to);
const month = (name: string, from: string, to: string): Mutant => change("limits/month.ts", name, from, to);
const limits = (name: string, from: string, to: string): Mutant => change("limits/limits.ts", name, from, to);
const ledger = (name: string, from: string, to: string): Mutant => change("limits/ledger.ts", name, from, to);
const denials = (name: string, from: string, to: string): Mutant => change("denials.ts", name, from, to);

const MUTANTS: Mutant[] = [
  log(
    "a unit counts an instant too long",
    "now - this.#time(0) >= this.#span",
    "now - this.#time(0) > this.#span",
  ),
  log("a unit expires a millisecond early", ">= this.#span) {", ">= this.#span - 1) {"),
  log("the limit itself is out of reach", "if (excess <= 0)", "if (excess < 0)"),
  log("one unit above the limit fits", "this.used + cost - limit", "this.used + cost - limit - 1"),
  log("the promise is the first unit, not the cost", ">>> 0 >= excess) high", ">>> 0 >= 1) high"),
  log(
    "units join a cell at its earlier time",
    "if (!this.#joins(now)) this.#size += 1;",
    "if (this.#joins(now)) now = this.#time(this.#size - 1);\n    else this.#size += 1;",
  ),
  log(
    "cells merge at the earlier time",
    "kept -= 1;\n      this.#put",
    "{ this.#put(kept - 1, this.#time(kept - 1), this.#total(cell)); continue; }\n      this.#put",
  ),
  log(
    "a full log drops its oldest cell",
    "&& !this.#coarse) this.#coarsen();",
    "&& !this.#coarse) this.advance(this.#time(0) + this.#span);",
  ),
  log("quanta are merged in a log that is not full", "return this.#coarse && this", "return this"),
  log("a full log joins all units to its newest cell", "this.#coarsen();\n    if", "void 0;\n    if"),
  log("quanta are twice as long", "(time * QUANTA)", "(time * QUANTA * 0.5)"),
  log("running totals do not wrap", "(total - this.#expired) >>> 0;", "total - this.#expired;"),
  log("used units overflow", "Math.min(this.used + units, MAX_UNITS)", "(this.used + units) >>> 0"),
  month("a month is not reset", "    this.used = 0;\n  }", "  }"),
  month("a month ends a millisecond late", "if (now < this.#until)", "if (now <= this.#until)"),
  month("a month has 30 days", "return Date.UTC(date", "return 1 ? now + 2_592_000_000 : Date.UTC(date"),
  limits("the clock runs backwards", "this.#clock = Math.max(this.#clock, now)", "this.#clock = now"),
  limits("a snapshot forgets the clock", "snapshot?.clock ?? -Infinity", "-Infinity"),
  limits("the promise is counted from another clock", "fitsAt - now", "fitsAt - this.#clock"),
  limits(
    "a refused request is charged",
    "    if (fitsAt === Infinity) {",
    "    this.#spend(cost);\n    if (fitsAt === Infinity) {",
  ),
  limits("only the first policy is evaluated", "index < policies.length", "index < 1"),
  limits(
    "only the first counter is charged",
    "for (const counter of this.#counters) counter.spend(units, this.#clock);",
    "this.#counters[0]?.spend(units, this.#clock);",
  ),
  limits(
    "a window that no policy names is not charged",
    "for (const counter of this.#counters) counter.spend",
    "for (const counter of this.#named) counter.spend",
  ),
  limits(
    "a window that no policy names is forgotten at once",
    "counter?.used === 0 && counter",
    "counter && counter",
  ),
  limits(
    "a month that no policy names is not counted",
    'if (!this.#counters.some(({ window }) => window === "month")) ',
    "if (0 > 1) ",
  ),
  limits("a month that is over is closed", ' && counter.window !== "month"', ""),
  limits(
    "a restart charges the month before",
    "    for (const counter of this.#counters) counter.advance(this.#clock);\n",
    "",
  ),
  ledger(
    "the reserve is not counted at a restart",
    "if (this.#reserve > 0) this.#limits.charge(this.#reserve, now);",
    "",
  ),
  ledger(
    "the reserve is counted at the snapshot's time",
    "charge(this.#reserve, now)",
    "charge(this.#reserve, row?.snapshot.clock ?? now)",
  ),
  ledger("a restart may spend the reserve again", "  #covered = 0;", "  #covered = 9;"),
  ledger("nobody waits", "wait: !this.covers(this.#spent)", "wait: false"),
  ledger("everything is covered", "return mark <= this.#covered;", "return mark >= 0;"),
  ledger(
    "only the row being written is heeded",
    "this.#covered = Math.min(this.#covered, covers);",
    "this.#covered = covers;",
  ),
  ledger("only the row on disk is heeded", "this.#covered = Math.min(this.#covered, covers);", ""),
  ledger(
    "a confirmed row releases everyone",
    "this.#covered = this.#writing.covers",
    "this.#covered = Infinity",
  ),
  ledger(
    "a failed row is taken for unwritten",
    "    this.#writing = undefined;\n    this.#pausedAt = now;",
    "    this.#writing = undefined;\n    this.#covered = this.#stored.at + this.#stored.reserve;\n    this.#pausedAt = now;",
  ),
  ledger(
    "a row stands for windows opened after it",
    "this.#opened) this.#uncover();",
    "this.#opened) void 0;",
  ),
  ledger(
    "a row being written stands for windows opened after it",
    "if (this.#writing) this.#writing.covers = Math.min(this.#writing.covers, this.#spent);",
    "",
  ),
  ledger("the idle row keeps a reserve", "this.#write(0)", "this.#write(this.#reserve)"),
  ledger("the idle row comes every 3 s", "IDLE_MS = 8000", "IDLE_MS = 3000"),
  ledger(
    "the idle row never comes",
    "return this.idleIn(now) === 0 ? this.#write(0) : undefined;",
    "return undefined;",
  ),
  ledger("a reserve is renewed at a quarter", "RENEWALS = 47", "RENEWALS = 128"),
  ledger("the reserve is a 16th", "RESERVES = 32", "RESERVES = 16"),
  ledger("a larger plan's reserve stays on disk", " || this.#stored.reserve > this.#reserve", ""),
  ledger("two rows are written at once", "if (this.#writing) return undefined;", ""),
  denials(
    "a denial stands from its answer on",
    "endOf = ({ askedAt, refusal }",
    "endOf = ({ answeredAt: askedAt, refusal }",
  ),
  denials("a denial stands an instant too long", "now < endOf(denial)", "now <= endOf(denial)"),
  denials("a denial stands before it was asked for", "now >= denial.askedAt && ", ""),
  denials("a denial is of any cost", "denials?.get(cost)", "denials?.values().next().value"),
  denials("a denial stands for ever", "Math.min(refusal.retryAfterMs, MAX_AGE_MS)", "refusal.retryAfterMs"),
  denials(
    "a client is told the earlier instant",
    "refusalAt({ answeredAt, refusal }",
    "refusalAt({ askedAt: answeredAt, refusal }",
  ),
];

const root = join(import.meta.dirname, "..");

/** Copies into `path` everything that the tests of the limits need. */
async function copy(path: string): Promise<void> {
  for (const directory of ["src/tenant/limits", "test/support"])
    await mkdir(join(path, directory), { recursive: true });
  const files = [
    "denials",
    ...["sliding-log", "month", "limits", "ledger"].map((file) => `limits/${file}`),
  ].map((file) => `src/tenant/${file}.ts`);
  const tests = ["limits", "limits.property", "ledger", "ledger.property", "ledger.rows", "denials"];
  const support = ["ideal-limits", "stored-tenant"].map((file) => `test/support/${file}.ts`);
  for (const file of [
    ...["bounded-map", "memory", "policy"].map((name) => `src/${name}.ts`),
    ...files,
    ...support,
    ...tests.map((test) => `test/${test}.test.ts`),
  ])
    await cp(join(root, file), join(path, file));
  await symlink(join(root, "node_modules"), join(path, "node_modules"));
  await writeFile(join(path, "package.json"), `{ "type": "module" }`);
  await writeFile(
    join(path, "vitest.config.ts"),
    `export default { cacheDir: "cache", test: { bail: 1, setupFiles: "setup.ts" } };`,
  );
  // One seed, and no search for a smaller counterexample: the first one will do.
  await writeFile(
    join(path, "setup.ts"),
    `import fc from "fast-check";\nfc.configureGlobal({ seed: 7, endOnFailure: true });`,
  );
}

/** The name of the first test that fails in the copy; undefined if all pass. */
async function failure(path: string): Promise<string | undefined> {
  const report = join(path, "report.json");
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const options = ["run", "--root", path, "--reporter=json", `--outputFile=${report}`];
  const child = spawn(process.execPath, [vitest, ...options], { stdio: "ignore", timeout: 120_000 });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code === 0) return undefined;
  if (code === null) return "(it does not end)";
  const { testResults }: Report = JSON.parse(await readFile(report, "utf8"));
  const failed = testResults
    .flatMap((file) => file.assertionResults)
    .find((test) => test.status === "failed");
  return failed?.fullName ?? "(it does not load)";
}

/** What catches the mutant: a test's name, or undefined if it survives. Leaves nothing behind. */
async function hunt(mutant?: Mutant): Promise<string | undefined> {
  const path = await mkdtemp(join(tmpdir(), "mutants-"));
  try {
    await copy(path);
    if (mutant) await mutate(join(path, "src/tenant", mutant.file), mutant);
    return await failure(path);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

/** Breaks a file as the mutant says, or throws if its text is not there exactly once. */
async function mutate(path: string, { name, file, from, to }: Mutant): Promise<void> {
  const source = await readFile(path, "utf8");
  if (source.split(from).length !== 2) throw new Error(`${name}: ${file} must contain once: ${from}`);
  await writeFile(
    path,
    source.replace(from, () => to),
  );
}

const broken = await hunt();
if (broken) throw new Error(`without any mutant this fails already: ${broken}`);

let survivors = 0;
const queue = [...MUTANTS];
async function work(): Promise<void> {
  for (let next = queue.shift(); next; next = queue.shift()) {
    const caught = await hunt(next);
    if (!caught) survivors += 1;
    console.log(`${caught ? "caught  " : "SURVIVED"}  ${next.name.padEnd(56)}  ${caught ?? ""}`);
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work));
console.log(`${MUTANTS.length} mutants, ${survivors} survived`);
process.exitCode = survivors > 0 ? 1 : 0;
