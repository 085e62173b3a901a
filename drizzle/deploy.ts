/**
 * Deploys the Worker: `npm run deploy -- --env-file production.env [--env staging] [--dry-run]`. In this order, each step
 * only if the one before went well: the configuration is checked, the databases migrated, the doctor asked, and the Worker
 * deployed together with its secrets. With --dry-run nothing is changed: neither migrated nor uploaded.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readConfiguration } from "./configuration.ts";
import { connected, messageOf, Unreachable } from "./connected.ts";
import { behind, inControl } from "./fleet.ts";
import { migrateAll } from "./migrate-all.ts";
import { STARTED, WRANGLER } from "./wrangler.ts";

const root = join(import.meta.dirname, "..");

const USAGE = "Usage: npm run deploy -- --env-file production.env [--env staging] [--dry-run]";

try {
  await deploy(readFlags());
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}

function readFlags() {
  try {
    return parseArgs({
      options: {
        env: { type: "string" },
        "env-file": { type: "string" },
        "dry-run": { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new Error(`${messageOf(error)}\n${USAGE}`, { cause: error });
  }
}

async function deploy(flags: ReturnType<typeof readFlags>): Promise<void> {
  const { secrets, variables, notes, sourceOf } = readConfiguration({
    env: flags.env,
    envFile: flags["env-file"],
  });
  for (const note of notes) console.warn(`· ${note}`);
  // The doctor reads them from there.
  Object.assign(process.env, secrets, variables);
  await tryLogin(variables.MIGRATION_DATABASE_URL, sourceOf("MIGRATION_DATABASE_URL"));

  const { host, pathname } = new URL(variables.DATABASE_URL);
  if (!flags["dry-run"]) {
    say(`migrating ${host}${pathname}, and every site`);
    await migrateAll(variables, { say });
  } else {
    const late = await inControl(variables, (control) => behind(control, variables));
    if (late.length > 0)
      throw new Error(
        `These sites are behind:\n${late.map(({ site, why }) => `  ${site}: ${why}`).join("\n")}`,
      );
  }
  say("asking the doctor");
  await run({}, join(root, "drizzle/doctor.ts"));
  say(flags["dry-run"] ? "bundling the Worker" : "deploying the Worker");
  await upload(secrets, [`--env=${flags.env ?? ""}`, ...(flags["dry-run"] ? ["--dry-run"] : [])]);
}

/** Opens the database as the login that migrates. Throws one sentence where that is not possible. */
async function tryLogin(url: string, source: string): Promise<void> {
  await connected(url, (client) => client.query("select")).catch((error: unknown) => {
    const { host, pathname } = new URL(url);
    throw new Error(
      `MIGRATION_DATABASE_URL does not open ${host}${pathname}: ${messageOf(error instanceof Unreachable ? error.cause : error)}. It is read from ${source}. ` +
        "Copy it again from Neon's console, with its password, and not the pooled one.",
      { cause: error },
    );
  });
}

function say(what: string): void {
  console.log(`· ${what}`);
}

/** Runs a Node program to its end. Throws when it fails; it has said why. */
async function run(env: NodeJS.ProcessEnv, program: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error("Nothing was deployed.");
}

/** Uploads the secrets together with the code that needs them, from a file of this user's alone that does not stay. */
async function upload(secrets: Record<string, string>, how: string[]): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "partywall-deploy-"));
  // Ctrl-C ends wrangler, and then this.
  process.on("SIGINT", () => undefined);
  try {
    const file = join(dir, "secrets.json");
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    await run(STARTED, WRANGLER, "deploy", "--secrets-file", file, ...how);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
