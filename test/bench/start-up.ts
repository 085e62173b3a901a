import { setTimeout as delay } from "node:timers/promises";
import { spread, type Spread } from "./figures.ts";
import { bundleText, serve, type Bundle } from "./workerd.ts";

/** How often each Worker is started. */
export const STARTS = 7;
const EMPTY = "export default { fetch() { return new Response(); } };";

export type Start = { bundle: Bundle; variables: Record<string, string> };

/**
 * Milliseconds that each Worker adds to the time from the start of a fresh workerd to its first answer to
 * `GET /health`, whatever that is: those of an empty Worker are taken off, start by start.
 */
export async function measureStartUp<Name extends string>(
  bench: AsyncDisposableStack,
  starts: Record<Name, Start>,
): Promise<Record<Name, Spread>> {
  const names = Object.keys(starts) as Name[];
  const empty = { bundle: bundleText(bench, EMPTY), variables: {} };
  const added = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let start = 0; start < STARTS; start++) {
    const base = await timeStart(bench, empty);
    for (const name of names) added[name].push((await timeStart(bench, starts[name])) - base);
  }
  return Object.fromEntries(names.map((name) => [name, spread(added[name])])) as Record<Name, Spread>;
}

async function timeStart(bench: AsyncDisposableStack, { bundle, variables }: Start): Promise<number> {
  await delay(100); // The process before may still be ending.
  const started = performance.now();
  const worker = await serve(bench, bundle, variables);
  const response = await fetch(`http://127.0.0.1:${worker.port}/health`);
  await response.arrayBuffer();
  const took = performance.now() - started;
  await worker.stop();
  return took;
}
