/** The command `npm run db:migrate`. */
import { readArguments } from "./command-line.ts";
import { messageOf } from "./connected.ts";
import { migrateFleet, type FleetOptions } from "./fleet.ts";
import { migrate, type MigrationVariables } from "./migrate.ts";
import type { SiteVariables } from "./sites.ts";
import { loadVariables, siteVariables } from "./variables.ts";

export type AllVariables = MigrationVariables & SiteVariables;

/** Brings the control plane and the shared site up to date, then every other site. Throws when one of them could not be. */
export async function migrateAll(variables: AllVariables, options: FleetOptions = {}): Promise<void> {
  await migrate(variables, options);
  await migrateFleet(variables, options);
}

const USAGE = `npm run db:migrate

Brings the control plane and every site up to date. It takes no options: the variables say where.`;

if (import.meta.main) {
  const names = [
    "MIGRATION_DATABASE_URL",
    "DATABASE_URL",
    "ACCOUNT_DATABASE_URL",
    "IDENTITY_DATABASE_URL",
    "OPERATOR_DATABASE_URL",
    "TENANT_CONTEXT_KEYS",
  ] as const;
  try {
    readArguments(USAGE, { options: {} });
    await migrateAll({ ...loadVariables(names), ...siteVariables() });
    console.log("Everything is up to date.");
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
