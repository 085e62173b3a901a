import { sql } from "drizzle-orm";
import * as v from "valibot";
import { identityDb, rethrow } from "../db/client.ts";
import { PLANS, TENANT_STATUSES } from "../db/schema.ts";
import type { Policy } from "./limits.ts";
import { PLAN_POLICIES } from "./plans.ts";

const Limit = v.object({
  name: v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_]*$/)),
  limit: v.pipe(v.number(), v.integer(), v.minValue(0)),
  window: v.union([v.literal("month"), v.pipe(v.number(), v.integer(), v.minValue(1))]),
});

export const TenantName = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(100));

/** A tenant's name in hosts and sign-ins: one DNS label, in lower case. */
export const Slug = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "lower-case letters, digits and inner hyphens, 63 at most"),
);

/** What the edge knows of a tenant: a copy of its row in Postgres, of the version that it names. */
export const EdgeRecord = v.object({
  id: v.pipe(v.string(), v.uuid()),
  slug: v.string(),
  name: v.string(),
  plan: v.picklist(PLANS),
  status: v.picklist(TENANT_STATUSES),
  limits: v.nullable(v.pipe(v.array(Limit), v.minLength(1))),
  version: v.number(),
});
export type EdgeRecord = v.InferOutput<typeof EdgeRecord>;

/** An EdgeRecord in SQL, of the tenants row with the alias t. */
export const edgeRecord = sql`json_build_object('id', t.id, 'slug', t.slug, 'name', t.name, 'plan', t.plan,
  'status', t.status, 'limits', t.limits, 'version', t.version)`;

/** The tenant's record as Postgres has it now, or undefined when there is no such tenant. */
export async function loadRecord(tenantId: string): Promise<EdgeRecord | undefined> {
  const { rows } = await identityDb
    .execute(sql`select ${edgeRecord} as tenant from tenants t where t.id = ${tenantId}`)
    .catch(rethrow);
  const [row] = v.parse(v.array(v.object({ tenant: EdgeRecord })), rows);
  return row?.tenant;
}

/** The tenant's own policies if an operator set any, else its plan's. */
export const policiesOf = ({ limits, plan }: EdgeRecord): readonly Policy[] => limits ?? PLAN_POLICIES[plan];
