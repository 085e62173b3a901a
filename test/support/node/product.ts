import { cpSync, existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Plugin } from "vitest/config";
import type { MigrationOptions } from "../../../drizzle/migrate.ts";

const root = join(import.meta.dirname, "../../..");
const PRODUCT = join(root, "src/product");
/** The product of partywall's own tests, so that they stay as they are when the sample goes. */
const TESTS_PRODUCT = join(root, "test/support/product");

/** Puts the tests' product in the place of src/product. Throws for a file that it does not have. */
export const testsProduct = (): Plugin => ({
  name: "tests-product",
  enforce: "pre",
  async resolveId(source, importer, options) {
    const found = await this.resolve(source, importer, { ...options, skipSelf: true });
    const path = found && relative(PRODUCT, found.id);
    if (!path || path.startsWith("..")) return found;
    const own = join(TESTS_PRODUCT, path);
    if (!existsSync(own))
      throw new Error(`partywall imports src/product/${path}, and the tests have no ${own}.`);
    return own;
  },
});

/** The migrations of the tests' product, in the place of the sample's. */
export const TESTS_MIGRATIONS: MigrationOptions = { content: join(TESTS_PRODUCT, "migrations") };

/** Later than every migration before. */
let now = Date.now();

/** Puts the tests' product's migrations into a folder, and these after them, each a list of statements. Returns the folder. */
export function withMigrations(folder: string, ...more: string[][]): string {
  cpSync(join(TESTS_PRODUCT, "migrations"), folder, { recursive: true });
  const file = join(folder, "meta/_journal.json");
  const journal = JSON.parse(readFileSync(file, "utf8")) as { entries: object[] };
  for (const statements of more) {
    journal.entries.push({ when: (now += 1), tag: `${now}`, breakpoints: true });
    writeFileSync(join(folder, `${now}.sql`), statements.join(";--> statement-breakpoint\n"));
  }
  writeFileSync(file, JSON.stringify(journal));
  return folder;
}

/** Copies what a bundle of the Worker is made of to an empty folder, with the tests' product in the sample's place. */
export function copyWithTestsProduct(to: string): void {
  const build = ["drizzle/wrangler-alone.cjs", "drizzle/own-node.cjs", "drizzle/assets.ts"];
  for (const name of [
    "src",
    "test/support/product",
    ...build,
    "wrangler.toml",
    "package.json",
    "tsconfig.json",
  ])
    cpSync(join(root, name), join(to, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(to, "node_modules"));
  const product = join(to, "src/product");
  for (const name of readdirSync(product)) rmSync(join(product, name), { recursive: true });
  for (const name of readdirSync(TESTS_PRODUCT).filter((each) => each.endsWith(".ts")))
    writeFileSync(join(product, name), `export * from "../../test/support/product/${name}";\n`);
}
