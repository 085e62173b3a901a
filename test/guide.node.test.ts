import { createHash } from "node:crypto";
import { cpSync, existsSync, globSync, lstatSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startStack, type Stack } from "../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets } from "../drizzle/variables.ts";
import { copyProject } from "./support/node/copy.ts";
import { BORDER, follow, migrateFrom, run, stepsOf, stepsToFollow } from "./support/node/guide.ts";

/** The guide begins with the sample: whoever has followed it has done what is tested here. */
const HAS_SAMPLE = existsSync(join(import.meta.dirname, "../src/product/projects.ts"));

/** A product that somebody has built by README.md and CONTRIBUTING.md: notes, as the guide makes them, and invoicing. */
const ADOPTER = join(import.meta.dirname, "adopter");

/** A copy of the project, in which the guide's steps are followed. */
let copy: string;
/** Each file of the copy, and a hash of what was in it before the first step. */
let original: Map<string, string>;
let stack: Stack;
let variables: ReturnType<typeof makeDatabaseUrls> & Awaited<ReturnType<typeof makeSecrets>>;
beforeAll(async () => {
  // Not with %23: the test runner decodes that twice, and its own tests of processes do not start there.
  copy = copyProject("with space é");
  original = hashes();
  stack = await startStack({ dir: join(dirname(copy), "database"), ephemeral: true });
  variables = { ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`), ...(await makeSecrets()) };
}, 60_000);
afterAll(async () => {
  await stack.stop();
  rmSync(dirname(copy), { recursive: true, force: true });
});

function hashes(): Map<string, string> {
  const files = globSync("**", { cwd: copy, exclude: (name) => name.endsWith("node_modules") }).filter(
    // The types of wrangler.toml are in no checkout: `npm run check` writes them.
    (name) => name !== "src/worker-env.d.ts" && lstatSync(join(copy, name)).isFile(),
  );
  const hashOf = (name: string) =>
    createHash("sha256")
      .update(readFileSync(join(copy, name)))
      .digest("hex");
  return new Map(files.map((name) => [name, hashOf(name)]));
}

/** The files that were made, changed or deleted since the first step. */
function touched(): string[] {
  const now = hashes();
  return [...new Set([...original.keys(), ...now.keys()])].filter(
    (name) => original.get(name) !== now.get(name),
  );
}

/** Migrates from the copy: its migrations, its wall. */
const migrate = () => migrateFrom(copy, stack.superuserUrl, variables);

it.runIf(HAS_SAMPLE)(
  "the sample goes and a product comes as CONTRIBUTING.md says, inside the border, and all checks pass",
  async () => {
    const steps = stepsToFollow(join(copy, "CONTRIBUTING.md"), "Your own resource in ten minutes");
    const lines = (file: string) => file.trimEnd().split("\n").length;
    expect(lines(steps.find(({ file }) => file === "src/product/notes.ts")?.body ?? "")).toBeLessThanOrEqual(
      20,
    );
    const routes = globSync("src/product/*.ts", { cwd: ADOPTER })
      .map((name) => readFileSync(join(ADOPTER, name), "utf8"))
      .filter((file) => /resource\(|operation\(|productRoutes/.test(file));
    expect(routes.length).toBeGreaterThan(4);
    expect(routes.reduce((sum, file) => sum + lines(file), 0)).toBeLessThanOrEqual(250);

    const printed: string[] = [];
    for (const step of steps.slice(0, -1)) printed.push(await follow(step, copy));
    // Code of partywall's that this small product does not use is not dead for that.
    await run(copy, "npm", ["exec", "--", "knip", "--include", "files,exports,types,dependencies"]);
    // The product grows, by what the guide says, before all of it is tested.
    cpSync(ADOPTER, copy, { recursive: true });
    printed.push(await run(copy, "npm", ["run", "db:generate", "--", "--name", "invoicing"]));
    for (const step of steps.slice(-1)) printed.push(await follow(step, copy));
    const tests = printed.join("");
    for (const [project, file] of [
      ["product", "test/product/notes.test.ts"],
      ["product", "test/product/invoicing.test.ts"],
      ["product", "test/matrix-tables.test.ts"],
      ["product", "test/matrix-routes.test.ts"],
    ])
      expect(tests).toMatch(new RegExp(`${project}\\W.* ${file}`));
    expect(touched().filter((name) => !BORDER.test(name))).toEqual([]);
    for (const name of ["no_sample", "notes", "invoicing"])
      expect(globSync(`drizzle/content/*_${name}.sql`, { cwd: copy })).toHaveLength(1);

    await migrate();
    expect(
      await run(copy, process.execPath, ["drizzle/doctor.ts", variables.OPERATOR_DATABASE_URL]),
    ).toContain("the wall stands");
  },
  900_000,
);

// It takes as long as all other tests together.
it.runIf(HAS_SAMPLE && process.env["GUIDE"] === "all")(
  "without the sample, all tests pass",
  async () => {
    expect(await run(copy, "npm", ["test"])).not.toMatch(/\d failed/);
  },
  3_600_000,
);

it.runIf(HAS_SAMPLE)(
  "an index made as CONTRIBUTING.md says is built while others read and write its table",
  async () => {
    await migrate();
    const url = new URL(stack.superuserUrl);
    url.pathname = "/partywall";
    const [writer, watcher] = [new pg.Client(url.href), new pg.Client(url.href)];
    await Promise.all([writer.connect(), watcher.connect()]);
    try {
      const steps = stepsOf(join(copy, "CONTRIBUTING.md"), "An index of a large table");
      expect(steps.map(({ language }) => language)).toEqual(["diff", "sh"]);
      for (const step of steps) await follow(step, copy);
      await writer.query("begin; lock table notes in row exclusive mode");
      const migrated = migrate();
      await expect
        .poll(async () => (await watcher.query("select from pg_stat_progress_create_index")).rowCount, {
          timeout: 60_000,
        })
        .toBe(1);
      expect((await watcher.query("update notes set text = text")).rowCount).toBe(0);
      await writer.query("commit");
      await migrated;
      const index = "select indisvalid as built from pg_index where indexrelid = 'notes_changed'::regclass";
      expect((await watcher.query(index)).rows).toEqual([{ built: true }]);
    } finally {
      await Promise.all([writer.end(), watcher.end()]);
    }
  },
  120_000,
);
