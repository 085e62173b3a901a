/**
 * The command line for tenants and the sites where their content is: `npm run tenants -- …`, in the control plane as the
 * migrating login, and at sites with what is derived for them. USAGE says what there is.
 */
import { createInterface } from "node:readline/promises";
import pg from "pg";
import { INVITATION_TTL_DAYS } from "../src/identity/sealing.ts";
import { runCommand, type Command, type Told } from "./command-line.ts";
import { reasonWithWho } from "./command-trail.ts";
import { createTenant } from "./create-tenant.ts";
import { eraseTenant } from "./erase.ts";
import { inControl } from "./fleet.ts";
import { localDatabase } from "./local-database.ts";
import { addSite } from "./site-add.ts";
import {
  abandonMove,
  clearLeftovers,
  DEFAULT_RATE,
  listJobs,
  moveTenant,
  restoreTenant,
  resumeMove,
} from "./moves/commands.ts";
import { setNeonProject } from "./site-project.ts";
import { rotateSite } from "./site-rotate.ts";
import { whereIs } from "./sites.ts";
import { cellOf, table } from "./table.ts";
import { loadVariables, readDevVars, siteVariables } from "./variables.ts";

const USAGE = `npm run tenants -- <command>

  list                                    all tenants, and where each is
  show <slug>                             one tenant
  create <slug> --site <name>             a new tenant at a site [--name <name>] [--plan <plan>] [--owner <email>]
  site add <name> --database-url <url>    a site in a database of its own, whose owner's connection string this is
           [--schema]                     a schema of its own instead; without a URL in the control plane's database
           [--region <region>]            where it is, if its host does not say so
           [--local]                      instead of a URL: a new database at the second local server of \`npm run dev\`
           [--neon-project <id>]          the Neon project that it is in, for what its tenant costs
  site set <name> --neon-project <id>     says later which Neon project a site is in, or none
  site list                               all sites
  site rotate <name>                      new passwords and context keys for a site's server
  move <slug> --to shared|schema|<site>   moves a tenant while it works: to the shared site, to a schema of its own in
                                          the control plane's database, or to any site
           [--rate <rows/s>|max]          how fast, so that neighbours are spared: ${DEFAULT_RATE} by default
  moves                                   what is under way, and what moves have left behind
  moves resume <slug>                     goes on with what was stopped, also on another machine
  moves abandon <slug>                    gives it up: the tenant stays where it is
  moves clear                             deletes what moves have left behind for three days, and restores for seven
  restore <slug> --from <url>             sets a tenant's rows back to those in a copy of its database, such as a branch
           [--preview]                    only shows what that would do
  undo <slug>                             takes the last restore back
  erase <slug>                            erases a tenant at once, for good, by the API at ISSUER with OPERATOR_TOKEN;
                                          prints the receipt

  --reason <text> goes into the operators' trail, --yes answers questions, --json prints for programs`;

const TEXTS = [
  "site",
  "name",
  "plan",
  "owner",
  "database-url",
  "region",
  "neon-project",
  "to",
  "rate",
  "from",
  "reason",
] as const;
const SWITCHES = ["json", "schema", "local", "yes", "preview"] as const;

type Flags = Partial<Record<(typeof TEXTS)[number], string>> & Record<(typeof SWITCHES)[number], boolean>;

const COMMANDS: Record<string, Command<Flags>> = {
  list: {
    run: async () => {
      const found = await read((client) => client.query<TenantRow>(`${TENANTS} order by t.slug`));
      return { lines: table(found.rows, ["slug", "plan", "status", "site", "kind"]), data: found.rows };
    },
  },
  show: {
    words: ["<slug>"],
    run: async ([slug = ""]) => {
      const found = await read((client) => client.query<TenantRow>(`${TENANTS} where t.slug = $1`, [slug]));
      const [tenant] = found.rows;
      if (!tenant) throw new Error(`There is no tenant ${slug}. \`npm run tenants -- list\` names them.`);
      return {
        lines: Object.entries(tenant).map(([name, value]) => `${name.padEnd(12)} ${cellOf(value)}`),
        data: tenant,
      };
    },
  },
  create: {
    words: ["<slug>"],
    options: ["site", "name", "plan", "owner"],
    run: async ([slug = ""], { site, name, plan, owner, reason }) => {
      const { isNew, invitation, ...tenant } = await createTenant(
        { slug, site, name, plan, owner, reason },
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
  },
  "site add": {
    words: ["<name>"],
    options: ["database-url", "schema", "region", "local", "neon-project"],
    run: async ([name = ""], flags) => {
      const site = await addSite(
        {
          name: name,
          databaseUrl: flags.local ? await localDatabase(name) : flags["database-url"],
          schema: flags.schema,
          region: flags.region,
          neonProject: flags["neon-project"],
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
  },
  "site set": {
    words: ["<name>"],
    options: ["neon-project"],
    run: async ([name = ""], { "neon-project": project }) => {
      if (!project)
        throw new Error("Say which site and what of it: site set <name> --neon-project <id>|none");
      const done = await setNeonProject(name, project, variables());
      return { lines: [done], data: { done } };
    },
  },
  "site list": {
    run: async () => {
      const found = await read((client) => client.query<Record<string, unknown>>(SITES));
      return {
        lines: table(found.rows, [
          "name",
          "kind",
          "region",
          "host",
          "database",
          "schema",
          "neon_project",
          "tenants",
        ]),
        data: found.rows,
      };
    },
  },
  "site rotate": {
    words: ["<name>"],
    run: async ([name = ""]) => {
      const done = await rotateSite(name, variables());
      return { lines: [done], data: { done } };
    },
  },
  move: {
    words: ["<slug>"],
    options: ["to", "rate"],
    run: async ([slug = ""], flags) => {
      if (!slug || !flags.to) throw new Error("Say whom and where to: move <slug> --to shared|schema|<site>");
      const options = {
        rate: rateOf(flags),
        reason: flags.reason,
        confirm: (question: string) => confirm(question, flags),
      };
      const { done, progress } = await moveTenant(slug, flags.to, variables(), options);
      return { lines: [done], data: { done, ...progress } };
    },
  },
  moves: {
    run: async () => {
      const jobs = await listJobs(variables());
      const columns = [
        "slug",
        "kind",
        "source",
        "target",
        "state",
        "rows",
        "idle_s",
        "worked_at",
        "kept_until",
      ];
      return {
        lines: jobs.length > 0 ? table(jobs, columns) : ["Nothing is under way, and nothing is left behind."],
        data: jobs,
      };
    },
  },
  "moves resume": {
    words: ["<slug>"],
    options: ["rate"],
    run: async ([slug = ""], flags) => {
      const { done, progress } = await resumeMove(slug, variables(), rateOf(flags), flags);
      return { lines: [done], data: { done, ...progress } };
    },
  },
  "moves abandon": {
    words: ["<slug>"],
    run: async ([slug = ""], flags) => {
      const asked = { reason: flags.reason, confirm: (question: string) => confirm(question, flags) };
      const done = await abandonMove(slug, variables(), asked);
      return { lines: [done], data: { done } };
    },
  },
  restore: {
    words: ["<slug>"],
    options: ["from", "preview", "rate"],
    run: async ([slug = ""], flags) => {
      if (!slug || !flags.from)
        throw new Error("Say whom and from what: restore <slug> --from <connection string>");
      return setBack(slug, flags.from, flags);
    },
  },
  undo: {
    words: ["<slug>"],
    options: ["preview", "rate"],
    run: async ([slug = ""], flags) => setBack(slug, undefined, flags),
  },
  erase: {
    words: ["<slug>"],
    run: async ([slug = ""], flags) => {
      const found = await read((client) => client.query<TenantRow>(`${TENANTS} where t.slug = $1`, [slug]));
      const [tenant] = found.rows;
      if (!tenant) throw new Error(`There is no tenant ${slug}. \`npm run tenants -- list\` names them.`);
      const question = `Erase ${tenant.slug}, with all its rows, archives and the people who are in no other tenant? Nothing brings it back.`;
      if (!(await confirm(question, flags))) return { lines: ["Nothing was done."], data: { receipt: null } };
      const receipt = await eraseTenant({
        api: loadVariables(["ISSUER"]).ISSUER,
        operatorToken: loadVariables(["OPERATOR_TOKEN"]).OPERATOR_TOKEN,
        tenantId: tenant.id,
        reason: reasonWithWho(flags.reason),
      });
      return {
        lines: [
          `The tenant ${tenant.slug} is erased. It was ${tenant.id}: by that id anybody finds the receipt again, at`,
          `  ${apiUrl()}/v1/erasures/${tenant.id}`,
          "The receipt, which the keys at /.well-known/jwks.json verify:",
          receipt,
        ],
        data: { id: tenant.id, receipt },
      };
    },
  },
  "moves clear": {
    options: ["rate"],
    run: async (_, flags) => {
      const cleared = await clearLeftovers(variables(), rateOf(flags), flags);
      const lines = cleared.map(({ slug, rows }) => `deleted ${rows} rows that ${slug} has left behind`);
      return { lines: lines.length > 0 ? lines : ["Nothing is due."], data: cleared };
    },
  },
};

/** The commands restore and undo. */
async function setBack(slug: string, from: string | undefined, flags: Flags): Promise<Told> {
  const { done, tables } = await restoreTenant(slug, from, variables(), {
    rate: rateOf(flags),
    preview: flags.preview,
    reason: flags.reason,
    confirm: (question) => confirm(question, flags),
    tell: (told) => {
      if (flags.json || told.length === 0) return;
      const rows = told.map(({ samples, ...counts }) => ({ ...counts, keys: samples.join(" ") }));
      console.log(table(rows, ["table", "added", "changed", "deleted", "keys"]).join("\n"));
    },
  });
  return { lines: [done], data: { done, tables } };
}

/** Asks at a terminal; elsewhere --yes has to say it. */
async function confirm(question: string, { yes, json }: Flags): Promise<boolean> {
  if (yes) return true;
  if (!process.stdin.isTTY || json) throw new Error(`${question} Add --yes.`);
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await asking.question(`${question} [y/N] `);
  asking.close();
  return /^y(es)?$/i.test(answer.trim());
}

function rateOf({ rate }: Flags): number {
  if (rate === "max") return Infinity;
  const rows = rate === undefined ? DEFAULT_RATE : Number(rate);
  if (!Number.isInteger(rows) || rows < 1) throw new Error("--rate is a number of rows a second, or max.");
  return rows;
}

/** Where the API is, as far as this deployment's variables say. */
const apiUrl = (): string => process.env["ISSUER"] ?? readDevVars()["ISSUER"] ?? "https://api.example.com";

type TenantRow = { id: string; slug: string; site: string; [column: string]: unknown };

const TENANTS = `
select t.id, t.slug, t.name, t.plan, t.status, t.site, s.kind, s.region, s.host, s.database, s.schema, t.epoch,
  (select count(*)::int from control.memberships m where m.tenant_id = t.id) as members, t.created_at
from control.tenants t join control.sites s on s.name = t.site`;

const SITES = `
select s.name, s.kind, s.region, s.host, s.database, s.schema, s.neon_project, s.generation, s.rotated_at,
  (select count(*)::int from control.tenants t where t.site = s.name) as tenants
from control.sites s order by s.kind <> 'shared', s.name`;

const variables = () => ({
  ...loadVariables([
    "MIGRATION_DATABASE_URL",
    "DATABASE_URL",
    "ACCOUNT_DATABASE_URL",
    "OPAQUE_TOKEN_KEYS",
    "TENANT_CONTEXT_KEYS",
  ]),
  ...siteVariables(),
});

const read = <Result>(work: (client: pg.Client) => Promise<Result>) =>
  inControl(loadVariables(["MIGRATION_DATABASE_URL"]), work);

await runCommand(USAGE, {
  commands: COMMANDS,
  options: {
    ...Object.fromEntries(TEXTS.map((name) => [name, { type: "string" }] as const)),
    ...Object.fromEntries(SWITCHES.map((name) => [name, { type: "boolean", default: false }] as const)),
  },
  ofAll: ["json", "yes", "reason"],
});
