import type { Admitted } from "./load.ts";

/**
 * The most requests that were surely admitted within some half-open interval of `ms`: those that were asked and
 * answered in it. A request that was decided in it but asked before it or answered after it is left out.
 */
export function worstWindow(admitted: readonly Admitted[], ms: number): number {
  const asked = Float64Array.from(admitted, (request) => request.asked).sort();
  const answered = Float64Array.from(admitted, (request) => request.answered).sort();
  let [worst, ended] = [0, 0];
  for (const [before, start] of asked.entries()) {
    while (ended < answered.length && (answered[ended] ?? Infinity) < start + ms) ended += 1;
    worst = Math.max(worst, ended - before);
  }
  return worst;
}
