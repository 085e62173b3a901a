import type { ClientBase } from "pg";
import { code, context } from "./code.ts";
import type { Check, Finding } from "./check.ts";
import { control } from "./control.ts";
import { HOUSE } from "./catalog.ts";
import { keys } from "./keys.ts";
import { planes } from "./planes.ts";
import { grants, roles } from "./roles.ts";
import { SHARED_SITE } from "../../src/db/places.ts";
import { schemaOf, SITE_SCHEMA, type Target } from "../lineage.ts";
import { server } from "./server.ts";
import { audit, policies, tables } from "./tables.ts";
import { verifiersOf } from "./verifier.ts";

export const CHECKS: readonly Check[] = [
  ...tables,
  ...policies,
  ...control,
  ...planes,
  ...audit,
  ...keys,
  ...code,
  ...context,
  ...roles,
  ...grants,
  ...server,
];

// One query: one round trip, and far less for Postgres to plan.
const QUERY = `${HOUSE} ${CHECKS.map(
  (check) => `select '${check.code}' as code, to_jsonb(found) as row from (${check.sql}) found`,
).join(" union all ")}`;

type Row = Record<string, unknown>;

/** The schemas of a database's sites, and the names that their functions know, the verifier's first. */
const SITES = `
select n.nspname::text as schema,
  array_agg(coalesce(substring(p.prosrc from '[.'']site ([a-z0-9-]+)[. ]'), '') order by p.proname) as names
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.proname in ('current_tenant_id', 'set_fence') and (n.nspname = 'public' or n.nspname ^@ '${SITE_SCHEMA}')
group by 1 order by 1`;

/**
 * What is wrong with the database that the client is in, in the order of CHECKS, site after site. Reads the catalog alone,
 * so any role will do. Runs in the client's transaction, whose search_path it sets: names that Postgres prints depend on it.
 * `only` is the schema of one site: what is of no site is left out then.
 */
export async function examine(client: ClientBase, only?: string): Promise<Finding[]> {
  await client.query("set local search_path = pg_catalog, pg_temp");
  await client.query("set local jit = off");
  const { rows } = await client.query<{ schema: string; names: string[] }>(SITES);
  const found = rows.map(named);
  const { rowCount } = await client.query("select from pg_namespace where nspname = 'control'");
  const withControl = rowCount !== 0;
  // Beside the control plane is the shared site; only in a database of its own does a site's name stand in its verifier alone.
  const main = (!withControl && found.find(isMain)) || SHARED_SITE;
  const others = found.filter((site) => !isMain(site));
  const chosen = only === undefined ? others : others.filter(({ schema }) => schema === only);
  const findings: Finding[] = [];
  // What is of no site is examined with the one in schema public, for which every database of partywall's has room.
  if (only === undefined || only === SHARED_SITE.schema)
    findings.push(...(await examineSite(client, main, others, withControl)));
  for (const site of chosen) findings.push(...(await examineSite(client, site, [], false)));
  return [...new Map(findings.map((each) => [JSON.stringify(each), each])).values()];
}

const isMain = ({ schema }: Target) => schema === SHARED_SITE.schema;

/** A site in a schema of its own is called as that is: what one of its functions says instead, another site's would have said. */
function named({ names, schema }: { names: readonly string[]; schema: string }): Target {
  const [said = ""] = names;
  if (schema === SHARED_SITE.schema) return { name: said, schema };
  const name = names.find((each) => schemaOf(each) === schema) ?? schema.slice(SITE_SCHEMA.length);
  return { name, schema };
}

async function examineSite(
  client: ClientBase,
  site: Target,
  others: readonly Target[],
  withControl: boolean,
): Promise<Finding[]> {
  const elsewhere = others.map(({ schema }) => `'${schema}'`).join(", ");
  const examined = isMain(site)
    ? `nspname <> all (array[${elsewhere}]::text[])`
    : `nspname = '${site.schema}'`;
  const query = inSchema(QUERY, site)
    .replaceAll("{schema}", site.schema)
    .replaceAll("{examined}", examined)
    .replace("{verifiers}", () => verifiersOf(site, withControl));
  const { rows } = await client.query<{ code: string; row: Row }>(query);
  return CHECKS.flatMap((check) =>
    rows.filter(({ code: name }) => name === check.code).map(({ row }) => finding(check, row, site)),
  );
}

/** A text about schema `public`, for the site's. */
const inSchema = (text: string, { schema }: Target): string => text.replaceAll(/\bpublic(?=\\?\.)/g, schema);

function finding(
  { code: name, severity = "error", what, why, mend }: Check,
  row: Row,
  site: Target,
): Finding {
  const fill = (text: string) =>
    inSchema(text, site).replaceAll(/\{(\w+)\}/g, (_, key: string) => {
      const value = row[key];
      if (typeof value !== "string") throw new Error(`the check ${name} returns no text named ${key}`);
      return value;
    });
  return {
    code: name,
    severity,
    object: fill("{object}"),
    what: fill(what),
    why: fill(why),
    mend: mend.startsWith("--") ? fill(mend) : `${fill(mend)};`,
  };
}
