import pg from "pg";
import { prepareLocalDatabase } from "../../drizzle/local-database.ts";
import { startStack, type Stack, type StackOptions } from "../../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets } from "../../drizzle/variables.ts";
import { TESTS_MIGRATIONS } from "../support/node/product.ts";
import { makeFolder, type Served } from "./workerd.ts";

const PASSWORD = "correct horse battery staple";
const ISSUER = "https://api.partywall.test";

/** A migrated database of its own, behind its own endpoint. */
export type Bed = {
  stack: Stack;
  /** What partywall's Worker needs to run on it. */
  variables: Record<
    "DATABASE_URL" | "NEON_FETCH_ENDPOINT" | "TENANT_CONTEXT_KEYS" | "TOKEN_SIGNING_KEYS" | "ISSUER",
    string
  > &
    Record<string, string>;
  /** Connection string of the superuser, to the same database. */
  superuserUrl: string;
};

/** Who signed in, and the access token, good for ten minutes. */
export type Member = { token: string; tenantId: string; userId: string };

/** A Postgres with a migrated database, the connection strings of its logins, and secrets that go with it. */
export type Migrated = {
  stack: Stack;
  variables: ReturnType<typeof makeDatabaseUrls> & Awaited<ReturnType<typeof makeSecrets>>;
};

/** Makes a Postgres in this folder, and migrates it. */
export async function startEmpty(options: StackOptions & { dir: string }): Promise<Migrated> {
  const stack = await startStack({ ...options, ephemeral: true });
  try {
    const variables = { ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`), ...(await makeSecrets()) };
    await prepareLocalDatabase(stack.superuserUrl, variables, TESTS_MIGRATIONS);
    return { stack, variables };
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

/**
 * Makes the bed, until `bench` takes it down; its endpoint opens at most so many connections to Postgres. `start` makes
 * its database in a folder that is empty.
 */
export async function makeBed(
  bench: AsyncDisposableStack,
  maxConnections: number,
  start: typeof startEmpty = startEmpty,
): Promise<Bed> {
  const { stack, variables } = await start({ dir: makeFolder(bench), maxConnections });
  bench.defer(() => stack.stop());
  const { MIGRATION_DATABASE_URL: _, ...known } = variables;
  const superuserUrl = new URL(stack.superuserUrl);
  superuserUrl.pathname = new URL(known.DATABASE_URL).pathname;
  return {
    stack,
    variables: {
      ...known,
      NEON_FETCH_ENDPOINT: stack.endpoint,
      ISSUER,
      TENANT_LOCATION_HINT: "weur",
      API_KEY_ENVIRONMENT: "bench",
      ALLOWED_ORIGINS: "",
    },
    superuserUrl: superuserUrl.href,
  };
}

/** A bed, and all variables, those of whoever migrates too. */
export async function makeFleetBed(
  bench: AsyncDisposableStack,
  connections: number,
): Promise<{ bed: Bed; variables: Migrated["variables"] }> {
  let migrated: Migrated | undefined;
  const bed = await makeBed(bench, connections, async (of) => (migrated = await startEmpty(of)));
  if (!migrated) throw new Error("there is no database");
  return { bed, variables: migrated.variables };
}

/** Runs SQL as the login of this connection string: one statement with values, or several without. */
export async function runSql(url: string, text: string, values?: unknown[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(text, values);
  } finally {
    await client.end();
  }
}

/** Makes a tenant through the API, on the plan enterprise with these limits, which its object learns at a sign-in. */
export async function makeTenant(bed: Bed, worker: Served, slug: string, limits: object[]): Promise<void> {
  await signUp(worker, slug);
  await runSql(
    bed.superuserUrl,
    "update control.tenants set plan = 'enterprise', limits = $2 where slug = $1",
    [slug, JSON.stringify(limits)],
  );
}

/** Makes a tenant on the plan of those that sign up, through the API. */
export async function signUp(worker: Served, slug: string): Promise<Member> {
  const body = { ...ownerOf(slug), tenant: { name: slug, slug } };
  return memberOf(await ask(worker, "/v1/signup", { body }));
}

/** Signs the tenant's owner in, through the API. */
export async function signIn(worker: Served, slug: string): Promise<Member> {
  return memberOf(await ask(worker, "/v1/sessions", { body: ownerOf(slug) }));
}

const ownerOf = (slug: string) => ({ email: `${slug}@bench.test`, password: PASSWORD });

type Session = { access_token: string; tenant: { id: string }; user: { id: string } };
const memberOf = ({ access_token: token, tenant, user }: Session): Member => ({
  token,
  tenantId: tenant.id,
  userId: user.id,
});

/** The answer to a GET, or to a POST of `body`, as JSON. Throws for any status but 2xx. */
export async function ask<T>(
  worker: Served,
  path: string,
  { token, body }: { token?: string; body?: object } = {},
): Promise<T> {
  const response = await fetch(`http://127.0.0.1:${worker.port}${path}`, {
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body && { "content-type": "application/json" }),
    },
    ...(body && { method: "POST", body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}
