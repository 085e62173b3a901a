/**
 * Reads the catalogs of partywall's databases and says what is wrong with their walls, one line a finding:
 * `npm run db:doctor -- [--json] [--strict] [--allow=code:object] [--site name] [URL]`. Without a URL it examines the control
 * plane's database and every site, with `--site` that one alone; with a URL that database, whose login may be any. Fails on
 * an error; with --strict on a warning too. --allow passes over one finding that is meant to be so.
 */
import { SHARED_SITE } from "../src/db/places.ts";
import type { Finding } from "./doctor/check.ts";
import { CHECKS, examine } from "./doctor/examine.ts";
import { readArguments } from "./command-line.ts";
import { connected, messageOf } from "./connected.ts";
import { databaseOf, loginsAt, readSites, type SiteRow } from "./sites.ts";
import { loadVariables, readDevVars, siteVariables } from "./variables.ts";

const URLS = ["OPERATOR_DATABASE_URL", "MIGRATION_DATABASE_URL"] as const;

/** A database, or one site in it, and who looks at it. */
type Patient = { url: string; name: string; schema?: string };

const USAGE = `npm run db:doctor -- [--json] [--strict] [--allow=code:object] [--site name | URL]

Examines the control plane's database and every site, and changes nothing.

  --site name           that site alone
  URL                   that database alone; its login may be any
  --strict              fails on a warning too
  --allow=code:object   passes over a finding that is meant to be so; may be repeated
  --json                prints the findings for programs

It ends with 0 if nothing is wrong, with 1 on an error that it found, and with 2 if it could not examine a database.`;

try {
  const { values: flags, positionals } = readArguments(USAGE, {
    options: {
      json: { type: "boolean", default: false },
      strict: { type: "boolean", default: false },
      allow: { type: "string", multiple: true, default: [] },
      site: { type: "string" },
    },
    allowPositionals: true,
  });
  const [url, ...more] = positionals;
  if (more.length > 0 || (url !== undefined && flags.site !== undefined))
    throw new Error("Give one connection string, or one --site, or nothing. --help says what there is.");
  const patients = url === undefined ? await everybody(flags.site) : [{ url, name: placeOf(url) }];
  const all: Finding[] = [];
  /** Each says why: one that is down keeps nobody from hearing of the others. */
  const unexamined: string[] = [];
  let fatal = 0;
  for (const patient of patients) {
    const found = await diagnose(patient).catch((error: unknown) => {
      unexamined.push(`${patient.name} was not examined. ${messageOf(error)}`);
      return undefined;
    });
    if (!found) continue;
    const findings = found.filter(({ code, object }) => !flags.allow.includes(`${code}:${object}`));
    const bad = findings.filter(({ severity }) => flags.strict || severity === "error");
    if (!flags.json) report(findings, bad.length, patient.name);
    all.push(...findings);
    fatal += bad.length;
  }
  if (flags.json) console.log(JSON.stringify(all, null, 2));
  if (unexamined.length > 0) throw new Error(unexamined.join("\n"));
  process.exitCode = fatal > 0 ? 1 : 0;
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 2;
}

/** The control plane's database with all sites in it, and every other database that has a site; or one site. */
async function everybody(only?: string): Promise<Patient[]> {
  const known = { ...readDevVars(), ...process.env };
  const url = URLS.map((name) => known[name]).find(Boolean);
  if (!url) throw new Error(`Give a connection string, or set ${URLS.join(" or ")}.`);
  const sites = await connected(url, async (client) => {
    const { rows } = await client.query("select from pg_namespace where nspname = 'control'");
    return rows.length > 0 ? readSites(client) : [];
  });
  if (only !== undefined) {
    const site = sites.find(({ name }) => name === only);
    if (!site && only !== SHARED_SITE.name)
      throw new Error(`There is no site ${only}. \`npm run tenants -- site list\` names them.`);
    return [{ url: site ? loginAt(site, url) : url, name: only, schema: (site ?? SHARED_SITE).schema }];
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

function placeOf(text: string): string {
  const url = URL.parse(text);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol))
    throw new Error(
      "What is given is no connection string: postgres://user:password@host/database. --site names a site.",
    );
  const { host, pathname } = url;
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
