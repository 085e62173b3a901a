import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import { bundleDeployed, type Bundle } from "../../bench/workerd.ts";

/** The whole Worker as it would be deployed, bundled once in a run: twice when two files are first. */
export async function deployedBundle(): Promise<Bundle> {
  const folder = inject("folder");
  const kept = join(folder, "bundle.json");
  if (!existsSync(kept)) {
    await using bench = new AsyncDisposableStack();
    const made = await bundleDeployed(bench);
    const dir = mkdtempSync(join(folder, "bundle-"));
    cpSync(made.dir, dir, { recursive: true });
    writeFileSync(`${dir}.json`, JSON.stringify({ ...made, dir }));
    renameSync(`${dir}.json`, kept);
  }
  const bundle: Bundle = JSON.parse(readFileSync(kept, "utf8"));
  return bundle;
}
