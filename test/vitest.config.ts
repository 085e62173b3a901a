import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";
import { unstable_readConfig } from "wrangler";
import { OFFLINE } from "../drizzle/wrangler.ts";

/** What starts processes or reads folders; all else runs inside workerd. */
const NODE_TESTS = ["test/local*.test.ts", "test/*.node.test.ts"];
const root = join(import.meta.dirname, "..");
const configPath = join(root, "wrangler.toml");

Object.assign(process.env, OFFLINE);
// Tests start many a Node: what it compiles is kept for the next one.
process.env["NODE_COMPILE_CACHE"] ??= join(root, "node_modules/.cache/node");

// The run's own secrets come from postgres.ts, as bindings; without these, wrangler warns that there are none.
for (const name of unstable_readConfig({ config: configPath }).secrets?.required ?? [])
  process.env[name] ??= "made for each run";

export default defineConfig({
  root,
  test: {
    maxWorkers: 2,
    projects: [
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath },
            miniflare: { bindings: inject<Record<string, string>>("variables") },
          })),
        ],
        test: {
          name: "workers",
          // One workerd for all files that a worker runs; setupFiles gives each file modules of its own in it.
          isolate: false,
          setupFiles: "test/support/workers/fresh.ts",
          root,
          include: ["test/*.test.ts"],
          exclude: NODE_TESTS,
          globalSetup: "test/support/node/postgres.ts",
          testTimeout: 20_000,
          env: {
            PROPERTY_RUNS: process.env["PROPERTY_RUNS"] ?? "300",
            FUZZ_RUNS: process.env["FUZZ_RUNS"] ?? "5000",
          },
        },
      },
      {
        test: {
          name: "node",
          root,
          include: NODE_TESTS,
          globalSetup: "test/support/node/folder.ts",
          environment: "node",
          testTimeout: 30_000,
        },
      },
    ],
  },
});
