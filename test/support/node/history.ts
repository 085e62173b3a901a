import { worstWindow } from "../../bench/windows.ts";
import type { Admitted } from "../../bench/load.ts";

// What a run did and saw, and what must be true of it whatever broke meanwhile.

/** A row that was asked for, over and over under one Idempotency-Key until that was answered or given up. */
type Write = { name: string; acknowledged: boolean };

/** A request with a session's credential, and when it was asked and answered, in ms of one clock. */
type Use = { session: string; asked: number; status: number };

/** When it was acknowledged that a session had ended. */
type SignOut = { session: string; acknowledged: number };

export type History = {
  writes: Write[];
  /** Names of the rows that are there in the end. */
  found: string[];
  /** Requests that were admitted of a tenant with the limit. */
  admitted: Admitted[];
  limit: { units: number; ms: number };
  uses: Use[];
  signOuts: SignOut[];
  /** Repeats of a refresh, in time, that were refused. */
  refusedRefreshes: string[];
};

/** Everything that must not have happened, in words; nothing when all is well. */
export function faultsOf(history: History): string[] {
  const { writes, found, admitted, limit, uses, signOuts, refusedRefreshes } = history;
  const times = new Map<string, number>();
  for (const name of found) times.set(name, (times.get(name) ?? 0) + 1);
  const names = new Set(writes.map(({ name }) => name));
  const most = worstWindow(admitted, limit.ms);
  const endOf = new Map(signOuts.map(({ session, acknowledged }) => [session, acknowledged]));
  return [
    ...writes
      .filter(({ name, acknowledged }) => acknowledged && !times.has(name))
      .map(({ name }) => `${name} is lost`),
    ...[...times].filter(([, count]) => count > 1).map(([name, count]) => `${name} is there ${count} times`),
    ...[...times.keys()].filter((name) => !names.has(name)).map((name) => `nobody wrote ${name}`),
    ...(most > limit.units ? [`${most} were admitted in a window of ${limit.units}`] : []),
    ...uses
      .filter(({ session, asked, status }) => status === 200 && asked > (endOf.get(session) ?? Infinity))
      .map(({ session }) => `${session} came back`),
    ...refusedRefreshes.map((session) => `${session} was not refreshed`),
  ];
}
