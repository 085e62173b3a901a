import { join } from "node:path";
import { ask, makeTenant, signIn, type Bed } from "./bed.ts";
import { compareAnswers, requestsTo, type Request, type RequestName } from "./requests.ts";
import { countEvents, makeRows, resetRows } from "./rows.ts";
import { bundleDeployed, bundleWorker, serve, type Bundle, type Bundling, type Served } from "./workerd.ts";

/** The whole of partywall, what a team would glue together, and the least that answers with the rows. */
export const NAMES = ["partywall", "by hand", "floor"] as const;
export type Name = (typeof NAMES)[number];

export type Contestant = { bundle: Bundle; variables: Record<string, string>; worker: Served };

/** The Workers on one database, each with a table of its own, and requests that all of them answer alike. */
export type Contest = {
  contestants: Record<Name, Contestant>;
  requests: Record<RequestName, Request>;
  /** A fresh access token. */
  signIn: () => Promise<string>;
  /** How many writes partywall's audit trail holds since reset(). */
  countEvents: () => Promise<number>;
  /** Takes back what the Workers have written. */
  reset: () => Promise<void>;
};

const SLUG = "bench";
/** Two, as the plan enterprise has, and so high that no request is refused. */
const LIMITS = [
  { name: "second", limit: 1_000_000, window: 1 },
  { name: "minute", limit: 60_000_000, window: 60 },
];

/** Bundles and serves the three; readable ones take a debugger as well. Throws when they answer differently. */
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
  const member = await signIn(partywall.worker, SLUG);
  const { token, tenantId, userId } = member;
  const urls = await makeRows(bed, member);
  const { NEON_FETCH_ENDPOINT, ISSUER, TOKEN_SIGNING_KEYS } = bed.variables;
  const contestants = {
    partywall,
    "by hand": await enter(byHand, {
      DATABASE_URL: urls.byHand,
      NEON_FETCH_ENDPOINT,
      ISSUER,
      PUBLIC_JWK: publicJwk(TOKEN_SIGNING_KEYS),
    }),
    floor: await enter(floor, {
      DATABASE_URL: urls.floor,
      NEON_FETCH_ENDPOINT,
      TENANT_ID: tenantId,
      USER_ID: userId,
    }),
  };

  const { data } = await ask<{ data: { id: string }[] }>(partywall.worker, "/v1/projects?limit=100", {
    token,
  });
  const requests = requestsTo(data.map(({ id }) => id));
  await compareAnswers(
    NAMES.map((name) => contestants[name].worker),
    requests,
    token,
  );
  await resetRows(bed);
  return {
    contestants,
    requests,
    signIn: async () => (await signIn(partywall.worker, SLUG)).token,
    countEvents: () => countEvents(bed),
    reset: () => resetRows(bed),
  };
}

/** The public half of the key that signs. */
function publicJwk(signingKeys: string): string {
  const { keys }: { keys: Record<string, string>[] } = JSON.parse(signingKeys);
  const { d: _, ...jwk } = keys[0] ?? {};
  return JSON.stringify(jwk);
}
