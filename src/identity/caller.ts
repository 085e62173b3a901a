import type { API_KEY_SCOPES, ROLES } from "../db/schema.ts";

export type Role = (typeof ROLES)[number];

/** What a role may do; a scope is `resource:action`. Each role may do what the one before it may. */
const OWN_SCOPES = {
  viewer: ["projects:read", "tasks:read", "members:read", "usage:read", "tenant:read"],
  member: ["projects:write", "tasks:write"],
  admin: ["members:write", "api_keys:read", "api_keys:write", "audit:read", "tenant:write"],
  owner: ["tenant:delete"],
} as const satisfies Record<Role, readonly string[]>;

export type Scope = (typeof OWN_SCOPES)[Role][number];
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

const member = [...OWN_SCOPES.viewer, ...OWN_SCOPES.member];
const admin = [...member, ...OWN_SCOPES.admin];

export const SCOPES: Record<Role, readonly Scope[]> = {
  viewer: OWN_SCOPES.viewer,
  member,
  admin,
  owner: [...admin, ...OWN_SCOPES.owner],
};

/**
 * What a request showed to say who calls: verified as far as this isolate can, in no part from the client unsigned.
 * Whether it still stands, the tenant's object says. `version` is the user's when the token was made.
 */
export type Credential =
  | {
      readonly kind: "user";
      readonly tenantId: string;
      readonly userId: string;
      readonly sessionId: string;
      readonly role: Role;
      readonly version: number;
    }
  | { readonly kind: "api_key"; readonly tenantId: string; readonly hash: string };

/** Who calls, as of this request. `id` is the actor's: the user's or the key's. */
export type Caller = { readonly tenantId: string; readonly id: string; readonly scopes: readonly Scope[] } & (
  | { readonly kind: "user"; readonly role: Role; readonly sessionId: string }
  | { readonly kind: "api_key" }
);
