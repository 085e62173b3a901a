import { cpSync } from "node:fs";
import { bundleDeployed, type Bundle } from "../../bench/workerd.ts";
import { onceInARun } from "./once.ts";

/** The whole Worker as it would be deployed. */
export const deployedBundle = (): Promise<Bundle> =>
  onceInARun("bundle", async (dir) => {
    await using bench = new AsyncDisposableStack();
    const made = await bundleDeployed(bench);
    cpSync(made.dir, dir, { recursive: true });
    return { ...made, dir };
  });
