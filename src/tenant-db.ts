import type { BatchItem, BatchResponse } from "drizzle-orm/batch";
import type { NeonHttpDatabase } from "drizzle-orm/neon-http";

export type Queries = readonly [BatchItem<"pg">, ...BatchItem<"pg">[]];
export type Statements = readonly BatchItem<"pg">[];
export type Results<Q extends Statements> = BatchResponse<Q>;

/**
 * One tenant's database. Each call is one round trip: one transaction in the tenant's signed context, so its
 * queries see and touch that tenant's rows alone, all or none. The results come in the queries' order.
 */
export type TenantDb = {
  /** Runs in a READ ONLY transaction. */
  read<const Q extends Queries>(queries: (db: NeonHttpDatabase) => Q): Promise<Results<Q>>;
  write<const Q extends Queries>(queries: (db: NeonHttpDatabase) => Q): Promise<Results<Q>>;
};

/** A tenant's people and their credentials. */
export type AccountDb = TenantDb & {
  /**
   * As write(), with statements before and after that run in no tenant's context: what is of all tenants, such as an
   * account. These name their tenant themselves.
   */
  writeAround<const Q extends Queries, const A extends Queries, const B extends Statements = []>(parts: {
    before?: (db: NeonHttpDatabase) => B;
    within: (db: NeonHttpDatabase) => Q;
    after: (db: NeonHttpDatabase) => A;
  }): Promise<{ before: Results<B>; within: Results<Q>; after: Results<A> }>;
};
