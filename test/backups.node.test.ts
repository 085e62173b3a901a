import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connected } from "../drizzle/connected.ts";
import { prepareLocalDatabase } from "../drizzle/local-database.ts";
import { startStack, type Stack } from "../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets, namedSecret } from "../drizzle/variables.ts";
import { serve, type Served } from "./bench/workerd.ts";
import { answer, ask, signIn } from "./support/node/ask.ts";
import { deployedBundle } from "./support/node/deployed.ts";
import { run, stepsOf } from "./support/node/guide.ts";
import { TESTS_MIGRATIONS } from "./support/node/product.ts";

const root = join(import.meta.dirname, "..");
const person = { email: "ada@acme.test", password: "correct horse battery staple" };

let dir: string;
let stack: Stack;
let variables: ReturnType<typeof makeDatabaseUrls> & Awaited<ReturnType<typeof makeSecrets>>;
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "partywall-backups-"));
  // As root, Postgres runs as another user, who then reaches its data here.
  chmodSync(dir, 0o711);
  mkdirSync(join(dir, "objects"));
  stack = await startStack({ dir: join(dir, "database"), ephemeral: true });
  variables = { ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`), ...(await makeSecrets()) };
  await prepareLocalDatabase(stack.superuserUrl, variables, TESTS_MIGRATIONS);
}, 60_000);
afterAll(async () => {
  await resources.disposeAsync();
  await stack.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** The Worker on the database of this name; its tenants' objects go on with what they have. */
async function worker(database: string, more: Record<string, string> = {}): Promise<Served> {
  const urls = Object.entries(variables).map(([name, value]) =>
    name.endsWith("_URL") ? [name, value.replace(/[^/]*$/, database)] : [name, value],
  );
  const settings = {
    ...(Object.fromEntries(urls) as typeof variables),
    NEON_FETCH_ENDPOINT: stack.endpoint,
    ISSUER: "https://api.partywall.test",
    TENANT_LOCATION_HINT: "weur",
    API_KEY_ENVIRONMENT: "test",
    LOG_REQUESTS: "off",
    ...more,
  };
  return serve(resources, await deployedBundle(), settings, { objects: join(dir, "objects") });
}

const signInAt = (at: Served) => signIn(at, person.email, person.password);

const namesOf = async (at: Served, token: string): Promise<string[]> =>
  (await answer<{ data: { name: string }[] }>(ask(at, "GET", "/v1/projects", token))).data.map(
    ({ name }) => name,
  );

it("serves a restored database, once docs/backups.md was followed, and revokes in it as before", async () => {
  const before = await worker("partywall");
  await answer(
    ask(before, "POST", "/v1/signup", undefined, { ...person, tenant: { name: "Acme", slug: "acme" } }),
  );
  const ada = await signInAt(before);
  await answer(ask(before, "POST", "/v1/projects", ada, { name: "Before" }));
  const making = ask(before, "POST", "/v1/api-keys", ada, { name: "CI", scopes: ["projects:read"] });
  const { id, key } = await answer<{ id: string; key: string }>(making);
  expect(await namesOf(before, key)).toEqual(["Before"]);

  await connected(stack.superuserUrl, async (client) => {
    await client.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'partywall'");
    await client.query("create database restored template partywall owner partywall_migrator");
  });
  // What is done after the backup is lost with it.
  await answer(ask(before, "POST", "/v1/projects", await signInAt(before), { name: "After" }));
  expect((await ask(before, "DELETE", `/v1/api-keys/${id}`, ada)).status).toBe(204);
  expect((await ask(before, "GET", "/v1/projects", key)).status).toBe(401);
  await before.stop();

  const own = { TENANT_CONTEXT_KEYS: namedSecret() };
  const of = { ...variables, ...own };
  for (const name of Object.keys(of).filter((each) => each.endsWith("_URL")) as (keyof typeof of)[])
    of[name] = of[name].replace(/[^/]*$/, "restored");
  const steps = stepsOf(join(root, "docs/backups.md"), "Everything");
  expect(steps.map(({ language }) => language)).toEqual(["sh", "sql", "sh"]);
  const [migrate, sql, doctor] = steps.map(({ body }) => body.trim());
  await prepareLocalDatabase(stack.superuserUrl, of, TESTS_MIGRATIONS);
  expect(migrate).toBe("npm run db:migrate");
  await connected(of.MIGRATION_DATABASE_URL, (client) => client.query(sql ?? ""));
  expect(await run(root, "bash", ["-euc", doctor ?? ""], of)).toContain("the wall stands");

  const restored = await worker("restored", own);
  const again = await signInAt(restored);
  expect(await namesOf(restored, again)).toEqual(["Before"]);
  // It was revoked later than the backup. Once it is revoked again, that is in force at once, as always.
  expect(await namesOf(restored, key)).toEqual(["Before"]);
  expect((await ask(restored, "DELETE", `/v1/api-keys/${id}`, again)).status).toBe(204);
  expect((await ask(restored, "GET", "/v1/projects", key)).status).toBe(401);
}, 120_000);
