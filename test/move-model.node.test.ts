import { expect, it } from "vitest";
import { faultOf } from "./support/node/move-model.ts";

// The moves' protocol as it is, against models of what it works with: under every schedule a tenant's requests are answered
// as if it had never moved. MOVE_SCHEDULES says how many; MOVE_SEED runs one of them alone.

const SCHEDULES = Number(process.env["MOVE_SCHEDULES"] ?? 10_000);
const SEED = process.env["MOVE_SEED"];
/** Schedules between which whoever runs the tests is answered. */
const AT_ONCE = 100;

/** The first schedule with a fault, as its trace; empty if there is none. */
async function firstFault(): Promise<string> {
  const seeds = SEED === undefined ? Array.from({ length: SCHEDULES }, (_, at) => at) : [Number(SEED)];
  for (const seed of seeds) {
    if (seed % AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    if ((await faultOf(seed)) !== undefined)
      return `With MOVE_SEED=${seed}:\n${await faultOf(seed, { isTraced: true })}`;
  }
  return "";
}

it("answers a tenant that is moved as if it were not, whoever crashes and whatever comes late", async () => {
  expect(await firstFault()).toBe("");
}, 300_000);
