import { sql } from "drizzle-orm";
import * as v from "valibot";
import { tenantsToSweep } from "../db/across-tenants.ts";
import { query, type Given } from "../db/query.ts";
import { PLAN_AUDIT_DAYS } from "../product/plans.ts";
import { findHome } from "../tenant/stub.ts";
import { openForObject } from "../tenant/news.ts";
import { EdgeRecord, homeOf } from "../tenant/record.ts";
import { controlOf } from "./jobs.ts";

/** A tenant is looked at once a day, whether it works or not. */
const EVERY_HOURS = 24;
/** Tenants that one sweep looks at: every ten minutes, that is 14,400 a day. */
const TENANTS_A_SWEEP = 100;
/** Rows of a kind that are deleted at once, and how often at most in one sweep. */
const ROWS_AT_ONCE = 2000;
const MAX_ROUNDS = 10;
const SITE_TIMEOUT_MS = 10_000;
const DAY_MS = 86_400_000;

const inControl = query((db, { most }: Given<{ most: number }>) =>
  db.execute(sql`select forget_old(${most}) as is_more`),
);
const ofUsage = query((db, { most }: Given<{ most: number }>) =>
  db.execute(sql`select forget_usage(${most}) as is_more`),
);
const atSite = query((db, { before, most }: Given<{ before: string; most: number }>) =>
  db.execute(sql`select forget_old(${before}::timestamptz, ${most}) as is_more`),
);
const Answer = v.tuple([v.object({ is_more: v.boolean() })]);
const Due = v.array(v.object({ tenant: EdgeRecord }));

/** The tenants of which what is old has not been deleted for a day. */
export const dueTenants = async () =>
  v.parse(Due, await tenantsToSweep(EVERY_HOURS, TENANTS_A_SWEEP)).map(({ tenant }) => tenant);

/**
 * Deletes what is old of a tenant: sessions, invitations and keys that are over, jobs, requests that were repeated, usage, and the
 * audit trail as far as its plan keeps it. Should there be very much, the rest comes the next time.
 */
export async function forgetOld(record: EdgeRecord, now: number): Promise<void> {
  const { id, plan } = record;
  const days = PLAN_AUDIT_DAYS[plan];
  const before = days === null ? "-infinity" : new Date(now - days * DAY_MS).toISOString();
  const home = homeOf(record);
  const site = openForObject("courier", id, SITE_TIMEOUT_MS, {
    home,
    findHome: (epoch, isClosed) => findHome(id, epoch, isClosed),
  });
  const most = ROWS_AT_ONCE;
  try {
    await untilDone(() => site.write({ done: atSite({ before, most }) }));
  } finally {
    // Last, and in any case: it says that the tenant was looked at, so that those at a site out of reach keep nobody waiting.
    await untilDone(() => controlOf(id).write({ done: inControl({ most }), "": ofUsage({ most }) }));
  }
}

async function untilDone(forget: () => Promise<{ done: { rows: unknown[] } }>): Promise<void> {
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    const { done } = await forget();
    if (!v.parse(Answer, done.rows)[0].is_more) return;
  }
}
