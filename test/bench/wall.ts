import { makeBed, runSql } from "./bed.ts";
import { installProcedures, startStopwatch, type Inside } from "./inside-postgres.ts";
import { inspectPlans } from "./plans.ts";
import { connect, makeSides, type Sides } from "./sides.ts";
import { STATEMENTS } from "./statements.ts";
import type { Options, Result } from "./subject.ts";
import { loadFirst, loadRest, planTenants, sampleTenants } from "./tenancy.ts";
import { reportWall } from "./wall-report.ts";
import { measureRequests } from "./whole-requests.ts";

/** The database as it was with ten tenants. */
const FEW = "bench_few";
const ROWS = 5_000_000;
/** Asked at both numbers of tenants, in turn. */
const SCALED = STATEMENTS.filter(({ name }) => name === "point read" || name === "page of 50");

/** Statements behind the signed context, beside the same ones by hand through a role that RLS does not bind. */
export async function wall(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { rounds, rows = ROWS, say } = options;
  say("starting Postgres");
  const bed = await makeBed(bench, 20);
  const sides = await makeSides(bed);
  const first = await connect(bench, bed.superuserUrl);
  // The audit trail is no part of the wall, and by hand there is no context that it could be written from.
  await first.query(
    "drop trigger if exists audit_row on tasks; drop trigger if exists audit_row on projects",
  );
  await planTenants(first, rows);
  await installProcedures(first, STATEMENTS);
  say("loading ten tenants");
  await loadFirst(first);
  await first.end(); // A database that is in use cannot be copied.
  await runSql(bed.stack.superuserUrl, `create database ${FEW} template partywall`);

  say("loading all tenants, which takes some minutes");
  const superuser = await connect(bench, bed.superuserUrl);
  await loadRest(superuser);
  const tenants = await sampleTenants(superuser);
  const plans = await inspectPlans(superuser, sides, STATEMENTS, tenants);
  say("measuring inside Postgres");
  const stopwatch = await startStopwatch(bench, sides);
  const inside = await stopwatch(STATEMENTS, tenants, rounds);
  const fewStopwatch = await startStopwatch(bench, { ...sides, urls: inDatabase(FEW, sides.urls) });
  const median = tenants.filter(({ size }) => size === "median");
  const [few, all]: [Inside[], Inside[]] = [[], []];
  for (let round = 1; round <= rounds; round++) {
    few.push(...(await fewStopwatch(SCALED, median, 1)));
    all.push(...(await stopwatch(SCALED, median, 1)));
  }
  say("measuring whole requests");
  const requests = await measureRequests(bed.stack.endpoint, sides, STATEMENTS, tenants, rounds);
  return reportWall({ rounds, rows }, { tenants, plans, inside, few, all, requests });
}

function inDatabase(name: string, urls: Sides["urls"]): Sides["urls"] {
  const move = (text: string): string => {
    const url = new URL(text);
    url.pathname = name;
    return url.href;
  };
  return { walled: move(urls.walled), byHand: move(urls.byHand), alone: move(urls.alone) };
}
