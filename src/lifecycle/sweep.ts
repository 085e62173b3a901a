import * as v from "valibot";
import { forgetExpired } from "../db/accounts.ts";
import { dueWork, tenantsAmong, totalUsage } from "../db/across-tenants.ts";
import { bindings } from "../env.ts";
import { mailSupportNews, mailUsageWarnings } from "../identity/owner-mails.ts";
import { archiveOf } from "./archive.ts";
import type { Act } from "../db/operators.ts";
import { eraseTenantAgain, eraseTenantInTime, eraseTenantNow } from "./closing.ts";
import { LEDGER } from "./erasure.ts";
import { dropExport, startJob, type Job } from "./jobs.ts";
import { measureTenant } from "../usage/storage.ts";
import { dueTenants, forgetOld } from "./retention.ts";

/** A job on which nobody has worked for so long has stopped: a step that is tried again notes that sooner. */
const IDLE_MINUTES = 30;

/** Tenants are looked at for so long in one sweep, which the platform ends after 15 minutes. */
const MAX_RETENTION_MS = 300_000;

const Due = v.tuple([
  v.object({
    closed: v.array(v.string()),
    stopped: v.array(
      v.object({ kind: v.picklist(["export", "import"]), tenant: v.string(), job: v.string() }),
    ),
    erasing: v.array(v.string()),
    expired: v.array(v.object({ tenant: v.string(), job: v.string() })),
  }),
]);

/**
 * Does what is due for tenants without a request of theirs: erases those whose grace period is over, has jobs worked on that
 * have stopped, deletes archives, links and rows whose time is over, erases again who came back from a backup, measures what
 * tenants store, once a day each, adds up what they use, and mails owners of support and of their limits. One tenant's failure
 * keeps no other waiting; what failed is due the next time.
 */
export async function sweep(now: number): Promise<void> {
  const [{ closed, stopped, erasing, expired }] = v.parse(Due, await dueWork(IDLE_MINUTES));
  for (const tenant of closed)
    await attempt("erasure not begun", tenant, async () => {
      await eraseTenantInTime(tenant);
      await startErasure(tenant);
    });
  // Under a name of its own: the instance before may have ended.
  const again = (job: Job) => startJob(job, `${job.job}-${now}`);
  for (const job of stopped) await attempt("job not resumed", job.tenant, () => again(job));
  for (const tenant of erasing)
    await attempt("erasure not resumed", tenant, () => again({ kind: "erasure", tenant, job: tenant }));
  for (const { tenant, job } of expired)
    await attempt("archive not deleted", tenant, async () => {
      await bindings.ARCHIVES.delete(archiveOf(tenant, "exports", job));
      await dropExport(tenant, job);
    });
  await eraseWhoCameBack(now);
  await attempt("expired links not deleted", undefined, async () => {
    while (await forgetExpired());
  });
  const until = Date.now() + MAX_RETENTION_MS;
  for (const tenant of await dueTenants()) {
    await attempt("storage not measured", tenant.id, () => measureTenant(tenant));
    await attempt("old rows not deleted", tenant.id, () => forgetOld(tenant, now));
    if (Date.now() > until) break;
  }
  await attempt("usage not added up", undefined, totalUsage);
  await attempt("owners not mailed of support", undefined, () => mailSupportNews(null));
  await attempt("owners not mailed of usage", undefined, mailUsageWarnings);
}

/** Closes the tenant for good, and has it erased, for an operator. Throws `not_found`. */
export async function eraseAtOnce(tenant: string, act: Act): Promise<void> {
  await eraseTenantNow(tenant, act);
  await startErasure(tenant);
}

const startErasure = (tenant: string) => startJob({ kind: "erasure", tenant, job: tenant });

/** Compares the ledger in R2 with the tenants that there are: a restored database has those who were erased since. */
async function eraseWhoCameBack(now: number): Promise<void> {
  for (let cursor: string | undefined, isWhole = false; !isWhole;) {
    const page = await bindings.ARCHIVES.list({ prefix: LEDGER, ...(cursor && { cursor }) });
    const erased = page.objects.map(({ key }) => key.slice(LEDGER.length));
    const back =
      erased.length === 0 ? [] : v.parse(v.array(v.object({ id: v.string() })), await tenantsAmong(erased));
    for (const { id } of back)
      await attempt("erasure not repeated", id, async () => {
        await eraseTenantAgain(id);
        await startJob({ kind: "erasure", tenant: id, job: id }, `${id}-${now}`);
      });
    isWhole = !page.truncated;
    if (page.truncated) cursor = page.cursor;
  }
}

async function attempt(
  message: string,
  tenant: string | undefined,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    console.error({ message, tenant, cause: String(error) });
  }
}
