import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import type { ProvidedContext } from "vitest";
import { connected } from "../../../drizzle/connected.ts";
import { localDatabase, prepareLocalDatabase } from "../../../drizzle/local-database.ts";
import { startStack, type Stack } from "../../../drizzle/local/stack.ts";
import type { AllVariables } from "../../../drizzle/migrate-all.ts";
import type { MigrationOptions } from "../../../drizzle/migrate.ts";
import { rotate } from "../../../drizzle/rotate.ts";
import { addSite } from "../../../drizzle/site-add.ts";
import { loginsAt, migratorUrls } from "../../../drizzle/sites.ts";
import { makeDatabaseUrls, makeSecrets, namedSecret } from "../../../drizzle/variables.ts";
import { SITE_KINDS } from "../../../src/db/places.ts";
import { startIssuers } from "./issuers.ts";
import { startMail } from "./mail.ts";
import { startNeon } from "./neon.ts";
import { leaveOutWhatIsMeant } from "./quiet.ts";
import { TESTS_MIGRATIONS } from "./product.ts";

type Served = Pick<Stack, "endpoint" | "postgresPort" | "superuserUrl" | "stop">;

/** A stack of the run's own, or the one in TEST_STACK, which whoever sets one stage after another keeps and empties. */
async function stackOf(given: string | undefined): Promise<Served> {
  if (given) return { ...(JSON.parse(given) as Served), stop: async () => undefined };
  const dir = mkdtempSync(join(tmpdir(), "partywall-test-"));
  // As root, Postgres runs as another user, who then reaches its data here.
  chmodSync(dir, 0o711);
  return startStack({ dir, ephemeral: true });
}

/** Whoever sets the stage of a test: a superuser of this database, whom no wall binds. Returns his connection string. */
async function makeStage(superuserUrl: string): Promise<string> {
  const url = new URL(superuserUrl);
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    const { rowCount } = await client.query("select from pg_roles where rolname = 'stage'");
    if (rowCount === 0) await client.query("create role stage superuser");
    [url.username, url.password] = ["stage", randomUUID()];
    await client.query(`alter role stage login password '${url.password}'`);
    await client.query("alter role stage set search_path = control, public");
  } finally {
    await client.end();
  }
  return url.href;
}

/** How tenants have their content in a project of this name. */
const kindOf = (project: string): Exclude<(typeof SITE_KINDS)[number], "shared"> | undefined =>
  (["schema", "dedicated"] as const).find((kind) => project.startsWith(kind));

/** Makes the site of a run whose tenants are not at the shared one; `stage` is the superuser's way to the control plane's database. */
async function makeSite(
  kind: "schema" | "dedicated",
  second: Served | undefined,
  variables: AllVariables,
  stage: string,
  options: MigrationOptions,
): Promise<ProvidedContext["site"]> {
  const databaseUrl = second && (await localDatabase("site", second.superuserUrl));
  const quiet = { ...options, say: () => undefined };
  const row = await addSite({ name: kind, schema: kind === "schema", databaseUrl }, variables, quiet);
  const { region: _, rotated_at: __, kind: ___, ...site } = row;
  const [app, courier] = loginsAt(site, variables);
  const [migrator] = migratorUrls(site, variables);
  // Attacks that name no schema mean the site's.
  if (kind === "schema")
    await connected(stage, (client) =>
      client.query(
        `alter role partywall_app in database partywall set search_path = pg_catalog, ${site.schema}, pg_temp`,
      ),
    );
  return { site, app, courier, migrator, stage: databaseUrl ? await makeStage(databaseUrl) : stage };
}

/** Starts a real Postgres and its Neon endpoint for the whole run, migrated, with secrets of its own, and what it asks: a mail service, issuers, Neon's API. */
export default async function setup(project: Pick<TestProject, "name" | "provide">) {
  leaveOutWhatIsMeant();
  const stack = await stackOf(process.env["TEST_STACK"]);
  const kind = kindOf(project.name);
  const second = kind === "dedicated" ? await stackOf(undefined) : undefined;
  const mail = await startMail();
  const issuers = await startIssuers();
  const neon = await startNeon();
  const stop = () => {
    for (const asked of [mail, issuers, neon]) asked.stop();
    return Promise.all([stack.stop(), second?.stop()]);
  };
  try {
    const secrets = await makeSecrets();
    // In the middle of a rotation to the other algorithm: tokens of either are good.
    const { value: signingKeys } = await rotate("TOKEN_SIGNING_KEYS", secrets.TOKEN_SIGNING_KEYS, "ES256");
    const variables = {
      ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`),
      ...secrets,
      TOKEN_SIGNING_KEYS: signingKeys,
      NEON_FETCH_ENDPOINT: stack.endpoint,
      // Cheap hashes: most tests need none that is dear, and some thousands are made.
      PASSWORD_PEPPERS: `${namedSecret()}:8`,
      ISSUER: "https://api.partywall.test",
      BASE_DOMAIN: "partywall.test",
      API_KEY_ENVIRONMENT: "test",
      LOG_REQUESTS: "off",
      LOCAL_ISSUERS: issuers.origin,
      MAIL_URL: mail.url,
      MAIL_FROM: "partywall <no-reply@partywall.test>",
      MAIL_TOKEN: "the mail service's token",
      NEON_API_URL: neon.origin,
      NEON_API_KEY: neon.key,
      NEON_ORG_ID: neon.org,
    };
    const options = project.name.includes("product") ? {} : TESTS_MIGRATIONS;
    await prepareLocalDatabase(stack.superuserUrl, variables, options);
    const stage = await makeStage(stack.superuserUrl.replace(/[^/]*$/, "partywall"));
    const site = kind ? await makeSite(kind, second, variables, stage, options) : null;
    project.provide("variables", {
      ...variables,
      STAGE_DATABASE_URL: stage,
      SIGNUP_SITE: site?.site.name ?? "shared",
    });
    project.provide("site", site);
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}
