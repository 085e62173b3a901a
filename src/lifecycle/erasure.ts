import * as v from "valibot";
import { erasedPlaces, eraseTenant, finishErasure, noteErasure } from "../db/across-tenants.ts";
import { Site } from "../db/places.ts";
import { bindings, settings } from "../env.ts";
import { signStatement } from "../identity/access-token.ts";
import { tenantObject } from "../tenant/stub.ts";
import { deleteObjects, objectsOf } from "./archive.ts";
import { stateOf, type Table } from "./end.ts";
import { eraseRows } from "./erase-rows.ts";
import { JobSite } from "./job-site.ts";
import { claimJob, type Claim, type Job } from "./jobs.ts";
import { flipping, Pace, type Do } from "./steps.ts";
import { isSuperseded } from "./superseded.ts";

/** The `typ` of a receipt (RFC 8725, 3.11): so it is worth nothing as an access token. */
const RECEIPT_TYPE = "erasure-receipt+jwt";
/** Rows that a step deletes: what it begins again with when it fails. */
const ROWS_A_STEP = 50_000;
const DAY_S = 86_400;
/** SQLSTATEs of a schema that is not there any more: what a restore kept, and `moves clear` has dropped. */
const GONE = new Set(["3F000", "42883", "42P01"]);

/** Where the receipt of a tenant's erasure lies in R2, which no restore of a database takes back. */
export const LEDGER = "ledger/";

const Ledger = v.object({
  places: v.array(Site),
  erased: v.record(v.string(), v.record(v.string(), v.number())),
});

/**
 * Erases a tenant for good, step by step, each of which may be done again: its rows at every place where it ever had any, its
 * control plane, the people who are in no other tenant, its archives, and what its object keeps. Each place is closed first,
 * so that nothing comes in late. The receipt says what was counted before, and that nothing was found after.
 */
export async function runErasure(job: Job, step: Do): Promise<void> {
  const { tenant } = job;
  try {
    const places = await step("places", async () => (await ledgerOf(tenant))?.places);
    if (!places) return;
    const claim = await step("claim", async () => (await claimJob(job)) ?? null);
    // Without a claim its control plane is gone already, and its rows before that.
    if (claim)
      for (const place of places) {
        const isThere = await step(`close ${place.name}`, () => close(place, claim));
        if (!isThere) continue;
        const tables = await step(`count ${place.name}`, () => count(place, claim));
        for (let part = 1, isDone = false; !isDone; part++)
          isDone = await step(`erase ${place.name} ${part}`, () => erase(place, claim, tables));
        await step(`check ${place.name}`, () => check(place, claim));
      }
    await step("control plane", () => eraseTenant(tenant));
    await step("archives", () => deleteObjects(objectsOf(tenant)));
    await step("object", () => eraseObject(tenant));
    await step("receipt", () => giveReceipt(tenant));
  } catch (error) {
    // A newer attempt goes on with it.
    if (!isSuperseded(error)) throw error;
  }
}

async function ledgerOf(tenant: string) {
  const [found] = v.parse(v.array(Ledger), await erasedPlaces(tenant));
  return found;
}

/** Closes the place for all but this attempt, for good; false when the place is not there any more. */
async function close(place: Site, claim: Claim): Promise<boolean> {
  const site = new JobSite(place, claim);
  try {
    // The place that a move led to is one epoch ahead; this step, done before, may have left it in none.
    await flipping(() => site.keepOthersOut([claim.epoch, claim.epoch + 1, 0]));
    // In an epoch that nobody has a context of: it clears the change log, which may hold rows.
    await flipping(() => site.setFence("open", 0));
    await flipping(() => site.setFence("loading", 0));
    await flipping(() => site.setFence("closed", 0));
    return true;
  } catch (error) {
    if (GONE.has(stateOf(error) ?? "")) return false;
    throw error;
  }
}

/** Counts all rows, for the receipt. Returns the tables, parents first. */
async function count(place: Site, claim: Claim): Promise<Table[]> {
  const site = new JobSite(place, claim);
  const { tables } = await site.tables();
  const counts: Record<string, number> = {};
  for (const table of tables) counts[table.name] = await site.count(table);
  await noteErasure(claim.tenant, place.name, counts);
  return tables;
}

class Enough extends Error {}

/** Deletes as many rows as a step may; true when none is left. */
async function erase(place: Site, claim: Claim, tables: Table[]): Promise<boolean> {
  const pace = new Pace();
  let erased = 0;
  try {
    await eraseRows(new JobSite(place, claim), { tables }, async ({ rows }) => {
      erased += rows;
      await pace.after(rows);
      if (erased >= ROWS_A_STEP) throw new Enough();
    });
    return true;
  } catch (error) {
    if (error instanceof Enough) return false;
    throw error;
  }
}

/** Throws when anything is left, by a count of the place's own. */
async function check(place: Site, claim: Claim): Promise<void> {
  const left = await new JobSite(place, claim).leftBehind();
  const names = Object.keys(left);
  if (names.length > 0) throw new Error(`rows are left at ${place.name}, in ${names.join(", ")}`);
}

/** Has the tenant's object forget all that it keeps, and makes sure that it has. */
async function eraseObject(tenant: string): Promise<void> {
  await tenantObject(tenant).erase();
  if (!(await tenantObject(tenant).isEmpty())) throw new Error("the tenant's object still keeps something");
}

/** Signs what was erased, and enters it in the ledger: in the control plane, and in R2 beside it. */
async function giveReceipt(tenant: string): Promise<void> {
  const found = await ledgerOf(tenant);
  if (!found) return;
  const now = Math.floor(Date.now() / 1000);
  const receipt = await signStatement(RECEIPT_TYPE, {
    sub: tenant,
    erased: found.erased,
    verified: "no row with the tenant's id was found in any table at any of these places after the deletion",
    backups_until: new Date((now + settings.BACKUP_DAYS * DAY_S) * 1000).toISOString(),
  });
  // Before the control plane's: whoever finds one there can rely on this one.
  await bindings.ARCHIVES.put(`${LEDGER}${tenant}`, receipt);
  await finishErasure(tenant, receipt);
}
