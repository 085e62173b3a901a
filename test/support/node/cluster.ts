import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync } from "node:fs";
import { join } from "node:path";
import { prepareLocalDatabase } from "../../../drizzle/local-database.ts";
import { startStack, type StackOptions } from "../../../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets, namedSecret } from "../../../drizzle/variables.ts";
import type { Migrated } from "../../bench/bed.ts";
import { onceInARun } from "./once.ts";
import { TESTS_MIGRATIONS } from "./product.ts";

/**
 * A migrated database in a Postgres of its own, in an empty folder, which whoever calls this deletes. It starts from a
 * copy of the one that is made once in a run: the secrets are the same everywhere, all else is its own. They include
 * PASSWORD_PEPPERS, for passwords that are cheap to hash, as those of the tests in workerd are.
 */
export async function startMigrated(options: StackOptions & { dir: string }): Promise<Migrated> {
  const made = await onceInARun("cluster", makeCluster);
  // As root, Postgres runs as another user, who then reaches its data here.
  chmodSync(options.dir, 0o711);
  // node:fs would not keep the owner.
  execFileSync("cp", ["-Rp", join(made.dir, "data"), join(made.dir, "password"), options.dir]);
  const stack = await startStack(options);
  const urls = makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`, made.variables);
  return { stack, variables: { ...made.variables, ...urls } };
}

/** Leaves a stopped Postgres in the folder; returns the passwords and keys that its database knows. */
async function makeCluster(dir: string): Promise<{ dir: string; variables: Migrated["variables"] }> {
  const stack = await startStack({ dir });
  const variables = {
    ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`),
    ...(await makeSecrets()),
    // At the usual cost, a hash takes 140 ms of CPU, and each sign-in makes one.
    PASSWORD_PEPPERS: `${namedSecret()}:8`,
  };
  try {
    await prepareLocalDatabase(stack.superuserUrl, variables, TESTS_MIGRATIONS);
  } finally {
    await stack.stop();
  }
  // As an ephemeral one has it: no test outlives a crash of the machine.
  const settings = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n";
  appendFileSync(join(dir, "data/postgresql.conf"), settings);
  return { dir, variables };
}
