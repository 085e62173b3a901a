import type { Role, Scope } from "./authority.ts";

export const ACCESS_TOKEN_TTL_S = 600;

/** How long what was revoked is remembered: longer than any access token lives, including one being made right then. */
export const REVOKED_FOR_S = 1.5 * ACCESS_TOKEN_TTL_S;

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

/** A caller who is signed in: what lasts is granted by people alone. */
export type SignedIn = Extract<Caller, { kind: "user" }>;
