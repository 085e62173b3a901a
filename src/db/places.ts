import * as v from "valibot";

/**
 * Where rows are kept: the control plane, or a site of tenants' content. `schema` is the Postgres schema of its tables; the
 * name is part of each signed context, so that a context for one place opens no other.
 */
export type Place = { readonly name: string; readonly schema: string };

export const CONTROL: Place = { name: "control", schema: "control" };

/** How a tenant's content is kept: with others' in the same tables, in a schema of its own, or in a database of its own. */
export const SITE_KINDS = ["shared", "schema", "dedicated"] as const;

/**
 * A site: a schema of tenants' content, as the control plane's table `sites` describes it. Nothing in it is secret: its
 * logins' passwords and its database's context keys are derived (derived.ts).
 */
export const Site = v.object({
  name: v.string(),
  schema: v.string(),
  /** The Postgres server, by the name that its roles bear, and where it is; null for the control plane's own. */
  server: v.nullable(v.string()),
  host: v.nullable(v.string()),
  /** Null for the control plane's own. */
  database: v.nullable(v.string()),
  /** By the name of the key, and how often they were replaced, its passwords and context keys are derived. */
  secret: v.string(),
  generation: v.number(),
});
export type Site = v.InferOutput<typeof Site>;

/** The site of most tenants: schema `public` of the control plane's database, with its passwords and keys. */
export const SHARED_SITE: Site = {
  name: "shared",
  schema: "public",
  server: null,
  host: null,
  database: null,
  secret: "",
  generation: 0,
};

export const placeOf = ({ name, schema }: Pick<Site, "name" | "schema">): Place => ({
  name: `site ${name}`,
  schema,
});

export const SHARED_PLACE = placeOf(SHARED_SITE);

/** How often a tenant's content has moved, counted from 1. */
export const FIRST_EPOCH = 1;

/** Where a tenant's content is, and since which move. */
export type Home = { readonly site: Site; readonly epoch: number };

export const SHARED_HOME: Home = { site: SHARED_SITE, epoch: FIRST_EPOCH };
