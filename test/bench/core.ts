import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { serialize } from "node:v8";
import type { Policy } from "../../src/policy.ts";
import { Ledger } from "../../src/tenant/limits/ledger.ts";
import { Limits } from "../../src/tenant/limits/limits.ts";

const TENANTS = [1, 100, 10_000, 100_000];
const LIMITS = [10, 1_000, 30_000, 1_000_000];
const DECISIONS = 100_000;
const REPETITIONS = 5;
/** Decisions in a row for one tenant, of which the first finds nothing of it in the processor's caches. */
const IN_A_ROW = 64;

/** Of the pure core in Node: ns a decision, bytes of a tenant in memory, bytes of its stored row. */
export type Core = {
  byTenants: { tenants: number; ns: number; scatteredNs: number; bytes: number }[];
  byLimit: { limit: number; ns: number; withRowsNs: number; rowBytes: number }[];
};

/** Measures the pure core in a process of its own, which ends with `bench`. */
export async function measureCore(bench: AsyncDisposableStack): Promise<Core> {
  const interrupted = new AbortController();
  bench.defer(() => interrupted.abort());
  const run = promisify(execFile)(process.execPath, ["--expose-gc", import.meta.filename], {
    signal: interrupted.signal,
  });
  return JSON.parse((await run).stdout) as Core;
}

/** ns a call of `step`: the least of several repetitions, since others on this machine only add to it. */
function timePerCall(step: () => void): number {
  const times = Array.from({ length: REPETITIONS }, () => {
    const started = performance.now();
    for (let call = 0; call < DECISIONS; call++) step();
    return ((performance.now() - started) * 1e6) / DECISIONS;
  });
  return Math.min(...times);
}

/** So many tenants in one process: one asked many times in a row, then the next, and each time another one. */
function measureTenants(tenants: number): Core["byTenants"][number] {
  const policies = [{ name: "minute", limit: 30_000_000, window: 60 }];
  globalThis.gc?.();
  const before = process.memoryUsage.rss();
  const ledgers = Array.from({ length: tenants }, () => new Ledger(undefined, 0));
  let [calls, chosen] = [0, 0];
  const stepping = (inARow: number) => (): void => {
    calls += 1;
    // An order that no cache foresees.
    if (calls % inARow === 0) chosen = (Math.imul(chosen, 1_103_515_245) + 12_345) >>> 0;
    const now = Math.floor(calls / 2);
    const ledger = ledgers[chosen % tenants];
    ledger?.decide(policies, 1, now);
    if (ledger?.due(now)) ledger.confirmed();
  };
  for (const ledger of ledgers) {
    ledger.decide(policies, 1, 0);
    if (ledger.due(0)) ledger.confirmed();
  }
  globalThis.gc?.();
  const bytes = (process.memoryUsage.rss() - before) / tenants;
  const [warm, scattered] = [stepping(IN_A_ROW), stepping(1)];
  for (let call = 0; call < DECISIONS; call++) warm();
  return { tenants, ns: timePerCall(warm), scatteredNs: timePerCall(scattered), bytes };
}

/** One tenant, asked for a quarter more than it may have: the decision alone, and with the rows that it makes due. */
function measureLimit(limit: number): Core["byLimit"][number] {
  const policies = [{ name: "minute", limit, window: 60 }];
  const limits = new Limits();
  const ns = timeSaturated(limit, (now) => void limits.decide(policies, 1, now));
  const ledger = new Ledger(undefined, 0);
  const keep = (now: number): void => {
    ledger.decide(policies, 1, now);
    if (ledger.due(now)) ledger.confirmed();
  };
  return {
    limit,
    ns,
    withRowsNs: timeSaturated(limit, keep),
    rowBytes: serialize({ snapshot: limits.snapshot(), reserve: limit }).length,
  };
}

function timeSaturated(limit: Policy["limit"], decide: (now: number) => void): number {
  const interval = 60_000 / (limit * 1.25);
  let calls = 0;
  const step = (): void => decide(Math.floor(++calls * interval));
  const full = Math.max(limit * 1.25, DECISIONS);
  for (let call = 0; call < full; call++) step();
  return timePerCall(step);
}

if (import.meta.main) {
  measureTenants(1); // Compiled before it is measured.
  const byLimit = LIMITS.map(measureLimit);
  console.log(JSON.stringify({ byTenants: TENANTS.map(measureTenants), byLimit } satisfies Core));
}
