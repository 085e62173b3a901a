/**
 * Where rows are kept: the control plane, or a site of tenants' content. `schema` is the Postgres schema of its tables; the
 * name is part of each signed context, so that a context for one place opens no other.
 */
export type Place = { readonly name: string; readonly schema: string };

export const CONTROL: Place = { name: "control", schema: "control" };

/** The site of most tenants. */
export const SHARED_SITE = {
  site: "shared",
  name: "site shared",
  schema: "public",
} as const satisfies Place & {
  site: string;
};

/** How often a tenant's content has moved, counted from 1. */
export const FIRST_EPOCH = 1;
