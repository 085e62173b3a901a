import pg from "pg";
import * as v from "valibot";
import { contextKeyOf, nextGeneration, passwordOf } from "../src/db/derived.ts";
import { Site, SITE_KINDS } from "../src/db/places.ts";
import { keyRing, type KeyRing, type NamedKey } from "../src/settings.ts";

/** A site, as the control plane's table has it. */
export const SiteRow = v.object({
  ...Site.entries,
  kind: v.picklist(SITE_KINDS),
  region: v.nullable(v.string()),
  rotated_at: v.nullable(v.date()),
});
export type SiteRow = v.InferOutput<typeof SiteRow>;

/** What the logins of all sites are made of. */
export type SiteVariables = {
  MIGRATION_DATABASE_URL: string;
  DATABASE_URL: string;
  ACCOUNT_DATABASE_URL: string;
  /** For the logins that serve requests, and the context keys. The Worker has it too. */
  SITE_KEYS: string;
  /** For the login that migrates. It never leaves whoever runs this. */
  SITE_MIGRATION_KEYS: string;
};

/** The login that migrates at a server of sites. */
export const MIGRATOR = "partywall_migrator";

const COLUMNS = Object.keys(SiteRow.entries)
  .map((name) => `s.${name}`)
  .join(", ");

/** All sites but the shared one, by name; `client` is in the control plane's database, as partywall_owner. */
export async function readSites(client: pg.Client): Promise<SiteRow[]> {
  const { rows } = await client.query(
    `select ${COLUMNS} from control.sites s where s.kind <> 'shared' order by s.name`,
  );
  return v.parse(v.array(SiteRow), rows);
}

/** Where a site's database is, in words. */
export const databaseOf = ({ host, database }: Pick<SiteRow, "host" | "database">): string =>
  `${host ?? "the control plane's server"}${database === null ? "" : `/${database}`}`;

/** Where a site is, in words. */
export const whereIs = (site: Pick<SiteRow, "host" | "database" | "schema">): string =>
  `${databaseOf(site)}, schema ${site.schema}`;

/** Where Neon's host name says that it is, such as `aws-eu-central-1`; null for any other host. */
export function regionOf(host: string): string | null {
  const [, region, cloud] = /\.([a-z0-9-]+)\.(aws|azure)\.neon\.tech$/.exec(host) ?? [];
  return region && cloud ? `${cloud}-${region}` : null;
}

/** The migrating login's ways to a site: one for each key that its password may be made of, the newest first. */
export function migratorUrls(site: Site, variables: SiteVariables): [string, ...string[]] {
  const url = new URL(variables.MIGRATION_DATABASE_URL);
  if (site.database !== null) url.pathname = encodeURIComponent(site.database);
  const { host } = site;
  if (host === null) return [url.href];
  const keys = ring("SITE_MIGRATION_KEYS", variables);
  const [first, ...others] = keys.map(({ kid }) => {
    const password = passwordOf(keys, { ...site, secret: kid, generation: 0 }, MIGRATOR);
    return `postgres://${MIGRATOR}:${password}@${host}/${encodeURIComponent(site.database ?? "")}${sslOf(host)}`;
  });
  if (first === undefined) throw new Error("SITE_MIGRATION_KEYS is empty");
  return [first, ...others];
}

/** A connection string's parameters: TLS, verified, to whatever is not on this machine. */
const sslOf = (host: string): string => (/^(127\.|localhost\b)/.test(host) ? "" : "?sslmode=verify-full");

/**
 * The connection strings of the logins at the site: of those that serve requests that for content and that for the control
 * plane's news, and that which moves tenants.
 */
export const loginsAt = (
  site: Site,
  variables: Omit<SiteVariables, "MIGRATION_DATABASE_URL">,
): [app: string, courier: string, mover: string] => {
  const at = (text: string): string => {
    const url = new URL(text);
    if (site.database !== null) url.pathname = encodeURIComponent(site.database);
    if (site.host !== null) {
      url.host = site.host;
      url.password = passwordOf(ring("SITE_KEYS", variables), site, decodeURIComponent(url.username));
    }
    return url.href;
  };
  return [at(variables.DATABASE_URL), at(variables.ACCOUNT_DATABASE_URL), moverUrl(site, variables)];
};

export const MOVER = "partywall_mover";

/**
 * The connection string of the login that moves tenants, straight to the site's server: a pooler keeps no lock of a session.
 * Its password is derived at the control plane's server too, as no deployed Worker has it.
 */
export function moverUrl(site: Site, variables: Pick<SiteVariables, "DATABASE_URL" | "SITE_KEYS">): string {
  const keys = ring("SITE_KEYS", variables);
  const of = site.server === null ? { ...site, secret: keys[0].kid, generation: 0 } : site;
  const url = new URL(variables.DATABASE_URL);
  url.host = site.host ?? directHost(url);
  if (site.database !== null) url.pathname = encodeURIComponent(site.database);
  url.username = MOVER;
  url.password = passwordOf(keys, of, MOVER);
  return url.href;
}

/** A server's own host, without Neon's pooler before it. */
export const directHost = ({ host }: Pick<URL, "host">): string => host.replace(/^([^.]+)-pooler\./, "$1.");

/**
 * The context keys that are good in the site's database; none for the control plane's own, which has TENANT_CONTEXT_KEYS.
 * While a rotation is under way, also those of before.
 */
export function contextKeys(site: SiteRow, variables: SiteVariables): NamedKey[] {
  if (site.database === null) return [];
  const keys = ring("SITE_KEYS", variables);
  const before = { ...site, generation: site.generation - 1 };
  return [
    contextKeyOf(keys, site),
    // Made of the same secret, or of another one: a key that never was opens nothing for anybody.
    ...(site.rotated_at ? keys.map(({ kid }) => contextKeyOf(keys, { ...before, secret: kid })) : []),
  ];
}

/** The site, one rotation later. */
export const rotated = <Of extends SiteRow>(site: Of, variables: SiteVariables): Of =>
  nextGeneration(ring("SITE_KEYS", variables), site);

/** The key that new passwords are made of. */
export const newestSecret = (variables: SiteVariables): string => ring("SITE_KEYS", variables)[0].kid;

function ring<Name extends "SITE_KEYS" | "SITE_MIGRATION_KEYS">(
  name: Name,
  variables: Record<Name, string>,
): KeyRing {
  const parsed = v.safeParse(keyRing, variables[name]);
  if (parsed.success) return parsed.output;
  throw new Error(
    `Set ${name} in the environment or in .dev.vars: an 8-character id, a colon and 32 random bytes in base64url.`,
  );
}
