import type { BatchItem } from "drizzle-orm/batch";
import type { NeonHttpDatabase } from "drizzle-orm/neon-http";

/**
 * What builds queries. It has no connection: a TenantDb runs what it builds. And no relations (`db.query`): those would join
 * by whatever a schema says, and a join by part of a key reads a tenant's whole table. See joined().
 */
export type Builder = Omit<NeonHttpDatabase, "batch" | "$client" | "transaction" | "query">;

/** The queries of one transaction, by the names that their results go by. They run in this order. */
export type Batch = Record<string, BatchItem<"pg">>;
export type Results<B extends Batch> = { [Name in keyof B]: B[Name]["_"]["result"] };
/** Queries, or what builds them. */
export type Queries<B extends Batch> = B | ((db: Builder) => B);

/**
 * One tenant's database. Each call is one round trip: one transaction in the tenant's signed context, so its queries see
 * and touch that tenant's rows alone, all or none: `const { project: [row] } = await db.read({ project: byId({ id }) })`.
 */
export type TenantDb = {
  /** Runs in a READ ONLY transaction. */
  read<B extends Batch>(queries: Queries<B>): Promise<Results<B>>;
  write<B extends Batch>(queries: Queries<B>): Promise<Results<B>>;
};

/** A tenant's people, for what concerns them in all their tenants too. */
export type IdentityDb = TenantDb & {
  /**
   * As write(), after statements that run in no tenant's context: on what is of all tenants, such as an account.
   */
  writeAfter<Before extends Batch, Within extends Batch>(
    before: Queries<Before>,
    within: Queries<Within>,
  ): Promise<Results<Before> & Results<Within>>;
};
