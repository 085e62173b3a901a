import { spawnSync } from "node:child_process";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeFolder } from "./bench/workerd.ts";

const root = join(import.meta.dirname, "..");
const GUARD = "./drizzle/own-node.cjs";
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};

/** What the guard prints and exits with when this Node says that it is another; in a project of this folder. */
const asNode = (version: string, project = root) => {
  const pretend = `Object.defineProperty(process.versions, "node", { value: "${version}" }); require("${GUARD}")`;
  return spawnSync(process.execPath, ["-e", pretend], { cwd: project, encoding: "utf8" });
};

describe.each(["18.20.8", "20.20.2", "22.17.1"])("on Node %s", (version) => {
  const refusedIn = (project: string): string => {
    const { status, stderr } = asNode(version, project);
    expect(status).toBe(1);
    expect(stderr).toContain(`needs Node 22.18 or later, and runs on ${version}`);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    return stderr;
  };

  it("says in one sentence how to have the project's own Node, where npm was told to run no scripts", async () => {
    await using resources = new AsyncDisposableStack();
    const project = makeFolder(resources);
    cpSync(join(root, GUARD), join(project, GUARD));
    expect(refusedIn(project)).toContain("npm rebuild node --ignore-scripts=false");
  });

  it("says in one sentence what starts the project's own Node, where it is there", () => {
    const sentence = refusedIn(root);
    expect(sentence).toContain("`npm run …` and `npx node …`");
    expect(sentence).not.toContain("rebuild");
  });
});

it.each(["22.18.0", "24.0.0"])("lets Node %s pass without a word", (version) => {
  expect(asNode(version)).toMatchObject({ status: 0, stderr: "" });
});

it("comes before everything in each script that an old Node would fail in", () => {
  const unguarded = Object.entries(scripts).filter(
    ([, script]) =>
      /\.ts\b|vitest|wrangler/.test(script) &&
      !/^(exec )?node (-r )?\.?\/?drizzle\/own-node\.cjs/.test(script),
  );
  // drizzle-kit brings its own way to read TypeScript.
  expect(unguarded.map(([name]) => name)).toEqual(["db:generate"]);
});
