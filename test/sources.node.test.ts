import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { REVOKED_FOR_S } from "../src/caller.ts";

/** What a module would remember between requests: a variable, or a map that is filled later. */
const MEMORY = /^(export )?(let |const \w+(: [^=]+)? = new (Bounded)?(Map|Set)(<[^(]*>)?\(\))/;

const root = join(import.meta.dirname, "..");

/** A URL of a source, and what takes a path out of one: spaces and other letters are escaped in both. */
const URL_OF_A_FILE = /import\.meta\.url|fileURLToPath/;

it("uses no URL as a file path, so that a checkout works in a folder of any name", () => {
  const sources = globSync("{src,drizzle,test}/**/*.{ts,js,cjs,mjs}", { cwd: root });
  expect(sources.length).toBeGreaterThan(100);
  const found = sources
    .filter((name) => name !== "test/sources.node.test.ts")
    .flatMap((name) =>
      readFileSync(join(root, name), "utf8")
        .split("\n")
        // A module is resolved from a URL as well as from a path.
        .filter((line) => URL_OF_A_FILE.test(line.replaceAll("createRequire(import.meta.url)", "")))
        .map((line) => `${name}: ${line.trim()}`),
    );
  expect(found).toEqual([]);
});

it("remembers between requests only what src/memory.ts lists and bounds", () => {
  const sources = globSync("src/**/*.ts", { cwd: root });
  const found = sources.flatMap((name) =>
    readFileSync(join(root, name), "utf8")
      .split("\n")
      .filter((line) => MEMORY.test(line))
      .map((line) => `${name}: ${line}`),
  );
  expect(found).toEqual([]);
});

it("holds no line that a merge left in conflict", () => {
  const files = globSync(
    ["*", ".*", ".ci/*", ".devcontainer/*", ".github/**", "{src,drizzle,test,docs}/**"],
    { cwd: root, withFileTypes: true },
  ).filter((file) => file.isFile());
  expect(files.length).toBeGreaterThan(100);
  // As git writes them, and as oxfmt makes Markdown of the last one.
  const isLeft = (line: string) => /^(<{7}|>{7}|(> ){7}|\|{7}) ?\w/.test(line);
  const found = files.flatMap(({ parentPath, name }) =>
    readFileSync(join(parentPath, name), "utf8")
      .split("\n")
      .filter(isLeft)
      .map((line) => `${join(parentPath, name)}: ${line}`),
  );
  expect(found).toEqual([]);
});

it("has all statements of partywall_identity in two files", () => {
  const sources = globSync("src/**/*.ts", { cwd: root });
  const found = sources.filter((name) => readFileSync(join(root, name), "utf8").includes("identityDb"));
  expect(found.sort()).toEqual(["src/db/accounts.ts", "src/db/across-tenants.ts", "src/db/client.ts"]);
});

it("tells an object of each session whose access token may still be valid: for as long as the object remembers it", () => {
  const triggers = readFileSync(join(root, "drizzle/control/0003_outbox.sql"), "utf8");
  const [, minutes] = /rotated_at > now\(\) - interval '(\d+) minutes'/.exec(triggers) ?? [];
  expect(Number(minutes) * 60).toBe(REVOKED_FOR_S);
});
