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
import { unstable_readConfig } from "wrangler";
import { readSettings } from "../src/settings.ts";
import { behind, inControl } from "./fleet.ts";
import { migrateAll, type AllVariables } from "./migrate-all.ts";
import { WRANGLER } from "./wrangler.ts";

const root = join(import.meta.dirname, "..");

const { values: flags } = parseArgs({
  options: {
    env: { type: "string" },
    "env-file": { type: "string" },
    "dry-run": { type: "boolean", default: false },
  },
});

try {
  await deploy();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function deploy(): Promise<void> {
  // What is in the environment already goes before the file.
  if (flags["env-file"]) process.loadEnvFile(flags["env-file"]);
  const {
    vars,
    secrets: declared,
    send_email: senders,
  } = unstable_readConfig({
    config: join(root, "wrangler.toml"),
    ...(flags.env && { env: flags.env }),
  });
  // Never from .dev.vars: those are this machine's own.
  const secrets = Object.fromEntries(
    (declared?.required ?? []).map((name: string) => [name, process.env[name] ?? ""]),
  );
  const { DATABASE_URL } = readSettings({
    ...vars,
    ...secrets,
    ...(senders.some(({ name }: { name: string }) => name === "EMAIL") && { EMAIL: "bound" }),
  });
  const { MIGRATION_DATABASE_URL = "" } = process.env;
  if (!MIGRATION_DATABASE_URL) throw new Error("MIGRATION_DATABASE_URL is missing: the login that migrates.");
  if (vars["NEON_FETCH_ENDPOINT"])
    throw new Error("NEON_FETCH_ENDPOINT is set in wrangler.toml: a deployed Worker asks Neon itself.");

  const variables = {
    ...(secrets as AllVariables),
    SITE_MIGRATION_KEYS: process.env["SITE_MIGRATION_KEYS"] ?? "",
    MIGRATION_DATABASE_URL,
  };
  const { host, pathname } = new URL(DATABASE_URL);
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
  await run(join(root, "drizzle/doctor.ts"));
  say(flags["dry-run"] ? "bundling the Worker" : "deploying the Worker");
  await upload(secrets);
}

function say(what: string): void {
  console.log(`· ${what}`);
}

/** Runs a Node program to its end. Throws when it fails; it has said why. */
async function run(program: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error("Nothing was deployed.");
}

/** Uploads the secrets together with the code that needs them, from a file of this user's alone that does not stay. */
async function upload(secrets: Record<string, string>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "partywall-deploy-"));
  // Ctrl-C ends wrangler, and then this.
  process.on("SIGINT", () => undefined);
  try {
    const file = join(dir, "secrets.json");
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    const mode = flags["dry-run"] ? ["--dry-run"] : [];
    await run(WRANGLER, "deploy", "--secrets-file", file, `--env=${flags.env ?? ""}`, ...mode);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
