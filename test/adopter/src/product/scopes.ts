const READS = [
  "notes:read",
  "customers:read",
  "invoices:read",
  "attachments:read",
  "tags:read",
  "reports:read",
] as const;
const WRITES = [
  "notes:write",
  "customers:write",
  "invoices:write",
  "attachments:write",
  "tags:write",
] as const;

export const PRODUCT_SCOPES = {
  viewer: READS,
  member: WRITES,
  admin: [],
  owner: [],
} as const;

/** Those of them that an API key may be given. */
export const PRODUCT_KEY_SCOPES = [...READS, ...WRITES] as const;
