import type { Client } from "pg";
import { both, connect, SIDES, type Both, type Side, type Sides } from "./sides.ts";
import { numbered, renamed, type Statement } from "./statements.ts";
import type { Size, Tenant } from "./tenancy.ts";

/** How long each measurement goes on, as far as one statement is not longer. */
const BATCH_US = 25_000;
const MOST = 1_000;

/** With a plan made once, or parsed and planned anew each time, as statements that come over HTTP are. */
const WAYS = ["prepared", "planned"] as const;
export type Way = (typeof WAYS)[number];

/** µs a statement, round by round. */
export type Inside = { statement: Statement; size: Size; times: Record<Way, Both<number[]>> };

/** Measures statements inside Postgres, the sides in turn; returns their times. */
export type Stopwatch = (
  statements: readonly Statement[],
  tenants: readonly Tenant[],
  rounds: number,
) => Promise<Inside[]>;

/** Gives the database a procedure for each statement that runs it many times, and lets both sides call it. */
export async function installProcedures(superuser: Client, statements: readonly Statement[]): Promise<void> {
  for (const statement of statements)
    for (const side of SIDES)
      for (const way of WAYS) await superuser.query(timingProcedure(statement, side, way));
  await superuser.query("grant usage on schema bench to partywall_app, bench_by_hand");
}

/** Connects both sides to a database that has the procedures. */
export async function startStopwatch(
  bench: AsyncDisposableStack,
  { urls, contextOf }: Pick<Sides, "urls" | "contextOf">,
): Promise<Stopwatch> {
  const clients = {
    walled: await connect(bench, urls.walled),
    byHand: await connect(bench, urls.byHand),
  };
  return async (statements, tenants, rounds) => {
    const cells = statements.flatMap((statement) => tenants.map((tenant) => ({ statement, tenant })));
    const jobs = cells.flatMap(({ statement, tenant }) => {
      const times = { prepared: both((): number[] => []), planned: both((): number[] => []) };
      return WAYS.map((way) => ({ statement, tenant, way, times, turns: 0 }));
    });
    for (let round = 0; round <= rounds; round++)
      for (const job of jobs)
        for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
          const run = (turns: number): Promise<number> =>
            time(clients[side], contextOf(side, job.tenant), { ...job, side, turns });
          if (round > 0) job.times[job.way][side].push(await run(job.turns));
          else {
            // The warm-up; both sides are to take as many turns.
            job.turns ||= await fittingTurns(run);
            await run(job.turns);
          }
        }
    return jobs
      .filter(({ way }) => way === WAYS[0])
      .map(({ statement, tenant: { size }, times }) => ({ statement, size, times }));
  };
}

/** As many turns as fit into the batch, by ever longer trials: the first of them is no measure. */
async function fittingTurns(run: (turns: number) => Promise<number>): Promise<number> {
  let turns = 1;
  for (const most of [1, 10, MOST]) turns = Math.min(most, Math.ceil(BATCH_US / (await run(turns))));
  return turns;
}

type Run = { statement: Statement; tenant: Tenant; side: Side; way: Way; turns: number };

/** µs a statement: the mean of so many turns. */
async function time(client: Client, context: string, run: Run): Promise<number> {
  const { statement, tenant, side, way, turns } = run;
  await client.query("select set_config('plan_cache_mode', $1, false)", [
    // Left to itself, Postgres might plan anew for the side whose tenant it knows, and not for the other.
    way === "prepared" ? "force_generic_plan" : "auto",
  ]);
  const procedure = nameOf(statement, side, way);
  try {
    const { rows } = await client.query<{ us: number }>(`call ${procedure}($1, $2, $3, $4, $5, $6, null)`, [
      context,
      tenant.tenant,
      tenant.actor,
      tenant.project,
      tenant.ids,
      turns,
    ]);
    return rows[0]?.us ?? Number.NaN;
  } catch (cause) {
    throw new Error(`${procedure} for the ${tenant.size} tenant: ${String(cause)}`, { cause });
  }
}

const nameOf = ({ name }: Statement, side: Side, way: Way): string => `bench."${name}, ${side}, ${way}"`;

/**
 * A procedure that takes so many turns and returns the mean time of one, in µs. Each is the only statement of its
 * transaction but for the context, as in a request, and is rolled back: what one turn finds, the next one finds. The
 * clock runs for the statement alone.
 */
function timingProcedure(statement: Statement, side: Side, way: Way): string {
  const { kind, name, [side]: text } = statement;
  return `create procedure ${nameOf(statement, side, way)}(
      context text, its_tenant uuid, its_actor uuid, its_project uuid, ids uuid[], turns int, inout us float8
    ) language plpgsql as $bench$
    declare
      its_id uuid; answer record; began timestamptz; spent interval := '0';
    begin
      for turn in 1..turns loop
        ${kind === "read" ? "set transaction read only;" : ""}
        perform set_config('app.tenant', context, true);
        its_id := ${name === "insert" ? "uuidv7()" : "ids[1 + turn % cardinality(ids)]"};
        began := clock_timestamp();
        ${way === "prepared" ? inlined(text, kind) : executed(text, kind)};
        spent := spent + (clock_timestamp() - began);
        rollback;
      end loop;
      us := extract(epoch from spent) * 1e6 / turns;
    end $bench$`;
}

function inlined(text: string, kind: Statement["kind"]): string {
  const own = renamed(text, (name) => `its_${name}`);
  return kind === "read" ? own.replace(/^select/, "perform") : `${own} into answer`;
}

function executed(statement: string, kind: Statement["kind"]): string {
  const { text, names } = numbered(statement);
  const into = kind === "read" ? "" : " into answer";
  const using = names.length > 0 ? ` using ${names.map((name) => `its_${name}`).join()}` : "";
  return `execute $text$${text}$text$${into}${using}`;
}
