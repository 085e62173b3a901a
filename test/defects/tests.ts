/**
 * Runs test files of the folder that it is started in, one for each message from its parent, and answers each with an
 * Outcome. Vitest is loaded once; each file gets an instance of its own, which reads anew whatever was edited.
 */
import { join } from "node:path";
import { createVitest } from "vitest/node";

/** A file of tests, and the project of vitest's that runs it. */
export type Watcher = { project: string; file: string };
/** The first test that fails, or why the file does not run; neither when all its tests pass. */
export type Outcome = { failed?: string; error?: string };

const options = {
  config: "test/vitest.config.ts",
  watch: false,
  bail: 1,
  reporters: [{}],
  fsModuleCachePath: join(process.cwd(), "cache"),
};

async function run({ project, file }: Watcher): Promise<Outcome> {
  const vitest = await createVitest({ ...options, project: [project] });
  try {
    const specifications = await vitest.globTestSpecifications([file]);
    const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
    const [failed] = testModules.flatMap(({ children }) => [...children.allTests("failed")]);
    if (failed) return { failed: failed.fullName.replaceAll(" > ", " ") };
    const [module] = testModules;
    if (module?.state() === "passed" && unhandledErrors.length === 0) return {};
    const [error] = [...(module?.errors() ?? []), ...unhandledErrors];
    return { error: messageOf(error) };
  } finally {
    await vitest.close();
  }
}

/** Errors of a test file have been serialized: they look like an Error, and inherit from nothing. */
function messageOf(error: unknown): string {
  const isObject = typeof error === "object" && error !== null;
  return isObject && "message" in error ? String(error.message) : "no test ran";
}

process.on("message", (watcher: Watcher) => {
  void run(watcher)
    .catch((error: unknown): Outcome => ({ error: messageOf(error) }))
    .then((outcome) => process.send?.(outcome));
});
process.on("disconnect", () => process.exit());
