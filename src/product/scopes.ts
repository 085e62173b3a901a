/**
 * The product's own scopes, `resource:action`, by the lowest role that has them: each role also has those of the roles
 * before it. `src/authority.ts` adds partywall's.
 */
export const PRODUCT_SCOPES = {
  viewer: ["projects:read", "tasks:read"],
  member: ["projects:write", "tasks:write"],
  admin: [],
  owner: [],
} as const;

/** Those of them that an API key may be given. */
export const PRODUCT_KEY_SCOPES = ["projects:read", "projects:write", "tasks:read", "tasks:write"] as const;
