/** As src/product/scopes.ts. */
export const PRODUCT_SCOPES = {
  viewer: ["projects:read", "tasks:read"],
  member: ["projects:write", "tasks:write"],
  admin: [],
  owner: [],
} as const;

export const PRODUCT_KEY_SCOPES = ["projects:read", "projects:write", "tasks:read", "tasks:write"] as const;
