import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

/** Makes a folder for what test files share, and deletes it after the run. */
export default function setup(project: TestProject) {
  const folder = mkdtempSync(join(tmpdir(), "partywall-run-"));
  // As root, Postgres runs as another user, who then reaches its data here.
  chmodSync(folder, 0o711);
  project.provide("folder", folder);
  return () => rmSync(folder, { recursive: true, force: true });
}
