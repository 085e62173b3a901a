import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";

// What README.md and docs/ say of the project, held against the project.

const root = join(import.meta.dirname, "..");
const read = (name: string) => readFileSync(join(root, name), "utf8");
const DOCUMENTS = globSync(["*.md", "docs/*.md", "drizzle/local/*.md"], { cwd: root });

/** Removes fenced code, in which a bracket is no link. */
const proseOf = (name: string) => read(name).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "");

/** The ids that GitHub gives to a document's headings. */
const anchorsOf = (name: string) =>
  [...proseOf(name).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );

/** An adopter writes a README of their own. */
const isOurs = read("README.md").startsWith("# partywall\n");

it.runIf(isOurs)("README has at most 700 words, and begins with one sentence and the two commands", () => {
  const readme = read("README.md");
  expect(readme.split(/\s+/).filter(Boolean).length).toBeLessThanOrEqual(700);
  expect(readme).toMatch(
    /^# partywall\n\n[^.]+\.\n\n```sh\nnpm ci && npm run dev .*\nnpm ci && npm test .*\n```\n/,
  );
});

it.runIf(isOurs)("README links to every document in docs/", () => {
  const linked = read("README.md");
  const missing = DOCUMENTS.filter((name) => name.startsWith("docs/") && !linked.includes(`(${name})`));
  expect(DOCUMENTS.length).toBeGreaterThan(10);
  expect(missing).toEqual([]);
});

describe.each(DOCUMENTS)("%s", (name) => {
  it("links to files and headings that are there", () => {
    const targets = [...proseOf(name).matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, target = ""]) => target);
    const broken = targets.filter((target) => {
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? name : normalize(join(dirname(name), path));
      if (!existsSync(join(root, file))) return true;
      return anchor !== undefined && !anchorsOf(file).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it("names files, folders and npm scripts that are there", () => {
    const words = read(name);
    const paths = [...words.matchAll(/(?<![\w./-])(?:src|drizzle|test|docs)\/[\w./*-]*\w\/?/g)].map(
      ([path]) => path,
    );
    // What is in the product may go: test/product/documents.node.test.ts looks for it.
    const ours = paths.filter((path) => !/^(src|test)\/product\/./.test(path));
    expect(ours.filter((path) => globSync(path, { cwd: root }).length === 0)).toEqual([]);

    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const used = [...words.matchAll(/npm run ([\w:]+)/g)].map(([, script = ""]) => script);
    expect(used.filter((script) => !(script in scripts))).toEqual([]);
  });
});
