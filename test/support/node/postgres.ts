import { chmodSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { prepareLocalDatabase } from "../../../drizzle/local-database.ts";
import { startStack } from "../../../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets } from "../../../drizzle/variables.ts";

/** Starts a real Postgres and its Neon endpoint for the whole run, migrated, with secrets of its own. */
export default async function setup(project: TestProject) {
  const dir = mkdtempSync(join(tmpdir(), "partywall-test-"));
  // As root, Postgres runs as another user, who then reaches its data here.
  chmodSync(dir, 0o711);
  const stack = await startStack({ dir, ephemeral: true });
  try {
    const variables = {
      ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`),
      ...(await makeSecrets()),
      NEON_FETCH_ENDPOINT: stack.endpoint,
      ISSUER: "https://api.partywall.test",
      BASE_DOMAIN: "partywall.test",
      API_KEY_ENVIRONMENT: "test",
    };
    await prepareLocalDatabase(stack.superuserUrl, variables);
    project.provide("variables", variables);
  } catch (error) {
    await stack.stop();
    throw error;
  }
  return () => stack.stop();
}
