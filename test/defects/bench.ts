import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startStack } from "../../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets } from "../../drizzle/variables.ts";
import { empty, end, endStage, isThere, provided, type Bench } from "./stage.ts";
import type { Outcome, Order } from "./tests.ts";

export const root = join(import.meta.dirname, "../..");
const COPIED = [
  "src",
  "drizzle",
  "test",
  "package.json",
  "tsconfig.json",
  "wrangler.toml",
  ".oxlintrc.json",
  "LICENSE",
];
/** Of one watcher. */
const TIMEOUT_MS = 600_000;

/** A file of tests, and the project of vitest's that runs it. */
type Watcher = Pick<Order, "project" | "file" | "names">;

/** Copies the project into a new folder, where the packages are linked, and starts a Postgres. */
export async function makeBench(resources: AsyncDisposableStack): Promise<Bench> {
  const path = await mkdtemp(join(tmpdir(), "defects-"));
  resources.defer(() => rm(path, { recursive: true, force: true }));
  // Postgres runs as another user when this runs as root, and reaches its data in here.
  await chmod(path, 0o711);
  for (const name of COPIED) await cp(join(root, name), join(path, name), { recursive: true });
  await symlink(join(root, "node_modules"), join(path, "node_modules"));
  const stack = await startStack({ dir: join(path, "database"), ephemeral: true });
  resources.defer(() => stack.stop());
  const bench: Bench = { path, stack };
  resources.defer(() => endStage(bench));
  resources.defer(() => endTests(bench));
  return bench;
}

/**
 * What the watcher says; undefined if it notices nothing. `edited` are the files of the copy that a defect is in; `names` the
 * tests of a watcher's that are run alone.
 */
export function look(
  bench: Bench,
  watcher: string,
  edited: string[],
  names?: string[],
): Promise<string | undefined> {
  if (watcher === "doctor") return doctor(bench);
  if (watcher === "lint") return lint(bench.path);
  return test(bench, { ...testsOf(watcher), ...(names && { names }) }, edited);
}

/** The tests that a watcher's name means, such as `wall`, or `dedicated:sites` in another project of vitest's. */
function testsOf(name: string): Watcher {
  const [project, file] = name.includes(":") ? name.split(":") : ["workers", name];
  return { project: project ?? "", file: `test/${file}.test.ts` };
}

/** Runs Node in the copy to its end: its exit code and what it printed. */
async function run(
  path: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, args, {
    cwd: path,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "ignore"],
    timeout: TIMEOUT_MS,
  });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  return { code, output: Buffer.concat(chunks).toString() };
}

/**
 * The name of the first test of the file that fails; undefined if all pass. Throws if none runs, twice: that is no
 * test that notices, and a busy machine may have been the reason.
 */
async function test(
  bench: Bench,
  watcher: Watcher,
  edited: string[],
  attempts = 2,
): Promise<string | undefined> {
  const { file } = watcher;
  const { failed, error } = await outcome(bench, watcher, edited);
  if (failed !== undefined) return `${file}: ${failed}`;
  if (error === undefined) return undefined;
  // The process may be the reason as well.
  await Promise.all([endTests(bench), endStage(bench)]);
  if (attempts > 1) return test(bench, watcher, edited, attempts - 1);
  throw new Error(`${file} does not run: ${error.split("\n")[0] ?? ""}`);
}

/** What the bench's process for tests says of these, or why it cannot. Starts one if none is there. */
async function outcome(bench: Bench, watcher: Watcher, edited: string[]): Promise<Outcome> {
  await using resources = new AsyncDisposableStack();
  const given = await provided(bench, watcher.project, edited, resources).catch(
    ({ message }: Error): { error: string } => ({ error: message }),
  );
  // Awaited here: what is given goes when this returns.
  return "error" in given ? given : await order(bench, { ...watcher, edited, provided: given });
}

/** The answer of the bench's process for tests, or how that process has ended. */
async function order(bench: Bench, what: Order): Promise<Outcome> {
  const tests = isThere(bench.tests) ? bench.tests : startTests(bench);
  bench.tests = tests;
  const late = AbortSignal.timeout(TIMEOUT_MS);
  const over = new AbortController();
  const { signal } = over;
  late.addEventListener("abort", () => tests.kill(), { signal });
  // Without a callback, a process that has just ended would be an error of this one.
  tests.send(what, () => undefined);
  try {
    return await Promise.race([
      once(tests, "message", { signal }).then(([answer]) => answer as Outcome),
      once(tests, "exit", { signal }).then(() => ({
        error: late.aborted ? "it does not end" : "it crashes",
      })),
    ]);
  } finally {
    over.abort();
  }
}

function startTests({ path }: Bench): ChildProcess {
  return fork(join(import.meta.dirname, "tests.ts"), {
    cwd: path,
    env: {
      ...process.env,
      // What the command of vitest sets.
      NODE_ENV: "test",
      TEST: "true",
      VITEST: "true",
      PWD: path,
      TEST_STACK: "set by the bench",
    },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
}

/** Resolves when the bench's process for tests has ended. */
async function endTests({ tests }: Bench): Promise<void> {
  if (tests) await end(tests);
}

/** What the linter says first; undefined if nothing. */
async function lint(path: string): Promise<string | undefined> {
  const linter = "node_modules/oxlint/bin/oxlint";
  const { code, output } = await run(path, [linter, "--deny-warnings", "--format=json", "src"]);
  if (code === 0) return undefined;
  const { diagnostics }: { diagnostics: { code: string; filename: string }[] } = JSON.parse(output);
  return `oxlint: ${diagnostics.map((found) => `${found.code} in ${found.filename}`).join(", ")}`;
}

/** Prepares a database and examines it, with the copy's code, which this process would load only once. */
const EXAMINE = `
  const { prepareLocalDatabase } = await import("./drizzle/local-database.ts");
  const { TESTS_MIGRATIONS } = await import("./test/support/node/product.ts");
  const cause = await prepareLocalDatabase(process.env.SUPERUSER_URL, process.env, TESTS_MIGRATIONS).catch(({ message }) => message);
  if (cause === undefined) await import("./drizzle/doctor.ts");
  else console.log(JSON.stringify({ cause }));`;

type Finding = { code: string; object: string; severity: string };

/** What the doctor finds in a database made from the copy, or why none can be made; undefined if nothing. */
async function doctor(bench: Bench): Promise<string | undefined> {
  const { path, stack } = bench;
  await endStage(bench);
  await empty(stack);
  const variables = { ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`), ...(await makeSecrets()) };
  const examine = ["--input-type=module", "--eval", EXAMINE, "--", "--json", variables.OPERATOR_DATABASE_URL];
  const { output } = await run(path, examine, { ...variables, SUPERUSER_URL: stack.superuserUrl });
  const found: Finding[] | { cause: string } = JSON.parse(output);
  if ("cause" in found) return `db:migrate: ${found.cause}`;
  const errors = found.filter(({ severity }) => severity === "error");
  if (errors.length === 0) return undefined;
  return `doctor: ${errors.map((error) => `${error.code} ${error.object}`).join(", ")}`;
}
