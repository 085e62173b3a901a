import { createFactory } from "hono/factory";
import type { Caller } from "./identity/caller.ts";
import type { TenantDb } from "./db/client.ts";
import type { Standing } from "./tenant/limits.ts";

/** Milliseconds that a request waited for others, for its Server-Timing. */
export type Spans = { admit?: number; db?: number };

/** What each step of the pipeline adds to the request's context. */
export type Edge = {
  Bindings: Env & {
    /** Optional, in wrangler.toml: a flood guard by tenant in front of its object. */
    TENANT_GUARD?: RateLimit;
  };
  Variables: {
    /** From the first step: `X-Request-Id`. */
    requestId: string;
    spans: Spans;
    /** From identify: who is calling, of which tenant. */
    caller: Caller;
    /** From admit: what is left of the tenant's limits. */
    standings: Standing[];
    /** From admit: the tenant's rows, and no others. */
    db: TenantDb;
  };
};

export const factory = createFactory<Edge>();
