import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ask, makeTenant, runSql, signIn, type Bed } from "./bed.ts";
import { bundleDeployed, bundleWorker, serve, type Bundle, type Bundling, type Served } from "./workerd.ts";

/** The whole of partywall, what a team would glue together, and the least that answers with the row. */
export const NAMES = ["partywall", "by hand", "floor"] as const;
export type Name = (typeof NAMES)[number];

export type Contestant = { bundle: Bundle; variables: Record<string, string>; worker: Served };

/** The Workers on one database, and a token and a path that all of them answer with the same row. */
export type Contest = {
  contestants: Record<Name, Contestant>;
  path: string;
  /** A fresh access token. */
  signIn: () => Promise<string>;
};

const SLUG = "bench";
/** Two, as the plan enterprise has, and so high that no request is refused. */
const LIMITS = [
  { name: "second", limit: 1_000_000, window: 1 },
  { name: "minute", limit: 60_000_000, window: 60 },
];

/**
 * Bundles and serves the three; readable ones take a debugger as well. Throws when one answers with another row than
 * the others.
 */
export async function startContest(
  bench: AsyncDisposableStack,
  bed: Bed,
  { readable = false }: Bundling = {},
): Promise<Contest> {
  const here = (name: string) => join(import.meta.dirname, `workers/${name}.ts`);
  const [whole, byHand, floor] = await Promise.all([
    bundleDeployed(bench, { readable }),
    bundleWorker(bench, here("by-hand"), [], { readable }),
    bundleWorker(bench, here("floor"), [], { readable }),
  ]);
  const enter = async (bundle: Bundle, variables: Record<string, string>): Promise<Contestant> => ({
    bundle,
    variables,
    worker: await serve(bench, bundle, variables, { inspected: readable }),
  });

  const partywall = await enter(whole, bed.variables);
  await makeTenant(bed, partywall.worker, SLUG, LIMITS);
  const { token, tenantId } = await signIn(partywall.worker, SLUG);
  const project = { name: "Roof", description: "Before the winter." };
  const { id } = await ask<{ id: string }>(partywall.worker, "/v1/projects", { token, body: project });
  const urls = await copyRows(bed);
  const { NEON_FETCH_ENDPOINT, ISSUER, TOKEN_SIGNING_KEYS } = bed.variables;
  const contestants = {
    partywall,
    "by hand": await enter(byHand, {
      DATABASE_URL: urls.byHand,
      NEON_FETCH_ENDPOINT,
      ISSUER,
      PUBLIC_JWK: publicJwk(TOKEN_SIGNING_KEYS),
    }),
    floor: await enter(floor, { DATABASE_URL: urls.floor, NEON_FETCH_ENDPOINT, TENANT_ID: tenantId }),
  };

  const path = `/v1/projects/${id}`;
  const [first, ...others] = await Promise.all(
    NAMES.map(async (name) => {
      const row = await ask<Record<string, unknown>>(contestants[name].worker, path, { token });
      delete row["version"]; // partywall's is in the ETag.
      return row;
    }),
  );
  if (others.some((row) => !isDeepStrictEqual(row, first)))
    throw new Error(`The Workers answer differently: ${JSON.stringify([first, ...others])}`);
  return { contestants, path, signIn: async () => (await signIn(partywall.worker, SLUG)).token };
}

/** Gives the two others copies of partywall's projects and a role each, and returns their connection strings. */
async function copyRows({ superuserUrl }: Bed): Promise<{ byHand: string; floor: string }> {
  const [byHand, floor] = [loginUrl(superuserUrl, "bench_by_hand"), loginUrl(superuserUrl, "bench_floor")];
  await runSql(
    superuserUrl,
    `-- Rows of other tenants, so that no table is a single page.
     with others as materialized (select gen_random_uuid() as id from generate_series(1, 20))
     insert into projects (tenant_id, id, name, created_by)
     select others.id, uuidv7(), 'Project ' || number, others.id from others, generate_series(1, 500) as number;

     create role bench_by_hand login password '${byHand.password}';
     create role bench_floor login password '${floor.password}';
     grant connect on database partywall to bench_by_hand, bench_floor;
     create table by_hand_projects (like projects including indexes);
     create table floor_projects (like projects including indexes);
     insert into by_hand_projects select * from projects;
     insert into floor_projects select * from projects;
     grant select on by_hand_projects to bench_by_hand;
     grant select on floor_projects to bench_floor;
     alter table by_hand_projects enable row level security;
     create policy by_tenant on by_hand_projects
       using (tenant_id = (select current_setting('app.tenant_id')::uuid))`,
  );
  await runSql(superuserUrl, "vacuum analyze");
  return { byHand: byHand.href, floor: floor.href };
}

function loginUrl(superuserUrl: string, role: string): URL {
  const url = new URL(superuserUrl);
  url.username = role;
  url.password = randomUUID();
  return url;
}

/** The public half of the key that signs. */
function publicJwk(signingKeys: string): string {
  const { keys }: { keys: Record<string, string>[] } = JSON.parse(signingKeys);
  const { d: _, ...jwk } = keys[0] ?? {};
  return JSON.stringify(jwk);
}
