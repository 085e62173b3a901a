/**
 * The command line for tenants and the sites where their content is: `npm run tenants -- …`, in the control plane as the
 * migrating login, and at sites with what is derived for them. USAGE says what there is.
 */
import { parseArgs } from "node:util";
import pg from "pg";
import { INVITATION_TTL_DAYS } from "../src/identity/sealing.ts";
import { messageOf } from "./connected.ts";
import { createTenant } from "./create-tenant.ts";
import { inControl } from "./fleet.ts";
import { localDatabase } from "./local-database.ts";
import { addSite } from "./site-add.ts";
import { rotateSite } from "./site-rotate.ts";
import { whereIs } from "./sites.ts";
import { loadVariables, readDevVars, siteVariables } from "./variables.ts";

const USAGE = `npm run tenants -- <command>

  list                                    all tenants, and where each is
  show <slug>                             one tenant
  create <slug> --site <name>             a new tenant at a site [--name <name>] [--plan <plan>] [--owner <email>]
  site add <name> --database-url <url>    a site in a database of its own, whose owner's connection string this is
           [--schema]                     a schema of its own instead; without a URL in the control plane's database
           [--region <region>]            where it is, if its host does not say so
           [--local]                      instead of a URL: a new database at the second local server of \`npm run dev\`
  site list                               all sites
  site rotate <name>                      new passwords and context keys for a site's server

  --json prints for programs`;

type Flags = { json: boolean } & Partial<
  Record<"site" | "name" | "plan" | "owner" | "database-url" | "region", string>
> & { schema: boolean; local: boolean };

/** What a command has done or found: lines for people, and the same for programs. */
type Told = { lines: string[]; data: unknown };

const COMMANDS: Record<string, (args: string[], flags: Flags) => Promise<Told>> = {
  list: async () => {
    const found = await read((client) => client.query<TenantRow>(`${TENANTS} order by t.slug`));
    return { lines: table(found.rows, ["slug", "plan", "status", "site", "kind"]), data: found.rows };
  },
  show: async ([slug]) => {
    const found = await read((client) => client.query<TenantRow>(`${TENANTS} where t.slug = $1`, [slug]));
    const [tenant] = found.rows;
    if (!tenant) throw new Error(`There is no tenant ${slug ?? ""}. \`npm run tenants -- list\` names them.`);
    return {
      lines: Object.entries(tenant).map(([name, value]) => `${name.padEnd(12)} ${String(value ?? "–")}`),
      data: tenant,
    };
  },
  create: async ([slug], { site, name, plan, owner }) => {
    const { isNew, invitation, ...tenant } = await createTenant(
      { slug: slug ?? "", site, name, plan, owner },
      variables(),
    );
    return {
      lines: [
        `The tenant ${tenant.slug} ${isNew ? "is made" : "was there already"}, at the site ${tenant.site}.`,
        ...(invitation === undefined
          ? ["It has no owner yet: run this again with --owner <email>."]
          : [
              `Its owner gets in with this, once, within ${INVITATION_TTL_DAYS} days:`,
              `  curl -s ${apiUrl()}/v1/invitations/accept -H 'content-type: application/json' -d '{"token":"${invitation}","password":"<a password>"}'`,
            ]),
      ],
      data: { ...tenant, invitation },
    };
  },
  "site add": async ([name], flags) => {
    const site = await addSite(
      {
        name: name ?? "",
        databaseUrl: flags.local ? await localDatabase(name ?? "") : flags["database-url"],
        schema: flags.schema,
        region: flags.region,
      },
      variables(),
      { say: (line) => flags.json || console.log(`· ${line}`) },
    );
    return {
      lines: [
        `The site ${site.name} is ready: ${whereIs(site)}.`,
        `Make a tenant there: npm run tenants -- create <slug> --site ${site.name} --owner <email>`,
      ],
      data: {
        name: site.name,
        kind: site.kind,
        region: site.region,
        host: site.host,
        database: site.database,
      },
    };
  },
  "site list": async () => {
    const found = await read((client) => client.query<Record<string, unknown>>(SITES));
    return {
      lines: table(found.rows, ["name", "kind", "region", "host", "database", "schema", "tenants"]),
      data: found.rows,
    };
  },
  "site rotate": async ([name]) => {
    const done = await rotateSite(name ?? "", variables());
    return { lines: [done], data: { done } };
  },
};

/** Where the API is, as far as this deployment's variables say. */
const apiUrl = (): string => process.env["ISSUER"] ?? readDevVars()["ISSUER"] ?? "https://api.example.com";

type TenantRow = { slug: string; site: string; [column: string]: unknown };

const TENANTS = `
select t.id, t.slug, t.name, t.plan, t.status, t.site, s.kind, s.region, s.host, s.database, s.schema, t.epoch,
  (select count(*)::int from control.memberships m where m.tenant_id = t.id) as members, t.created_at
from control.tenants t join control.sites s on s.name = t.site`;

const SITES = `
select s.name, s.kind, s.region, s.host, s.database, s.schema, s.generation, s.rotated_at,
  (select count(*)::int from control.tenants t where t.site = s.name) as tenants
from control.sites s order by s.kind <> 'shared', s.name`;

const variables = () => ({
  ...loadVariables(["MIGRATION_DATABASE_URL", "DATABASE_URL", "ACCOUNT_DATABASE_URL", "OPAQUE_TOKEN_KEYS"]),
  ...siteVariables(),
});

const read = <Result>(work: (client: pg.Client) => Promise<Result>) =>
  inControl(loadVariables(["MIGRATION_DATABASE_URL"]), work);

/** Rows as lines of columns. */
function table(rows: Record<string, unknown>[], columns: string[]): string[] {
  const cells = [columns, ...rows.map((row) => columns.map((name) => String(row[name] ?? "–")))];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]?.length ?? 0)));
  return cells.map((line) =>
    line
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      schema: { type: "boolean", default: false },
      local: { type: "boolean", default: false },
      // There is nothing to ask yet; scripts may say it all the same.
      yes: { type: "boolean", default: false },
      ...Object.fromEntries(
        ["site", "name", "plan", "owner", "database-url", "region"].map(
          (name) => [name, { type: "string" }] as const,
        ),
      ),
    },
  });
  const words = positionals[0] === "site" ? 2 : 1;
  const command = COMMANDS[positionals.slice(0, words).join(" ")];
  const args = positionals.slice(words);
  if (!command || args.length > 1) throw new Error(USAGE);
  const { lines, data } = await command(args, values);
  console.log(values.json ? JSON.stringify(data, null, 2) : lines.join("\n"));
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}
