import { fillTenant, makeGround } from "./grounds.ts";
import { measureCopy, measureFences, measureHeld, measureRate } from "./move-parts.ts";
import { reportMove, type Found } from "./move-report.ts";
import { shown } from "./figures.ts";
import type { Options, Result } from "./subject.ts";

const ROWS = 1_000_000;
/** Beside it, to see what depends on a tenant's size. */
const FEW_ROWS = 10_000;
/** What is copied beside other tenants' requests and beside COPY. */
const COPIED_ROWS = 100_000;
const NEIGHBOUR_ROWS = 10_000;

const PARTS = ["fence", "held", "rate", "copy"] as const;

/** What a tenant and its neighbours notice of a move, and how fast it is. */
export async function move(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { connections, only, rows = ROWS, say } = options;
  const unknown = only.find((name) => !PARTS.some((part) => part === name));
  if (unknown !== undefined) throw new Error(`There is no part ${unknown}, only ${PARTS.join(", ")}.`);
  const isWanted = (part: (typeof PARTS)[number]) => only.length === 0 || only.includes(part);
  say("starting two Postgres servers, bundling the Worker");
  const ground = await makeGround(bench, connections);
  const neighbour = await fillTenant(ground, "neighbour", NEIGHBOUR_ROWS);
  const found: Found = {};
  // Before any tenant has moved: it takes all fences away.
  if (isWanted("fence")) {
    say("measuring requests with and without fences");
    found.fences = await measureFences(bench, ground, neighbour, options);
  }
  if (isWanted("rate") || isWanted("copy")) {
    const copied = await fillTenant(ground, "copied", Math.min(rows, COPIED_ROWS));
    say(`moving ${shown(copied.rows)} rows at the default rate`);
    found.rate = await measureRate(bench, ground, copied, neighbour);
    say("moving them without a limit, and copying them as pg_dump | psql would");
    if (isWanted("copy")) found.copy = await measureCopy(bench, ground, copied, options);
  }
  if (isWanted("held")) {
    say(`loading ${shown(rows)} rows`);
    const tenants = [
      await fillTenant(ground, "small", Math.min(rows, FEW_ROWS)),
      await fillTenant(ground, "large", rows),
    ];
    found.held = await measureHeld(bench, ground, tenants, options);
  }
  return reportMove(options, found);
}
