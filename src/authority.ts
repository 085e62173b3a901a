// Who may do what, and to whom. Routes and tests read it here; `npm run db:migrate` gives Postgres the same as
// functions (drizzle/authority.ts), so that its triggers hold on every path: routes, cascades and bulk changes alike.

import { PRODUCT_KEY_SCOPES, PRODUCT_SCOPES } from "./product/scopes.ts";

export const ROLES = ["viewer", "member", "admin", "owner"] as const;
export type Role = (typeof ROLES)[number];

/** What an issuer may make of somebody: an owner is made by owners alone. */
export const ISSUED_ROLES = ["viewer", "member", "admin"] as const;
export type IssuedRole = (typeof ISSUED_ROLES)[number];

/** What an operator whom the tenant lets in may do: read, or change content too. */
export type SupportRole = "support" | "support_write";

/** As what somebody may act: with the rights of a role, of a credential that is no user's session, or as the tenant's object. */
export type ActingAs = Role | SupportRole | "api_key" | "invitation" | "issuer" | "object";

/** What a role may do; a scope is `resource:action`. Each role may also do what the one before it may. */
const OWN_SCOPES = {
  viewer: [...PRODUCT_SCOPES.viewer, "members:read", "usage:read", "tenant:read"],
  member: PRODUCT_SCOPES.member,
  admin: [
    ...PRODUCT_SCOPES.admin,
    "members:write",
    "api_keys:read",
    "api_keys:write",
    "audit:read",
    "export",
    "tenant:write",
  ],
  owner: [...PRODUCT_SCOPES.owner, "import", "support:write", "tenant:delete"],
} as const satisfies Record<Role, readonly string[]>;

export type Scope = (typeof OWN_SCOPES)[Role][number];

/** What an API key may be given. */
export const API_KEY_SCOPES = [
  ...PRODUCT_KEY_SCOPES,
  "members:read",
  "audit:read",
  "usage:read",
  "export",
] as const satisfies Scope[];
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

const member = [...OWN_SCOPES.viewer, ...OWN_SCOPES.member];
const admin = [...member, ...OWN_SCOPES.admin];

/** What each role may do. A request may do what the role in its credential may, whatever its user is by now. */
export const SCOPES: Record<Role, readonly Scope[]> = {
  viewer: OWN_SCOPES.viewer,
  member,
  admin,
  owner: [...admin, ...OWN_SCOPES.owner],
};

const reads = SCOPES.viewer.filter((scope) => scope.endsWith(":read"));

/**
 * What an operator may do whom the tenant lets in: read what a viewer reads; with the tenant's leave to write, also what the
 * product lets members do. Nothing of the control plane is theirs to change, nor is an export or the audit trail to read.
 */
export const SUPPORT_SCOPES: Record<SupportRole, readonly Scope[]> = {
  support: reads,
  support_write: [...new Set([...reads, ...PRODUCT_SCOPES.viewer, ...PRODUCT_SCOPES.member])],
};

/**
 * Which members each actor may let in, change and remove: both the role that a member has and the one that it gets have
 * to be among these. Everybody may leave who acts with the whole of their own role.
 */
export const MANAGES: Record<ActingAs, readonly Role[]> = {
  viewer: [],
  member: [],
  admin: ["viewer", "member", "admin"],
  owner: ROLES,
  api_key: [],
  support: [],
  support_write: [],
  object: [],
  // A tenant's own identity provider never speaks with an owner's rights.
  issuer: ["viewer", "member", "admin"],
  // It says what its maker could give, and ends when its maker no longer can.
  invitation: ROLES,
};

/** The roles that include this one, itself among them: a credential stands while its user has one of these. */
export const atLeast = (role: Role): Role[] => ROLES.slice(ROLES.indexOf(role));
