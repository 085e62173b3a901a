import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Stack } from "../drizzle/local/stack.ts";
import { startMigrated } from "./support/node/cluster.ts";

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

/** Goes through everything that a deployment does, but for what it would change. */
async function deploy(env: Record<string, string>) {
  const { PATH = "", HOME = "", NODE_COMPILE_CACHE = "" } = process.env;
  const child = spawn(process.execPath, ["drizzle/deploy.ts", "--dry-run"], {
    env: { PATH, HOME, NODE_COMPILE_CACHE, WRANGLER_SEND_METRICS: "false", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, error, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number]>,
  ]);
  return { code, out, error };
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
}, 60_000);

it("goes no further than the configuration when a secret is missing or is a placeholder, and names it", async () => {
  const { OPERATOR_TOKEN: _, ...others } = variables;
  const { code, out, error } = await deploy({ ...others, PASSWORD_PEPPER: "changeme" });
  expect(code).toBe(1);
  expect(error).toContain("OPERATOR_TOKEN is missing");
  expect(error).toContain("PASSWORD_PEPPER is not well formed");
  expect(out).toBe("");
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
}, 60_000);
