import { pingDatabase } from "../db/client.ts";
import { remembers } from "../memory.ts";
import { within } from "../within.ts";
import { tenantObject } from "./stub.ts";
import { CAN_JOIN } from "../env.ts";

/** How long after its start one probe answers for all: an outage shows within this time. */
const SHARED_MS = 1_000;
/** A part that takes longer is out of reach. */
const TIMEOUT_MS = 5_000;

/** A part of the service that is out of reach, and why. */
type Outage = { part: string; cause: string };
type Probe = { startedAt: number; outages: Promise<Outage[]>; isDone: boolean };

/** The only one. */
const PROBE = "all";
const probes = remembers<Probe>("probes");

/**
 * What is out of reach of this isolate, as of a second ago at most: however many ask, one probe a second is made.
 * `keepAlive` is the request's `waitUntil`: others may wait for the probe that this one makes.
 */
export function findOutages(keepAlive: (probe: Promise<unknown>) => void): Promise<readonly Outage[]> {
  const last = probes.get(PROBE);
  const isRecent = last !== undefined && Date.now() - last.startedAt < SHARED_MS;
  if (last && isRecent && (last.isDone || CAN_JOIN)) return last.outages;
  const probe: Probe = { startedAt: Date.now(), outages: probeParts(), isDone: false };
  probes.set(PROBE, probe);
  keepAlive(probe.outages.then(() => (probe.isDone = true)));
  return probe.outages;
}

async function probeParts(): Promise<Outage[]> {
  const parts: Record<string, Promise<void>> = {
    postgres: pingDatabase(),
    // The object of no tenant: it holds nothing.
    durable_object: tenantObject("ready").ping(),
  };
  const outages = await Promise.all(
    Object.entries(parts).map(([part, answer]) =>
      within(TIMEOUT_MS, answer).then(
        () => [],
        (cause: unknown) => [{ part, cause: String(cause) }],
      ),
    ),
  );
  return outages.flat();
}
