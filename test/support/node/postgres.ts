import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { prepareLocalDatabase } from "../../../drizzle/local-database.ts";
import { startStack } from "../../../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets } from "../../../drizzle/variables.ts";

/** Starts a real Postgres and its Neon endpoint for the whole run, migrated, with secrets of its own. */
export default async function setup(project: TestProject) {
  const stack = await startStack({ dir: mkdtempSync(join(tmpdir(), "partywall-test-")), ephemeral: true });
  try {
    const variables = {
      ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`),
      ...(await makeSecrets()),
      NEON_FETCH_ENDPOINT: stack.endpoint,
      ISSUER: "https://api.partywall.test",
    };
    await prepareLocalDatabase(stack.superuserUrl, variables);
    project.provide("variables", variables);
  } catch (error) {
    await stack.stop();
    throw error;
  }
  return () => stack.stop();
}
