import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

// What README.md and docs/ show of the sample, held against it.

const root = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(root, name), "utf8");

it("README shows a resource as the source has it", () => {
  // Line breaks and what they bring with them aside.
  const flat = (code: string) => code.replaceAll(/\s+/g, "").replaceAll(/,(?=[)\]}])/g, "");
  const [, resource = ""] = /```ts\n([\s\S]*?)```/.exec(read("README.md")) ?? [];
  expect(resource.trim().split("\n").length).toBeLessThanOrEqual(12);
  expect(flat(read("src/product/projects.ts"))).toContain(flat(resource));
});

it("README.md and docs/ name files of the sample that are there", () => {
  const named = globSync(["*.md", "docs/*.md"], { cwd: root }).flatMap((name) =>
    [...read(name).matchAll(/(?<![\w./-])(?:src|test)\/product\/[\w./*-]*\w\/?/g)].map(([path]) => path),
  );
  // The guide makes these.
  const made = new Set(["src/product/notes.ts", "test/product/notes.test.ts", "test/product/matrix.ts"]);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((path) => !made.has(path) && globSync(path, { cwd: root }).length === 0)).toEqual([]);
});

it("the tour in docs/getting-started.md is the one that `npm run dev` prints", () => {
  const program = `import { printTour } from "./drizzle/tour.ts"; printTour("http://127.0.0.1:8787", "", "");`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: root,
    encoding: "utf8",
  });
  const [, tour = ""] = stdout.split("Try this in another terminal:");
  const commands = tour.split("\n").flatMap((line) => /^ {2}([^#\s].*)$/.exec(line)?.[1] ?? []);
  expect(commands.length).toBeGreaterThan(5);
  const blocks = [...read("docs/getting-started.md").matchAll(/```sh\n([\s\S]*?)```/g)];
  const shown = blocks.flatMap(([, code = ""]) => code.trim().split("\n"));
  expect(shown.slice(1)).toEqual(commands);
});
