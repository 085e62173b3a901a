/**
 * Runs test files of the folder that it is started in, one for each message from its parent, and answers each with an
 * Outcome. One instance of vitest runs all files of a project, one after another, and reads anew what was edited meanwhile.
 */
import { join } from "node:path";
import { createVitest, type Vitest } from "vitest/node";
import type { Provided } from "./setup.ts";

/**
 * A file of tests, the project of vitest's that runs it, what its tests are given, and the files that are others now than
 * they were before, and will be after.
 */
export type Order = {
  project: string;
  file: string;
  edited: string[];
  provided: Provided;
  /** Runs the tests with these full names alone. */
  names?: string[];
};
/** The first test that fails, or why the file does not run; neither when all its tests pass. */
export type Outcome = { failed?: string; error?: string };

const options = {
  config: "test/vitest.config.ts",
  watch: false,
  bail: 1,
  reporters: [{}],
  fsModuleCachePath: join(process.cwd(), "cache"),
};

let kept: { project: string; vitest: Vitest; edited: string[] } | undefined;

async function run({ project, file, edited, provided, names }: Order): Promise<Outcome> {
  const vitest = await vitestFor(project, edited);
  for (const { name, provide } of vitest.projects)
    if (name === project)
      for (const [key, value] of Object.entries(provided)) provide(key as keyof Provided, value);
  // A failure before this run is no reason to bail out of it.
  vitest.state.idMap.clear();
  vitest.state.filesMap.clear();
  if (names) vitest.setGlobalTestNamePattern(new RegExp(`^(?:${names.map(patternOf).join("|")})$`));
  else vitest.resetGlobalTestNamePattern();
  const specifications = await vitest.globTestSpecifications([file]);
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
  // Once what ran them has ended: it would write into the database of the next ones.
  await vitest.cancelCurrentRun("test-failure");
  const [failed] = testModules.flatMap(({ children }) => [...children.allTests("failed")]);
  if (failed) return { failed: failed.fullName.replaceAll(" > ", " ") };
  const [module] = testModules;
  if (
    (module?.state() === "passed" || (names && module?.state() === "skipped")) &&
    unhandledErrors.length === 0
  )
    return {};
  const [error] = [...(module?.errors() ?? []), ...unhandledErrors];
  return { error: messageOf(error) };
}

/** Matches a name as it is written down, which does not say where a suite's own ends. */
const patternOf = (name: string) => name.split(" ").map(RegExp.escape).join("(?: > | )");

/** The instance for the project, which knows that these files are edited, and that those before are not any more. */
async function vitestFor(project: string, edited: string[]): Promise<Vitest> {
  // What is no module of its own, vitest may have read for another one.
  const isKnown = [...edited, ...(kept?.edited ?? [])].every((name) =>
    /^(src|drizzle|test)\/.*\.ts$/.test(name),
  );
  if (kept?.project !== project || !isKnown) {
    await close();
    kept = { project, edited: [], vitest: await createVitest({ ...options, project: [project] }) };
  }
  const { vitest } = kept;
  for (const name of [...kept.edited, ...edited]) vitest.invalidateFile(join(process.cwd(), name));
  kept.edited = edited;
  return vitest;
}

async function close(): Promise<void> {
  const before = kept;
  kept = undefined;
  await before?.vitest.close();
}

/** Errors of a test file have been serialized: they look like an Error, and inherit from nothing. */
function messageOf(error: unknown): string {
  const isObject = typeof error === "object" && error !== null;
  return isObject && "message" in error ? String(error.message) : "no test ran";
}

process.on("message", (order: Order) => {
  void run(order)
    .catch((error: unknown): Outcome => ({ error: messageOf(error) }))
    .then((outcome) => process.send?.(outcome));
});
process.on("disconnect", () => void close().finally(() => process.exit()));
