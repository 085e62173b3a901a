import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig, type Plugin } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { unstable_readConfig } from "wrangler";
import { makeAssets } from "../drizzle/assets.ts";
import { OFFLINE, STARTED } from "../drizzle/wrangler.ts";
import { testsProduct } from "./support/node/product.ts";

/** What starts processes or reads folders; all else runs inside workerd. */
const NODE_TESTS = ["test/local*.test.ts", "test/*.node.test.ts"];
const PRODUCT_NODE_TESTS = ["test/product/*.node.test.ts"];
const PRODUCT_TESTS = ["test/product/*.test.ts", "test/matrix-*.test.ts"];
/** What is run again with tenants elsewhere: all that attacks a site's wall, and what SQL of the site's own does. */
const AT_SITES = [
  "test/attacks{,-context,-known,-privileges,-sessions,-support}.test.ts",
  "test/{erasures,exports,imports,isolation,moves,site,sites,storage}.test.ts",
];
const root = join(import.meta.dirname, "..");
/** A slow machine has time for what a test waits for; what never comes fails the test all the same. */
const patience = { testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 20_000 } } };
/** Whoever runs one file after another, as test/defects/tests.ts does, sets the stage for each by himself. */
const setupOf = (file: string) => (process.env["TEST_STACK"] ? [] : `test/support/node/${file}`);
const configPath = join(root, "wrangler.toml");

// STARTED, for the harness of wrangler runs the [build] of wrangler.toml.
Object.assign(process.env, OFFLINE, STARTED);
// The Vitest pool does not run wrangler.toml's [build].
await makeAssets();
// Tests start many a Node: what it compiles is kept for the next one.
process.env["NODE_COMPILE_CACHE"] ??= join(root, "node_modules/.cache/node");

// The run's own secrets come from postgres.ts, as bindings; without these, wrangler warns that there are none.
for (const name of unstable_readConfig({ config: configPath }).secrets?.required ?? [])
  process.env[name] ??= "made for each run";

/** What takes longest begins first, also where nobody has measured yet, as in a fresh clone. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) =>
      /\/(guide|upgrade|dev|local-processes)\.[\w.]+$/.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((each) => !isLong(each))];
  }
}

/** Dependencies come without source maps: all modules are sent to each workerd that starts, and maps are most of their bytes. */
const withoutMaps = (): Plugin => ({
  name: "without-maps",
  transform: {
    order: "post",
    filter: { id: /\/node_modules\// },
    // Vite looks at the map only where the code is another than before.
    handler: (code) => ({ code: `${code}\n`, map: { mappings: "" } }),
  },
});

/** Tests inside workerd, of the whole Worker on a real Postgres. */
const inWorkerd = (name: string, include: string[], product: string, plugins: Plugin[] = []) => ({
  plugins: [
    ...plugins,
    withoutMaps(),
    cloudflareTest(({ inject }) => ({
      wrangler: { configPath },
      miniflare: {
        bindings: inject<Record<string, string>>("variables"),
        // As wrangler.toml may have it; it keeps what it takes to itself.
        email: {
          send_email: [{ name: "EMAIL", allowed_sender_addresses: ["no-reply@partywall.test"] }],
        },
      },
    })),
  ],
  test: {
    name,
    // One workerd for all files that a worker runs; setupFiles gives each file modules of its own in it.
    isolate: false,
    setupFiles: ["fresh", "statements", "jobs"].map((setup) => `test/support/workers/${setup}.ts`),
    root,
    include,
    exclude: [
      ...NODE_TESTS,
      ...PRODUCT_NODE_TESTS,
      ...(name === "workers" ? ["test/{moves,sites}.test.ts"] : []),
    ],
    globalSetup: setupOf("postgres.ts"),
    ...patience,
    env: {
      PRODUCT: product,
      // The same properties hold at every site: what runs again with tenants elsewhere looks for what is different there.
      PROPERTY_RUNS: process.env["PROPERTY_RUNS"] ?? (/^(schema|dedicated)/.test(name) ? "60" : "300"),
      FUZZ_RUNS: process.env["FUZZ_RUNS"] ?? "5000",
      USAGE_REQUESTS: process.env["USAGE_REQUESTS"] ?? "6000",
      USAGE_TENANTS: process.env["USAGE_TENANTS"] ?? "99",
      USAGE_DAYS: process.env["USAGE_DAYS"] ?? "365",
    },
  },
});

const inNode = (name: string, include: string[], plugins: Plugin[] = []) => ({
  plugins,
  test: {
    name,
    root,
    include,
    globalSetup: setupOf("folder.ts"),
    environment: "node" as const,
    isolate: false,
    ...patience,
  },
});

export default defineConfig({
  root,
  test: {
    // Some of what tests do is wait: two would leave two cores idle.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    projects: [
      // partywall's own tests, on a product of their own.
      inWorkerd("workers", ["test/*.test.ts"], "the tests'", [testsProduct()]),
      // What is in src/product: its tests, and the attacks on every table and every route that there are.
      inWorkerd("product", PRODUCT_TESTS, "src/product"),
      // The same with their tenants in a schema of their own, and in a database of their own at another server.
      inWorkerd("schema", AT_SITES, "the tests'", [testsProduct()]),
      inWorkerd("dedicated", AT_SITES, "the tests'", [testsProduct()]),
      inWorkerd("schema-product", PRODUCT_TESTS, "src/product"),
      inWorkerd("dedicated-product", PRODUCT_TESTS, "src/product"),
      inNode("node", NODE_TESTS, [testsProduct()]),
      inNode("product-node", PRODUCT_NODE_TESTS),
    ],
  },
});
