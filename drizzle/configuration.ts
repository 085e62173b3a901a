/** What `npm run deploy` deploys with, from wrangler.toml, the environment and an env file, checked before anything is done. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import * as v from "valibot";
import { unstable_readConfig } from "wrangler";
import { type Fault, keyRing, readSettings, UnusableSettings } from "../src/settings.ts";
import type { AllVariables } from "./migrate-all.ts";
import { LOGINS } from "./variables.ts";

const root = join(import.meta.dirname, "..");
/** What a deployment reads beside the secrets that wrangler.toml names. */
const OWN = ["MIGRATION_DATABASE_URL", "SITE_MIGRATION_KEYS"];
/** What other tools read from the same file. */
const OF_OTHERS = /^(CLOUDFLARE|CF|WRANGLER|NODE|NPM)_/;
const MIGRATION_URL =
  "the direct connection string of the database's own role, as Neon's console shows it: postgres://role:password@host/partywall";

export type Configuration = {
  /** What is uploaded with the code. */
  secrets: Record<string, string>;
  variables: AllVariables;
  /** What the file has that a deployment does not read, each in a sentence. */
  notes: string[];
  /** Where a variable is read from: "production.env", "the environment" or a part of wrangler.toml. */
  sourceOf: (name: string) => string;
};

export type Sources = { env?: string | undefined; envFile?: string | undefined };

/** The configuration of an environment. Throws one error that says of each fault where it is, and what to do. */
export function readConfiguration({ env, envFile }: Sources): Configuration {
  const given = new Set(Object.keys(process.env).filter((name) => process.env[name]));
  const file = readEnvFile(envFile);
  const { vars, secrets, send_email } = unstable_readConfig({
    config: join(root, "wrangler.toml"),
    ...(env && { env }),
  });
  const required: string[] = secrets?.required ?? [];
  const sourceOf = (name: string): string => {
    if (!required.includes(name) && !OWN.includes(name))
      return `wrangler.toml, under ${env ? `[env.${env}.vars]` : "[vars]"}`;
    if (given.has(name)) return "the environment";
    return envFile ?? "the environment, or a file that --env-file names";
  };
  // What is in the environment goes before the file. Never from .dev.vars: those are this machine's own.
  const read = (name: string): string => process.env[name] || file[name] || "";
  const values = Object.fromEntries(required.map((name) => [name, read(name)]));
  const variables = {
    ...(values as AllVariables),
    MIGRATION_DATABASE_URL: read("MIGRATION_DATABASE_URL"),
    SITE_MIGRATION_KEYS: read("SITE_MIGRATION_KEYS"),
  };

  const bound = send_email.some(({ name }: { name: string }) => name === "EMAIL");
  const faults = [
    ...faultsOfSettings({ ...vars, ...values, ...(bound && { EMAIL: "bound" }) }),
    ...faultsOfMigration(variables),
    ...faultsOfIssuer(values["ISSUER"] ?? ""),
  ];
  for (const name of ["NEON_FETCH_ENDPOINT", "NEON_API_URL"])
    if (vars[name])
      faults.push({
        name,
        sentence: `${name} is set, and a deployed Worker asks Neon itself. Leave it empty.`,
      });
  if (faults.length === 0) faults.push(...faultsOfLogins(variables));
  if (faults.length > 0) throw new Error(describe(faults, sourceOf));
  return { secrets: values, variables, sourceOf, notes: notesOn(file, envFile, [...required, ...OWN]) };
}

function readEnvFile(name: string | undefined): Record<string, string | undefined> {
  if (name === undefined) return {};
  if (!existsSync(name))
    throw new Error(
      `There is no ${name}, which --env-file names. \`npx node drizzle/secrets.ts HOST > ${name}\` makes one, once: docs/deploy.md says how.`,
    );
  // Also what other tools read there, such as CLOUDFLARE_API_TOKEN.
  process.loadEnvFile(name);
  return parseEnv(readFileSync(name, "utf8"));
}

function faultsOfSettings(variables: object): Fault[] {
  try {
    readSettings(variables);
    return [];
  } catch (error) {
    if (error instanceof UnusableSettings) return [...error.faults];
    throw error;
  }
}

/** An address that clients of a deployment cannot use, or that names it otherwise than they do. */
function faultsOfIssuer(issuer: string): Fault[] {
  const url = URL.parse(issuer);
  // What is no URL is a fault of the settings.
  if (!url || (url.protocol === "https:" && !issuer.endsWith("/"))) return [];
  const why = url.protocol === "https:" ? "ends with a slash" : "is not https";
  return [
    {
      name: "ISSUER",
      sentence: `ISSUER ${why}. Set it to the URL of this API, such as https://api.example.com.`,
    },
  ];
}

function faultsOfMigration({ MIGRATION_DATABASE_URL, SITE_MIGRATION_KEYS }: AllVariables): Fault[] {
  const faults: Fault[] = [];
  const url = URL.parse(MIGRATION_DATABASE_URL);
  const isPostgres = url !== null && /^postgres(ql)?:$/.test(url.protocol) && url.pathname.length > 1;
  const why =
    MIGRATION_DATABASE_URL === ""
      ? "missing"
      : !isPostgres
        ? "not well formed"
        : // A session is what migrations take locks in, and the pooler gives none.
          url.hostname.includes("-pooler.") && "the pooled connection string";
  if (why)
    faults.push({
      name: "MIGRATION_DATABASE_URL",
      sentence: `MIGRATION_DATABASE_URL is ${why}. Set it to ${MIGRATION_URL}.`,
    });
  if (SITE_MIGRATION_KEYS && !v.is(keyRing, SITE_MIGRATION_KEYS))
    faults.push({
      name: "SITE_MIGRATION_KEYS",
      sentence: "SITE_MIGRATION_KEYS is not well formed. Set it to kid:key[,kid:key], as SITE_KEYS is.",
    });
  return faults;
}

/** Connection strings that are well formed, and of another login or another database than they have to be. */
function faultsOfLogins(variables: AllVariables): Fault[] {
  const known = new Map(Object.entries(variables));
  const place = placeOf(known.get("DATABASE_URL") ?? "");
  return Object.entries(LOGINS).flatMap(([name, login]) => {
    const text = known.get(name) ?? "";
    const { username } = new URL(text);
    // The role that migrates is the database's own, whatever its name.
    if (name !== "MIGRATION_DATABASE_URL" && username !== login)
      return [
        {
          name,
          sentence: `${name} has the login ${username}. Set it to postgres://${login}:password@host/database.`,
        },
      ];
    if (placeOf(text) === place) return [];
    return [
      {
        name,
        sentence: `${name} leads to ${placeOf(text)}, and DATABASE_URL to ${place}. Set both to the same database.`,
      },
    ];
  });
}

/** The host and database of a connection string, the pooler's host counted as the one behind it. */
function placeOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host.replace("-pooler.", ".")}${pathname}`;
}

function describe(faults: Fault[], sourceOf: Configuration["sourceOf"]): string {
  const lines = faults.map(({ name, sentence }) => `  ${sentence} It is read from ${sourceOf(name)}.`);
  return [
    "Nothing was deployed, because of the configuration:",
    ...lines,
    "`npx node drizzle/secrets.ts HOST` prints a new secret of each kind; docs/deploy.md says what else there is to set.",
  ].join("\n");
}

function notesOn(file: object, envFile: string | undefined, read: readonly string[]): string[] {
  return Object.keys(file)
    .filter((name) => !read.includes(name) && !OF_OTHERS.test(name))
    .map(
      (name) =>
        `${name} in ${envFile ?? ""} is not deployed: wrangler.toml does not require it as a secret. Is it misspelt? ` +
        `If not, put it into [vars] in wrangler.toml, or set it with \`npx wrangler secret put ${name}\`.`,
    );
}
