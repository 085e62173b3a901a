/**
 * Reads the catalogs of partywall's databases and says what is wrong with their walls, one line a finding:
 * `npm run db:doctor -- [--json] [--strict] [--allow=code:object] [--site name] [URL]`. Without a URL it examines the control
 * plane's database and every site, with `--site` that one alone; with a URL that database, whose login may be any. Fails on
 * an error; with --strict on a warning too. --allow passes over one finding that is meant to be so.
 */
import { parseArgs } from "node:util";
import { SHARED_SITE } from "../src/db/places.ts";
import type { Finding } from "./doctor/check.ts";
import { CHECKS, examine } from "./doctor/examine.ts";
import { connected, messageOf } from "./connected.ts";
import { databaseOf, loginsAt, readSites, type SiteRow } from "./sites.ts";
import { loadVariables, readDevVars, siteVariables } from "./variables.ts";

const URLS = ["OPERATOR_DATABASE_URL", "MIGRATION_DATABASE_URL"] as const;

/** A database, or one site in it, and who looks at it. */
type Patient = { url: string; name: string; schema?: string };

const { values: flags, positionals } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    strict: { type: "boolean", default: false },
    allow: { type: "string", multiple: true, default: [] },
    site: { type: "string" },
  },
  allowPositionals: true,
});

try {
  const patients = positionals[0]
    ? [{ url: positionals[0], name: placeOf(positionals[0]) }]
    : await everybody();
  const all: Finding[] = [];
  let fatal = 0;
  for (const patient of patients) {
    const found = await diagnose(patient);
    const findings = found.filter(({ code, object }) => !flags.allow.includes(`${code}:${object}`));
    const bad = findings.filter(({ severity }) => flags.strict || severity === "error");
    if (!flags.json) report(findings, bad.length, patient.name);
    all.push(...findings);
    fatal += bad.length;
  }
  if (flags.json) console.log(JSON.stringify(all, null, 2));
  process.exitCode = fatal > 0 ? 1 : 0;
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 2;
}

/** The control plane's database with all sites in it, and every other database that has a site; or one site. */
async function everybody(): Promise<Patient[]> {
  const known = { ...readDevVars(), ...process.env };
  const url = URLS.map((name) => known[name]).find(Boolean);
  if (!url) throw new Error(`Give a connection string, or set ${URLS.join(" or ")}.`);
  const sites = await connected(url, async (client) => {
    const { rows } = await client.query("select from pg_namespace where nspname = 'control'");
    return rows.length > 0 ? readSites(client) : [];
  });
  if (flags.site !== undefined) {
    const site = sites.find(({ name }) => name === flags.site);
    if (!site && flags.site !== SHARED_SITE.name) throw new Error(`There is no site ${flags.site}.`);
    return [{ url: site ? loginAt(site, url) : url, name: flags.site, schema: (site ?? SHARED_SITE).schema }];
  }
  const others = new Map(
    sites.flatMap((site) =>
      site.database === null ? [] : [[loginAt(site, url), databaseOf(site)] as const],
    ),
  );
  return [{ url, name: placeOf(url) }, ...[...others].map(([other, name]) => ({ url: other, name }))];
}

/** A login at the site's database, which reads the catalog as any may; `url` is one in the control plane's. */
function loginAt(site: SiteRow, url: string): string {
  if (site.database === null) return url;
  const variables = { ...loadVariables(["DATABASE_URL", "ACCOUNT_DATABASE_URL"]), ...siteVariables() };
  return loginsAt(site, variables)[0];
}

function placeOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}

function diagnose({ url, schema }: Patient): Promise<Finding[]> {
  return connected(url, async (client) => {
    await client.query("begin isolation level repeatable read, read only");
    return examine(client, schema);
  });
}

function report(findings: Finding[], fatal: number, place: string): void {
  for (const { severity, code, object, what, why, mend } of findings)
    console.log(`${severity} ${code}: ${object} ${what}; ${why}. Mend: ${mend}`);
  const warnings = findings.length - fatal;
  const warned = warnings > 0 ? ` ${warnings} warning(s).` : "";
  console.log(
    fatal > 0
      ? `${place}: ${fatal} finding(s). Mend as partywall_owner (SET ROLE) or the migrating login.${warned}`
      : `${place}: the wall stands, by ${CHECKS.length} checks.${warned}`,
  );
}
