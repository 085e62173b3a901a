import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";

const root = new URL("..", import.meta.url).pathname;

export default defineConfig({
  root,
  test: {
    projects: [
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: `${root}wrangler.toml` },
            miniflare: { bindings: inject<Record<string, string>>("variables") },
          })),
        ],
        test: {
          name: "workers",
          root,
          include: ["test/*.test.ts"],
          exclude: ["test/local*.test.ts"],
          globalSetup: "test/support/node/postgres.ts",
          testTimeout: 20_000,
          env: { PROPERTY_RUNS: process.env["PROPERTY_RUNS"] ?? "300" },
        },
      },
      {
        test: {
          name: "node",
          root,
          include: ["test/local*.test.ts"],
          environment: "node",
          testTimeout: 30_000,
        },
      },
    ],
  },
});
