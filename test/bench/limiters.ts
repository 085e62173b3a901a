import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { importJWK, SignJWT } from "jose";
import { v7 as uuidv7 } from "uuid";
import { runSql, type Bed } from "./bed.ts";
import { bundleDeployed, bundleWorker, serve, type Bundle, type Served } from "./workerd.ts";

/** partywall, and what one would write or install in its place. */
const NAMES = ["partywall", "memory", "stored", "postgres", "flexible"] as const;
export type Name = (typeof NAMES)[number];

export const TITLES: Record<Name, string> = {
  partywall: "partywall",
  memory: "in memory",
  stored: "stored",
  postgres: "Postgres",
  flexible: "flexible",
};

/** Of the Workers beside partywall: their own limit, in any or each window of so many seconds. */
type Bound = { limit: number; window: number };

/** Serves a Worker; one beside partywall with a bound of its own. */
export type Serve = (
  name: Name | "counting" | "none",
  bound?: Bound,
  where?: { objects?: string; flags?: string[] },
) => Promise<Served>;

/** Bundles the Workers and gives the limiters in Postgres their tables. */
export async function prepareLimiters(
  bench: AsyncDisposableStack,
  bed: Bed,
): Promise<{ names: Name[]; serve: Serve }> {
  const here = (name: string) => join(import.meta.dirname, `workers/${name}.ts`);
  const classes = [
    { name: "MEMORY", class_name: "MemoryWindow" },
    { name: "STORED", class_name: "StoredLog" },
  ];
  const [deployed, counting, others, flexible, database] = await Promise.all([
    bundleDeployed(bench),
    bundleWorker(bench, here("counting"), [{ name: "TENANT", class_name: "Tenant" }]),
    bundleWorker(bench, here("limiters"), classes),
    isInstalled("rate-limiter-flexible") ? bundleWorker(bench, here("flexible")) : undefined,
    makeTables(bed.superuserUrl),
  ]);
  const bundleOf = (name: Name | "counting" | "none"): Bundle => {
    if (name === "partywall") return deployed;
    if (name === "counting") return counting;
    return name === "flexible" && flexible ? flexible : others;
  };
  return {
    names: NAMES.filter((name) => name !== "flexible" || flexible),
    serve: (name, { limit, window } = { limit: 1, window: 1 }, where) => {
      const own = {
        LIMITER: name,
        LIMIT: String(limit),
        WINDOW: String(window),
        LIMITER_DATABASE_URL: database,
      };
      return serve(bench, bundleOf(name), { ...bed.variables, ...own }, where);
    },
  };
}

function isInstalled(name: string): boolean {
  try {
    return import.meta.resolve(name) !== "";
  } catch {
    return false;
  }
}

/** The connection string of a role that has the tables of both limiters in Postgres. */
async function makeTables(superuserUrl: string): Promise<string> {
  const url = new URL(superuserUrl);
  url.username = "bench_limiter";
  url.password = randomUUID();
  await runSql(
    superuserUrl,
    `create role bench_limiter login password '${url.password}';
     grant connect on database partywall to bench_limiter;
     -- Room in each page for the next version of its rows, which then touches no index.
     create table limiter_counters (tenant_id uuid primary key, began bigint not null, used integer not null)
       with (fillfactor = 50);
     create table limiter_flexible (key varchar(255) primary key, points integer not null default 0, expire bigint)
       with (fillfactor = 50);
     grant select, insert, update, delete on limiter_counters, limiter_flexible to bench_limiter`,
  );
  return url.href;
}

/** Makes so many tenants, active and with these limits, and returns an access token of each, good for ten minutes. */
export async function makeTenants(
  bed: Bed,
  count: number,
  limits: object[],
): Promise<{ ids: string[]; tokens: string[] }> {
  const ids = Array.from({ length: count }, () => uuidv7());
  await runSql(
    bed.superuserUrl,
    `insert into control.tenants (id, slug, name, plan, limits)
     select id, 't-' || id, 'Bench', 'enterprise', $2 from unnest($1::uuid[]) as id`,
    [ids, JSON.stringify(limits)],
  );
  const { keys }: { keys: { alg: string; kid: string }[] } = JSON.parse(bed.variables.TOKEN_SIGNING_KEYS);
  const [jwk] = keys;
  if (!jwk) throw new Error("There is no key to sign tokens with.");
  const key = await importJWK(jwk);
  const tokens = ids.map((tid) =>
    new SignJWT({ client_id: "partywall", tid, sid: uuidv7(), role: "owner", scope: "tenant:read" })
      .setProtectedHeader({ alg: jwk.alg, typ: "at+jwt", kid: jwk.kid })
      .setIssuer(bed.variables.ISSUER)
      .setAudience(bed.variables.ISSUER)
      .setSubject(uuidv7())
      .setIssuedAt()
      .setExpirationTime("600s")
      .setJti(uuidv7())
      .sign(key),
  );
  return { ids, tokens: await Promise.all(tokens) };
}
