import type pg from "pg";
import { localDatabase } from "../../drizzle/local-database.ts";
import { startStack } from "../../drizzle/local/stack.ts";
import { beginJob, type JobVariables } from "../../drizzle/moves/jobs.ts";
import { move, type Progress } from "../../drizzle/moves/move.ts";
import { Pace } from "../../drizzle/moves/pace.ts";
import { work } from "../../drizzle/moves/run.ts";
import { addSite } from "../../drizzle/site-add.ts";
import { TESTS_MIGRATIONS } from "../support/node/product.ts";
import { makeFleetBed, makeTenant, signIn, type Bed } from "./bed.ts";
import { connect } from "./sides.ts";
import { dropIndexes } from "./tenancy.ts";
import { bundleDeployed, makeFolder, serve, type Served } from "./workerd.ts";

const LIMITS = [{ name: "minute", limit: 60_000_000, window: 60 }];
const QUIET = { ...TESTS_MIGRATIONS, say: () => undefined };
/** Of a tenant's rows one in so many is a project; the others are its tasks. */
const ROWS_A_PROJECT = 50;
/** Projects that a tenant's clients read and change. */
const ASKED_FOR = 64;

/** The sites in the order in which tenants move through them: the last one is at the second server. */
export const CIRCLE = ["schema", "dedicated", "shared"] as const;

/** Two Postgres servers with a site of each kind, and the Worker. */
export type Ground = {
  bed: Bed;
  variables: JobVariables;
  worker: Served;
  /** The superuser, at the first server in the database with the shared site, and at the second. */
  first: pg.Client;
  second: { client: pg.Client; url: string };
};

/** Makes the ground, until `bench` ends. */
export async function makeGround(bench: AsyncDisposableStack, connections: number): Promise<Ground> {
  const { bed, variables } = await makeFleetBed(bench, connections);
  const stack = await startStack({ dir: makeFolder(bench), ephemeral: true });
  bench.defer(() => stack.stop());
  const databaseUrl = await localDatabase("dedicated", stack.superuserUrl);
  await addSite({ name: "schema", schema: true }, variables, QUIET);
  await addSite({ name: "dedicated", schema: false, databaseUrl }, variables, QUIET);
  const worker = await serve(bench, await bundleDeployed(bench), bed.variables);
  return {
    bed,
    variables,
    worker,
    first: await connect(bench, bed.superuserUrl),
    second: { client: await connect(bench, stack.superuserUrl), url: stack.superuserUrl },
  };
}

/** A tenant and some of its projects. */
export type Filled = { slug: string; tenantId: string; rows: number; projects: string[] };

/** Makes a tenant at the shared site with so many rows in all: projects, and tasks with notes. */
export async function fillTenant(
  { bed, worker, first }: Ground,
  slug: string,
  rows: number,
): Promise<Filled> {
  await makeTenant(bed, worker, slug, LIMITS);
  const { tenantId, userId } = await signIn(worker, slug);
  const projects = Math.ceil(rows / ROWS_A_PROJECT);
  // Indexes are faster to build than to keep, where there is not much yet.
  const rebuild = rows > 100_000 ? await dropIndexes(first) : [];
  // Triggers sleep meanwhile; what they would check of the foreign keys is so by construction.
  await first.query(
    `set session_replication_role = replica;
     insert into projects (tenant_id, id, created_at, name, created_by)
       select '${tenantId}', md5('${tenantId}/' || n)::uuid, now() - interval '1 year', 'Project ' || n, '${userId}'
       from generate_series(0, ${projects - 1}) as n;
     insert into tasks (tenant_id, id, created_at, updated_at, project_id, title, notes, status, created_by)
       select '${tenantId}', id, uuid_extract_timestamp(id), uuid_extract_timestamp(id),
         md5('${tenantId}/' || n % ${projects})::uuid, 'Task ' || n, 'Before the winter, and not without a ladder.',
         case when n % 10 = 0 then 'doing' when n % 10 < 4 then 'todo' else 'done' end, '${userId}'
       from (select n, uuidv7(random() * interval '-1 year') as id from generate_series(1, ${rows - projects}) as n order by id);
     set session_replication_role = origin`,
  );
  for (const step of rebuild) await first.query(step);
  await first.query("vacuum (analyze) projects, tasks");
  await first.query("checkpoint");
  const { rows: found } = await first.query<{ id: string }>(
    "select id from projects where tenant_id = $1 limit $2",
    [tenantId, ASKED_FOR],
  );
  return { slug, tenantId, rows, projects: found.map(({ id }) => id) };
}

type Phase = Progress["phase"];

/** A move that was done: how long the tenant's writes were held, by the mover's clock, and each phase's seconds. */
export type Moved = { heldMs: number; rows: number; seconds: Record<Phase, number> };

/** Moves a tenant as the command line does, at so many rows a second; `onPhase` hears of each phase's beginning. */
export async function moveTimed(
  { variables }: Ground,
  slug: string,
  to: string,
  rate: number,
  onPhase: (phase: Phase) => void = () => undefined,
): Promise<Moved> {
  const job = await beginJob(variables, slug, "move", to, QUIET);
  const seconds = { preparing: 0, copying: 0, comparing: 0, switching: 0 };
  let [phase, since]: [Phase, number] = ["preparing", performance.now()];
  const turnTo = (next: Phase) => {
    const now = performance.now();
    seconds[phase] += (now - since) / 1000;
    if (next !== phase) onPhase(next);
    [phase, since] = [next, now];
  };
  let rows = 0;
  await work(
    variables,
    job,
    new Pace(rate, () => undefined),
    (progress) => {
      turnTo(progress.phase);
      rows = progress.rows;
    },
    move,
  );
  turnTo(phase);
  if (job.progress.heldMs === undefined) throw new Error(`${slug} has been moved by more than one attempt.`);
  return { heldMs: job.progress.heldMs, rows, seconds };
}
