/**
 * Reads a partywall database's catalog and says what is wrong with its wall, one line a finding:
 * `npm run db:doctor -- [--json] [--strict] [--allow=code:object] [URL]`. Any login will do. Fails on an error;
 * with --strict on a warning too. --allow passes over one finding that is meant to be so.
 */
import { parseArgs } from "node:util";
import pg from "pg";
import type { Finding } from "./doctor/check.ts";
import { CHECKS, examine } from "./doctor/examine.ts";
import { readDevVars } from "./variables.ts";

const URLS = ["OPERATOR_DATABASE_URL", "MIGRATION_DATABASE_URL"] as const;

const { values: flags, positionals } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    strict: { type: "boolean", default: false },
    allow: { type: "string", multiple: true, default: [] },
  },
  allowPositionals: true,
});

try {
  const url = positionals[0] ?? configured();
  const all = await diagnose(url);
  const findings = all.filter(({ code, object }) => !flags.allow.includes(`${code}:${object}`));
  const fatal = findings.filter(({ severity }) => flags.strict || severity === "error");
  if (flags.json) console.log(JSON.stringify(findings, null, 2));
  else report(findings, fatal.length, new URL(url));
  process.exitCode = fatal.length > 0 ? 1 : 0;
} catch (error) {
  console.error(error instanceof Error ? error.message || error.name : String(error));
  process.exitCode = 2;
}

/** The first of URLS that is set, in the environment or in .dev.vars. */
function configured(): string {
  const known = { ...readDevVars(), ...process.env };
  const url = URLS.map((name) => known[name]).find(Boolean);
  if (!url) throw new Error(`Give a connection string, or set ${URLS.join(" or ")}.`);
  return url;
}

async function diagnose(connectionString: string): Promise<Finding[]> {
  const client = new pg.Client({ connectionString, application_name: "partywall doctor" });
  await client.connect();
  try {
    await client.query("begin isolation level repeatable read, read only");
    return await examine(client);
  } finally {
    await client.end();
  }
}

function report(findings: Finding[], fatal: number, { host, pathname }: URL): void {
  for (const { severity, code, object, what, why, mend } of findings)
    console.log(`${severity} ${code}: ${object} ${what}; ${why}. Mend: ${mend}`);
  const place = `${host}${pathname}`;
  const warnings = findings.length - fatal;
  const warned = warnings > 0 ? ` ${warnings} warning(s).` : "";
  console.log(
    fatal > 0
      ? `${place}: ${fatal} finding(s). Mend as partywall_owner (SET ROLE) or the migrating login.${warned}`
      : `${place}: the wall stands, by ${CHECKS.length} checks.${warned}`,
  );
}
