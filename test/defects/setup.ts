/**
 * Sets the stage for a project of vitest's, in the Postgres of TEST_STACK, as the folder that this is in does: tells its
 * parent what the tests are given and what it has read, and stays there for as long as its parent wants it to.
 */
import { registerHooks } from "node:module";
import type { ProvidedContext } from "vitest";

/** What tests are given. */
export type Provided = Partial<ProvidedContext>;
/** `files` are the URLs of the modules, of the folder and of packages, that took part. */
export type SetUp = { provided: Provided; files: string[] } | { error: string };

const [name = ""] = process.argv.slice(2);
const files: string[] = [];
registerHooks({
  load(url, context, next) {
    files.push(url);
    return next(url, context);
  },
});

const provided: Provided = {};
const told = (answer: SetUp) => process.send?.(answer);
process.on("disconnect", () => process.exit());
try {
  const { default: setup } = await import("../support/node/postgres.ts");
  const stop = await setup({ name, provide: (key, value) => void (provided[key] = value) });
  process.removeAllListeners("disconnect");
  process.on("disconnect", () => void stop().then(() => process.exit()));
  told({ provided, files });
} catch (error) {
  told({ error: error instanceof Error ? error.message : String(error) });
}
