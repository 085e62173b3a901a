import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const GUARD = "./drizzle/own-node.cjs";
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};

/** What the guard prints and exits with when this Node says that it is another. */
const asNode = (version: string) => {
  const pretend = `Object.defineProperty(process.versions, "node", { value: "${version}" }); require("${GUARD}")`;
  return spawnSync(process.execPath, ["-e", pretend], { cwd: root, encoding: "utf8" });
};

it.each(["18.20.8", "20.20.2", "22.17.1"])("says in one sentence what to do on Node %s", (version) => {
  const { status, stderr } = asNode(version);
  expect(status).toBe(1);
  expect(stderr).toContain(`needs Node 22.18 or later, and runs on ${version}`);
  expect(stderr).toContain("npm rebuild node --ignore-scripts=false");
  expect(stderr.trim().split("\n")).toHaveLength(1);
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
