import type { ROLES } from "../db/schema.ts";

export type Role = (typeof ROLES)[number];

/** What a role may do; a scope is `resource:action`. Each role may do what the one before it may. */
const OWN_SCOPES = {
  viewer: ["projects:read", "tasks:read", "tenant:read"],
  member: ["projects:write", "tasks:write"],
  admin: ["tenant:write"],
  owner: ["tenant:delete"],
} as const satisfies Record<Role, readonly string[]>;

export type Scope = (typeof OWN_SCOPES)[Role][number];

export const SCOPES: Record<Role, readonly Scope[]> = {
  viewer: OWN_SCOPES.viewer,
  member: [...OWN_SCOPES.viewer, ...OWN_SCOPES.member],
  admin: [...OWN_SCOPES.viewer, ...OWN_SCOPES.member, ...OWN_SCOPES.admin],
  owner: [...OWN_SCOPES.viewer, ...OWN_SCOPES.member, ...OWN_SCOPES.admin, ...OWN_SCOPES.owner],
};

/** Who is calling, as a verified credential says. Nothing in it comes from the client unsigned. */
export type Caller = {
  readonly tenantId: string;
  readonly userId: string;
  readonly sessionId: string;
  readonly role: Role;
};
