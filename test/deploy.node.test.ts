import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Stack } from "../drizzle/local/stack.ts";
import { WRANGLER } from "../drizzle/wrangler.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { copyProject } from "./support/node/copy.ts";

// Each deployment reads all of wrangler first.
vi.setConfig({ testTimeout: 120_000 });

let stack: Stack;
let dir: string;
let variables: Record<string, string>;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "partywall-deploy-"));
  const migrated = await startMigrated({ dir });
  stack = migrated.stack;
  variables = { ...migrated.variables, ISSUER: "https://api.example.test" };
}, 60_000);
afterAll(async () => {
  await stack.stop();
  rmSync(dir, { recursive: true, force: true });
});

type Run = { args?: string[]; cwd?: string };

/** Goes through everything that a deployment does, but for what it would change. */
const deploy = (env: Record<string, string>, { args = [], cwd }: Run = {}) =>
  // As package.json has it: before `--`, Node itself would look for --env-file.
  run(["--", "drizzle/deploy.ts", "--dry-run", ...args], env, cwd);

/** Runs a Node program to its end, with nothing of this environment that it could deploy with. */
async function run(program: string[], env: Record<string, string>, cwd?: string) {
  const { PATH = "", HOME = "", NODE_COMPILE_CACHE = "" } = process.env;
  const child = spawn(process.execPath, program, {
    ...(cwd && { cwd }),
    env: { PATH, HOME, NODE_COMPILE_CACHE, NO_COLOR: "1", WRANGLER_SEND_METRICS: "false", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, error, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  return { code, signal, out, error };
}

/** An env file with these variables. */
function envFile(values: Record<string, string>): string {
  const path = join(dir, "production.env");
  const lines = Object.entries(values).map(([name, value]) => `${name}='${value}'\n`);
  writeFileSync(path, lines.join(""), { mode: 0o600 });
  return path;
}

it("checks the configuration, asks the doctor and bundles the Worker, in this order, and tells no secret", async () => {
  const { code, out, error } = await deploy(variables);
  expect(error).not.toContain("ERROR");
  expect(code).toBe(0);
  const steps = ["asking the doctor", "the wall stands", "bundling the Worker", "--dry-run: exiting now"];
  expect(steps.map((step) => out.indexOf(step))).toEqual(
    steps.map((step) => out.indexOf(step)).toSorted((a, b) => a - b),
  );
  for (const step of steps) expect(out).toContain(step);
  for (const name of ["PASSWORD_PEPPER", "OPERATOR_TOKEN", "TOKEN_SIGNING_KEYS", "TENANT_CONTEXT_KEYS"])
    expect(out + error).not.toContain(variables[name]);
});

it("goes no further than the configuration when a secret is missing or is a placeholder, and names it", async () => {
  const { OPERATOR_TOKEN: _, ...others } = variables;
  const { code, out, error } = await deploy({ ...others, PASSWORD_PEPPER: "changeme" });
  expect(code).toBe(1);
  expect(error).toContain("OPERATOR_TOKEN is missing");
  expect(error).toContain("PASSWORD_PEPPER is not well formed");
  expect(error).not.toContain("changeme");
  expect(out).toBe("");
});

describe("what is wrong with the configuration", () => {
  it("is told all at once, and from where each variable is read", async () => {
    const { OPERATOR_TOKEN: _, TENANT_CONTEXT_KEYS: keys = "", ...others } = variables;
    const file = envFile({
      ...others,
      MIGRATION_DATABASE_URL:
        "postgres://neondb_owner:s3cret@ep-a-pooler.eu-central-1.aws.neon.tech/partywall",
      SITE_MIGRATION_KEYS: "none",
    });
    const given = { TENANT_CONTEXT_KEYS: keys.slice(0, -1) };
    const { code, out, error } = await deploy(given, { args: ["--env-file", file] });
    expect(code).toBe(1);
    expect(out).toBe("");
    expect(error).toMatch(/^Nothing was deployed, because of the configuration:\n/);
    for (const sentence of [
      `OPERATOR_TOKEN is missing. Set it to 32 random bytes in base64url. It is read from ${file}.`,
      `SITE_MIGRATION_KEYS is not well formed. Set it to kid:key[,kid:key], as SITE_KEYS is. It is read from ${file}.`,
    ])
      expect(error).toContain(sentence);
    expect(error).toMatch(/TENANT_CONTEXT_KEYS is not well formed\..* It is read from the environment\.\n/);
    expect(error).toMatch(/MIGRATION_DATABASE_URL is the pooled connection string\. Set it to the direct/);
    expect(error).toContain("`npx node drizzle/secrets.ts HOST` prints a new secret of each kind");
    expect(error).not.toContain("s3cret");
    expect(error).not.toContain(keys.slice(9, -1));
  });

  it.each([
    ["http://api.example.test", "ISSUER is not https. Set it to"],
    ["https://api.example.test/", "ISSUER ends with a slash. Set it to"],
  ])("is the address %s, which tokens would bear", async (ISSUER, sentence) => {
    const { code, error } = await deploy({ ...variables, ISSUER });
    expect([code, error]).toEqual([1, expect.stringContaining(sentence)]);
  });

  it("is a connection string of another login or to another database", async () => {
    const { DATABASE_URL = "", OPERATOR_DATABASE_URL = "" } = variables;
    const { code, error } = await deploy({
      ...variables,
      OPERATOR_DATABASE_URL: DATABASE_URL,
      ACCOUNT_DATABASE_URL: (variables["ACCOUNT_DATABASE_URL"] ?? "").replace(/partywall$/, "neondb"),
    });
    expect(code).toBe(1);
    expect(error).toContain(
      "OPERATOR_DATABASE_URL has the login partywall_app. Set it to postgres://partywall_operator:",
    );
    const { host } = new URL(DATABASE_URL);
    expect(error).toContain(
      `ACCOUNT_DATABASE_URL leads to ${host}/neondb, and DATABASE_URL to ${host}/partywall.`,
    );
    for (const url of [DATABASE_URL, OPERATOR_DATABASE_URL])
      expect(error).not.toContain(new URL(url).password);
  });

  it("is a variable of wrangler.toml, which is named with its table", async () => {
    const copy = copyProject();
    try {
      const path = join(copy, "wrangler.toml");
      const changed = readFileSync(path, "utf8")
        .replaceAll(/^(TENANT_LOCATION_HINT|NEON_FETCH_ENDPOINT) = .*$/gm, '$1 = "http://here"')
        .replaceAll(/^NEON_ORG_ID = .*$/gm, '$&\nNEON_API_URL = "http://127.0.0.1:9"');
      writeFileSync(path, changed);
      const { code, error } = await deploy(variables, { cwd: copy, args: ["--env", "staging"] });
      expect(code).toBe(1);
      const source = "It is read from wrangler.toml, under [env.staging.vars].";
      expect(error).toContain(
        `TENANT_LOCATION_HINT is not well formed. Set it to a location hint of Durable Objects, such as weur. ${source}`,
      );
      for (const name of ["NEON_FETCH_ENDPOINT", "NEON_API_URL"])
        expect(error).toContain(
          `${name} is set, and a deployed Worker asks Neon itself. Leave it empty. ${source}`,
        );
    } finally {
      rmSync(dirname(copy), { recursive: true, force: true });
    }
  });

  it("is a login that the database refuses, and a name that nothing reads is noted", async () => {
    const url = new URL(variables["MIGRATION_DATABASE_URL"] ?? "");
    url.password = "wrong";
    const file = envFile({
      ...variables,
      MIGRATION_DATABASE_URL: url.href,
      OPERATER_TOKEN: "s3cret",
      CLOUDFLARE_API_TOKEN: "s3cret",
    });
    const { code, out, error } = await deploy({}, { args: ["--env-file", file] });
    expect(code).toBe(1);
    expect(out).toBe("");
    expect(error).toMatch(
      new RegExp(
        `MIGRATION_DATABASE_URL does not open ${url.host}/partywall: password authentication failed .*` +
          `It is read from ${file}\\. Copy it again from Neon's console`,
      ),
    );
    expect(error).toContain(`OPERATER_TOKEN in ${file} is not deployed`);
    expect(error).toContain("npx wrangler secret put OPERATER_TOKEN");
    expect(error).not.toContain("CLOUDFLARE_API_TOKEN");
    expect(error).not.toContain("s3cret");
  });

  it.each([
    [
      ["--env-file", "nowhere.env"],
      "There is no nowhere.env, which --env-file names. `npx node drizzle/secrets.ts",
    ],
    [["--env-fil", "x"], "Unknown option '--env-fil'"],
    [["--env", "stagin"], 'The available configured environment names are: ["staging"]'],
  ])("is a flag: %s", async (args, sentence) => {
    const { code, out, error } = await deploy(variables, { args });
    expect(code).toBe(1);
    expect(out).toBe("");
    expect(error).toContain(sentence);
    expect(error).not.toMatch(/^ +at /m);
  });
});

describe("wrangler alone", () => {
  let copy: string;
  beforeAll(() => {
    copy = copyProject();
  });
  afterAll(() => rmSync(dirname(copy), { recursive: true, force: true }));

  it.each([
    ["dev", "Run `npm run dev` instead"],
    ["deploy --dry-run", "Run `npm run deploy -- --env-file production.env` instead"],
    ["versions upload --dry-run", "Run `npm run deploy -- --env-file production.env` instead"],
  ])("ends `wrangler %s` with a sentence that says what to run", async (command, sentence) => {
    const { code, out, error } = await run([WRANGLER, ...command.split(" ")], {}, copy);
    expect(out + error).toContain(`\`wrangler ${command.replace(" --dry-run", "")}\` alone `);
    expect(out + error).toContain(sentence);
    // The last word of wrangler's is the command, which says it too.
    expect(error).toMatch(/Running custom build `.*npm run dev and npm run deploy start wrangler` failed/);
    expect(code).toBe(1);
  });

  it.each([
    ["of `npm run dev`", "127.0.0.1:8789", "SIGTERM"],
    ["elsewhere", "ep-example-123.eu-central-1.aws.neon.tech", null],
  ])("lets `wrangler dev` pass only with a database elsewhere: %s", async (_name, host, signal) => {
    writeFileSync(
      join(copy, ".dev.vars"),
      `DATABASE_URL='postgres://partywall_app:s3cret@${host}/partywall'\n`,
    );
    const ended = await run(["drizzle/wrangler-alone.cjs"], { WRANGLER_COMMAND: "dev" }, copy);
    expect(ended.signal).toBe(signal);
  });
});

it("goes no further than the doctor when the wall does not stand", async () => {
  const client = new pg.Client({ connectionString: variables["MIGRATION_DATABASE_URL"] });
  await client.connect();
  await client.query("set role partywall_owner; alter table audit_events no force row level security");
  try {
    const { code, out } = await deploy(variables);
    expect(code).toBe(1);
    expect(out).toContain("rls_not_forced: public.audit_events");
    expect(out).not.toContain("bundling the Worker");
  } finally {
    await client.query("alter table audit_events force row level security");
    await client.end();
  }
});
