import { readFileSync } from "node:fs";
import { join } from "node:path";
import { shown, table } from "./figures.ts";
import type { Bundle } from "./workerd.ts";

type Metafile = { outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }> };

/** Libraries below this many bytes are one line. */
const SMALL = 4000;

/** What each library takes of a bundle, minified, the largest first. */
export function librariesTable({ dir }: Bundle): string {
  const { outputs } = JSON.parse(readFileSync(join(dir, "bundle-meta.json"), "utf8")) as Metafile;
  const bytes = new Map<string, number>();
  for (const { inputs } of Object.values(outputs))
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const name = libraryOf(path);
      bytes.set(name, (bytes.get(name) ?? 0) + bytesInOutput);
    }
  const sorted = [...bytes].sort(([, a], [, b]) => b - a);
  const small = sorted.filter(([, size]) => size < SMALL);
  const rows = [
    ...sorted.filter(([, size]) => size >= SMALL),
    [`${small.length} others`, small.reduce((sum, [, size]) => sum + size, 0)] as const,
  ];
  return table(
    ["in the bundle", "KB"],
    rows.map(([name, size]) => [name, shown(size / 1000)]),
  );
}

/** The package that a file is of, or the first folder of partywall's own. */
function libraryOf(path: string): string {
  const [, within] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? [];
  if (within) return within.startsWith("@peculiar/") ? "@peculiar/*" : within;
  return path.includes("src/product/") ? "src/product" : path.startsWith("src/") ? "src" : "wrangler's own";
}
