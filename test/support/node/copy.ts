import { chmodSync, cpSync, mkdirSync, mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

const root = join(import.meta.dirname, "../../..");
const NOT_COPIED = new Set([
  "node_modules",
  ".git",
  ".partywall",
  ".wrangler",
  ".dev.vars",
  "src/worker-env.d.ts",
]);

/** A copy of the project as a checkout would have it, with the modules of this one, in a folder with an unusual name. */
export function copyProject(name = "with space %23 é"): string {
  // As root, Postgres runs as another user, who then reaches its data here.
  const parent = mkdtempSync(join(tmpdir(), "partywall-copy-"));
  chmodSync(parent, 0o711);
  const copy = join(parent, name);
  mkdirSync(copy);
  cpSync(root, copy, { recursive: true, filter: (from) => !NOT_COPIED.has(relative(root, from)) });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  return copy;
}
