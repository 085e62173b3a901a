import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";

// What README.md and docs/ say of the project, held against the project.

const root = join(import.meta.dirname, "..");
const read = (name: string) => readFileSync(join(root, name), "utf8");
const DOCUMENTS = globSync(["*.md", "docs/*.md", "drizzle/local/*.md"], { cwd: root });

/** What commands write, and no checkout has. */
const MADE = read(".gitignore").split("\n");

/** Removes fenced code, in which a bracket is no link. */
const proseOf = (name: string) => read(name).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "");

/** The languages that a block of code may be in: a name that no tool knows would show it without colours. */
const LANGUAGES = new Set(["sh", "ts", "json", "sql", "toml", "diff", "", "js", "yaml", "html"]);

/** Where a command's flags are. */
const PROGRAMS: Record<string, string[]> = {
  tenants: ["drizzle/tenants.ts"],
  operators: ["drizzle/operators.ts"],
  deploy: ["drizzle/deploy.ts"],
  "db:doctor": ["drizzle/doctor.ts"],
  bench: ["test/bench/main.ts"],
};

/** A document's fenced code, without its indentation. */
const blocksOf = (name: string) =>
  [...read(name).matchAll(/^( *)```(\w*)[^\n]*\n([\s\S]*?)^\1```$/gm)].map(
    ([, indent = "", language = "", body = ""]) => ({
      language,
      body: body.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    }),
  );

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
  // Nobody reads comments.
  const words = readme
    .replaceAll(/<!--.*?-->/g, "")
    .split(/\s+/)
    .filter(Boolean);
  expect(words.length).toBeLessThanOrEqual(700);
  expect(readme).toMatch(
    /^# partywall\n\n[^.]+\.\n\n```sh\nnpm ci && npm run dev .*\nnpm ci && npm test .*\n```\n/,
  );
});

it("docs/README.md links to every document in docs/", () => {
  const linked = read("docs/README.md");
  const missing = DOCUMENTS.filter((name) => /^docs\/(?!README)/.test(name)).filter(
    (name) => !new RegExp(`\\(${basename(name)}[#)]`).test(linked),
  );
  expect(DOCUMENTS.length).toBeGreaterThan(10);
  expect(missing).toEqual([]);
});

it.runIf(isOurs)("no file has the marks of a merge that was left half done", () => {
  const folders = ["src", "test", "drizzle", "docs", ".github"].map((folder) => `${folder}/**/*.*`);
  const names = globSync(["*", ".gitignore", ".npmrc", ".ci/*", ...folders], {
    cwd: root,
    exclude: (name) => name === "node_modules" || name === "dist",
  }).filter((name) => statSync(join(root, name)).isFile());
  expect(names.length).toBeGreaterThan(300);
  // A formatter makes quotes of the closing mark in a document.
  const marks = /^(<{7} |={7}$|>{7} |(> ){7})/m;
  expect(names.filter((name) => marks.test(read(name)))).toEqual([]);
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
    const isThere = (path: string) => MADE.includes(path) || globSync(path, { cwd: root }).length > 0;
    expect(ours.filter((path) => !isThere(path))).toEqual([]);

    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const used = [...words.matchAll(/npm run ([\w:]+)/g)].map(([, script = ""]) => script);
    expect(used.filter((script) => !(script in scripts))).toEqual([]);
  });

  it("has blocks of code that can be read as what they say they are", () => {
    for (const { language, body } of blocksOf(name)) {
      if (language === "json") expect(() => JSON.parse(body) as unknown).not.toThrow();
      if (language === "sh")
        expect(spawnSync("bash", ["-n"], { input: body, encoding: "utf8" }).stderr).toBe("");
    }
    expect(blocksOf(name).filter(({ language }) => !LANGUAGES.has(language))).toEqual([]);
  });

  it("gives commands that there are, with flags that they take", () => {
    const commands = blocksOf(name)
      .filter(({ language }) => language === "sh")
      .flatMap(({ body }) => body.replaceAll("\\\n", " ").split("\n"));
    const named = [...commands, ...[...proseOf(name).matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code)];
    const unknown = named.flatMap((command) => {
      const [, script = "", rest = ""] =
        /npm run (tenants|operators|deploy|db:doctor|bench) -- (.*)/.exec(command) ?? [];
      const source = PROGRAMS[script];
      if (!source) return [];
      const flags = [...rest.replace(/#.*/, "").matchAll(/(?<!\S)--([a-z][a-z-]*)/g)].map(
        ([, flag = ""]) => flag,
      );
      const text = source.map(read).join("\n");
      return flags
        .filter((flag) => !new RegExp(`"${flag}"|\\b${flag}: \\{|--${flag}\\b`).test(text))
        .map((flag) => `${command}: --${flag}`);
    });
    expect(unknown).toEqual([]);
  });
});
