import { SHARED_SITE } from "../src/db/places.ts";
import { prepareDatabase } from "./migrate.ts";
import { withFleet, type FleetOptions } from "./fleet.ts";
import { contextKeys, loginsAt, migratorUrls, readSites, rotated, type SiteVariables } from "./sites.ts";

/**
 * How long the keys of before stay good: longer than a tenant's object goes on with what it knows of its site (5 minutes),
 * and a context that was signed with them lives (one minute).
 */
const OVERLAP_MS = 10 * 60_000;

/**
 * Replaces the passwords of a site's server, and the context keys of each database there, without a failed request: the
 * Worker tries the next password when one is refused, and both keys are good for ten minutes. Run again after that, it ends
 * the keys of before. Returns what was done, in a sentence.
 */
export const rotateSite = (
  name: string,
  variables: SiteVariables,
  options: FleetOptions = {},
): Promise<string> =>
  withFleet(variables, async (control) => {
    const sites = await readSites(control);
    if (name === SHARED_SITE.name) throw new Error(inControlsDatabase(name));
    const chosen = sites.find((site) => site.name === name);
    if (!chosen) throw new Error(`There is no site ${name}. \`npm run tenants -- site list\` names them.`);
    const { server, database } = chosen;
    if (database === null) throw new Error(inControlsDatabase(name));
    const { rotated_at } = chosen;
    if (rotated_at && Date.now() - rotated_at.getTime() < OVERLAP_MS)
      throw new Error(
        `The keys of before are good until ${new Date(rotated_at.getTime() + OVERLAP_MS).toISOString()}. Run this again after that.`,
      );
    const affected = sites.filter((site) =>
      server === null ? site.server === null && site.database === database : site.server === server,
    );
    // The same for all of them: they share a server, or a database.
    const { secret, generation } = rotated_at ? chosen : rotated(chosen, variables);
    const next = { secret, generation, rotated_at: rotated_at ? null : new Date() };
    const databases = new Map(affected.map((site) => [site.database, { ...site, ...next }]));
    for (const site of databases.values())
      await prepareDatabase(
        migratorUrls(site, variables)[0],
        server === null ? [] : loginsAt(site, variables),
        contextKeys(site, variables),
        options,
      );
    const changed = affected.map((site) => site.name);
    // At once, or a crash could leave them apart.
    await control.query(
      "update control.sites set secret = $2, generation = $3, rotated_at = $4 where name = any ($1)",
      [changed, secret, generation, next.rotated_at],
    );
    const names = changed.join(", ");
    return rotated_at
      ? `The keys of before open nothing any more at ${names}: the rotation is done.`
      : `New passwords and keys are in force at ${names}. Run this again in ten minutes, to end those of before.`;
  });

const inControlsDatabase = (name: string): string =>
  `The site ${name} is in the control plane's database: its passwords and keys are those of DATABASE_URL, ACCOUNT_DATABASE_URL and TENANT_CONTEXT_KEYS.`;
