import * as v from "valibot";
import { API_KEY_SCOPES } from "../authority.ts";
import { PLANS } from "../db/control.ts";
import { FIRST_EPOCH, SHARED_SITE, Site, type Home } from "../db/places.ts";
import type { Policy } from "../policy.ts";
import { TENANT_STATUSES } from "../tenant-states.ts";
import { PLAN_POLICIES } from "../product/plans.ts";
import { listOf } from "../list-of.ts";
import { MAX_WINDOW_S } from "./limits/limits.ts";
import { MAX_UNITS } from "./limits/sliding-log.ts";

const Limit = v.object({
  name: v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_]{0,31}$/)),
  limit: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_UNITS)),
  window: v.union([
    v.literal("month"),
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_WINDOW_S)),
  ]),
});

/** A tenant's own policies: each answer's RateLimit headers name them all. */
export const Policies = listOf(Limit, 1, 8);

export const TenantName = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(100));

/** What the edge knows of a tenant: a copy of its row in Postgres, of the version that it names. */
export const EdgeRecord = v.object({
  id: v.pipe(v.string(), v.uuid()),
  slug: v.string(),
  name: v.string(),
  plan: v.picklist(PLANS),
  status: v.picklist(TENANT_STATUSES),
  limits: v.nullable(Policies),
  version: v.number(),
  /** None is the shared site. */
  site: v.nullish(Site),
  epoch: v.optional(v.number(), FIRST_EPOCH),
});
export type EdgeRecord = v.InferOutput<typeof EdgeRecord>;

/** An API key as the edge knows it. */
export const KeyRecord = v.object({
  id: v.string(),
  hash: v.string(),
  // A scope that the product no longer has is left out, and the rest of the key goes on.
  scopes: v.pipe(
    v.array(v.string()),
    v.transform((scopes) => API_KEY_SCOPES.filter((scope) => scopes.includes(scope))),
  ),
  expiresAt: v.nullable(v.number()),
  version: v.number(),
});
export type KeyRecord = Readonly<v.InferOutput<typeof KeyRecord>>;

/** The tenant's own policies if an operator set any, else its plan's. */
export const policiesOf = ({ limits, plan }: EdgeRecord): readonly Policy[] => limits ?? PLAN_POLICIES[plan];

/** Where the tenant's content is. */
export const homeOf = ({ site, epoch }: Pick<EdgeRecord, "site" | "epoch">): Home => ({
  site: site ?? SHARED_SITE,
  epoch,
});
