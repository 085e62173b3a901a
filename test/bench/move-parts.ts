import { setTimeout as delay } from "node:timers/promises";
import { DEFAULT_RATE } from "../../drizzle/moves/commands.ts";
import { ask, signIn } from "./bed.ts";
import { makeCopyFloor } from "./copy-floor.ts";
import { shown } from "./figures.ts";
import { CIRCLE, moveTimed, type Filled, type Ground, type Moved } from "./grounds.ts";
import { startLoad, type Admitted, type Outcome } from "./load.ts";
import { requestsTo, type RequestName } from "./requests.ts";
import type { Options } from "./subject.ts";
import type { Served } from "./workerd.ts";

/** Clients that write while their tenant moves, each once in so many ms: 200 times a second together. */
export const WRITERS = { connections: 16, everyMs: 80 };
/** A refused write comes again so soon, and not as late as Retry-After says: what is measured is the server. */
export const RETRY_MS = 50;
/** Of each kind, unless fewer rounds are asked for. */
const MOVES = 5;
const movesIn = ({ rounds }: Pick<Options, "rounds">): number => Math.min(MOVES, rounds);
/** Before a move, so that the longest gap can be compared with one when nothing moves. */
const CALM_S = 5;
/** Ends with the move. */
const ENDLESS_S = 24 * 3600;

/** A move under writes: its figures, and as its clients saw it. */
export type Held = Moved & {
  gapMs: number;
  calmGapMs: number;
  acknowledged: number;
  refused: number;
  slowestMs: number;
};

/** Moves each of these tenants in a circle while its clients write. Throws when a write failed, other than with a 503 once. */
export async function measureHeld(
  bench: AsyncDisposableStack,
  ground: Ground,
  tenants: readonly Filled[],
  options: Options,
): Promise<Map<Filled, Held[]>> {
  const load = startLoad(bench);
  const found = new Map<Filled, Held[]>(tenants.map((tenant) => [tenant, []]));
  for (let turn = 0; turn < movesIn(options); turn++)
    for (const [tenant, held] of found) {
      const to = CIRCLE[turn % CIRCLE.length] ?? "";
      const { key } = await newKey(ground.worker, tenant.slug);
      const { asks } = requestsTo(tenant.projects).patch;
      const write = (seconds: number) =>
        load.run({
          port: ground.worker.port,
          asks,
          tokens: [key],
          ...WRITERS,
          seconds,
          pauseMs: RETRY_MS,
          insisting: true,
          traced: true,
        });
      const calm = await write(CALM_S);
      const writing = write(ENDLESS_S);
      const moved = await moveTimed(ground, tenant.slug, to, Infinity);
      // Whoever waited comes through.
      await delay(1000);
      load.stop();
      const outcome = await writing;
      const { statuses, refused, slowest } = outcome;
      const acknowledged = statuses[200] ?? 0;
      if (acknowledged + (statuses[503] ?? 0) !== outcome.answers)
        throw new Error(`A write was answered neither 200 nor 503: ${JSON.stringify(statuses)}`);
      const gap = longestGap(outcome.admitted);
      held.push({
        ...moved,
        gapMs: gap.ms,
        calmGapMs: longestGap(calm.admitted).ms,
        acknowledged,
        refused,
        slowestMs: slowest,
      });
      const { heldMs, seconds } = moved;
      options.say(
        `${shown(tenant.rows)} rows to ${to}: held ${shown(heldMs)} ms, ${shown(refused)} of ${shown(acknowledged)} writes refused, ` +
          `longest gap ${shown(gap.ms)} ms after ${shown(gap.since / 1000, 1)} s, slowest ${shown(slowest)} ms; ${inPhases(seconds)}`,
      );
    }
  return found;
}

/** An API key, as a move may outlive an access token. */
async function newKey(worker: Served, slug: string): Promise<{ key: string }> {
  const { token } = await signIn(worker, slug);
  return ask(worker, "/v1/api-keys", { token, body: { name: slug, scopes: ["projects:write"] } });
}

const inPhases = (seconds: Moved["seconds"]): string =>
  Object.entries(seconds)
    .map(([phase, took]) => `${phase} ${shown(took, 1)} s`)
    .join(", ");

/** The longest time without an acknowledged write, in ms, and how many ms after the first one it began. */
function longestGap(admitted: readonly Admitted[]): { ms: number; since: number } {
  const times = admitted.map(({ answered }) => answered).toSorted((a, b) => a - b);
  const [first = Number.NaN] = times;
  let longest = { ms: 0, since: 0 };
  for (const [at, time] of times.entries()) {
    const before = times[at - 1] ?? time;
    if (time - before > longest.ms) longest = { ms: time - before, since: before - first };
  }
  return longest;
}

/** Rows a second of a copying at the default rate, and another tenant's requests before and during it. */
export type Rate = { perSecond: number; before: Outcome[]; during: Outcome[] };
/** What the other tenant's clients do, 400 times a second. */
const NEIGHBOUR = { connections: 8, everyMs: 20 };
const ROUNDS = 5;

/** Moves a tenant inside the server of another one, whose clients go on meanwhile. */
export async function measureRate(
  bench: AsyncDisposableStack,
  ground: Ground,
  tenant: Filled,
  neighbour: Filled,
): Promise<Rate> {
  const load = startLoad(bench);
  const { token } = await signIn(ground.worker, neighbour.slug);
  const { read, patch } = requestsTo(neighbour.projects);
  // All rounds fit into the time that the rows are copied.
  const seconds = Math.min(5, (0.9 * tenant.rows) / DEFAULT_RATE / ROUNDS);
  const rounds = async (): Promise<Outcome[]> => {
    const outcomes: Outcome[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const asks = patch.asks.flatMap((each) => [...read.asks, each]);
      const outcome = await load.run({
        port: ground.worker.port,
        asks,
        tokens: [token],
        ...NEIGHBOUR,
        seconds,
      });
      if (outcome.statuses[200] !== outcome.answers)
        throw new Error(`Not all answers were 200: ${JSON.stringify(outcome.statuses)}`);
      outcomes.push(outcome);
    }
    return outcomes;
  };
  await rounds();
  const before = await rounds();
  let during: Promise<Outcome[]> | undefined;
  const moved = await moveTimed(ground, tenant.slug, "schema", DEFAULT_RATE, (phase) => {
    if (phase === "copying") during = rounds();
  });
  return { perSecond: moved.rows / moved.seconds.copying, before, during: (await during) ?? [] };
}

/** Rows a second: of a move's copying without a limit, with comparing, of erasing what an earlier move left, and of COPY. */
export type Copy = { copied: number[]; compared: number[]; erased: number[]; floor: number[] };

/** Moves a tenant that is at `schema` to the other server and back, and copies its rows as pg_dump | psql would, in turn. */
export async function measureCopy(
  bench: AsyncDisposableStack,
  ground: Ground,
  { slug, tenantId, rows }: Filled,
  options: Options,
): Promise<Copy> {
  const floorOf = await makeCopyFloor(bench, ground);
  const found: Copy = { copied: [], compared: [], erased: [], floor: [] };
  // Caches are warm then, at both sides.
  await floorOf(tenantId);
  for (let turn = 0; turn < movesIn(options); turn++) {
    // The rows that it left at the shared site are there all the time.
    const floor = await floorOf(tenantId);
    const moved = await moveTimed(ground, slug, turn % 2 === 0 ? "dedicated" : "schema", Infinity);
    found.floor.push(floor);
    found.copied.push(moved.rows / moved.seconds.copying);
    found.compared.push(rows / moved.seconds.comparing);
    if (turn > 0) found.erased.push(rows / moved.seconds.preparing);
    options.say(
      `${shown(moved.rows / moved.seconds.copying)} rows/s, COPY ${shown(floor)}; ${inPhases(moved.seconds)}`,
    );
  }
  return found;
}

/** What the fences of the shared site say while requests are measured. */
export const FENCES = ["no fence", "200 others fenced", "logged"] as const;
type Fences = (typeof FENCES)[number];
export const FENCED_REQUESTS = ["read", "create", "patch"] as const satisfies readonly RequestName[];
/** Requests a second, round by round. */
export type Fenced = Record<(typeof FENCED_REQUESTS)[number], Record<Fences, number[]>>;

const WARM_UP_S = 2;

/** Measures whole requests of a tenant while nobody there has a fence, while others do, and while its changes are logged. */
export async function measureFences(
  bench: AsyncDisposableStack,
  { worker, first }: Ground,
  { slug, tenantId, projects }: Filled,
  { rounds, seconds, connections, say }: Options,
): Promise<Fenced> {
  const load = startLoad(bench);
  const requests = requestsTo(projects);
  const empty = () => ({ "no fence": [], "200 others fenced": [], logged: [] });
  const found: Fenced = { read: empty(), create: empty(), patch: empty() };
  const fencing: Record<Fences, string> = {
    "no fence": "select",
    "200 others fenced": `insert into fences (tenant, epoch, mode, token)
      select gen_random_uuid(), 2, 'open', 1 from generate_series(1, 200)`,
    logged: `insert into fences (tenant, epoch, mode, token) values ('${tenantId}', 1, 'logged', 1)`,
  };
  for (let round = 0; round <= rounds; round++) {
    const { token } = await signIn(worker, slug);
    for (const name of FENCED_REQUESTS) {
      const { asks, status, title } = requests[name];
      for (const fences of round % 2 === 0 ? FENCES : FENCES.toReversed()) {
        await first.query(`truncate fences, change_log; ${fencing[fences]}; analyze fences`);
        const outcome = await load.run({
          port: worker.port,
          asks,
          tokens: [token],
          connections,
          seconds: round === 0 ? WARM_UP_S : seconds,
        });
        if (outcome.statuses[status] !== outcome.answers)
          throw new Error(`${title}: not all answers were ${status}: ${JSON.stringify(outcome.statuses)}`);
        if (round > 0) found[name][fences].push(outcome.perSecond);
      }
    }
    say(round === 0 ? "warm" : `round ${round} of ${rounds}`);
  }
  await first.query("truncate fences, change_log");
  return found;
}
