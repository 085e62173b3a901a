import type { Role, Scope, SupportRole } from "./authority.ts";

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
      /** When its user last proved who they are, in s since 1970, and how (RFC 8176). */
      readonly authTime: number;
      readonly amr: readonly string[];
    }
  | { readonly kind: "api_key"; readonly tenantId: string; readonly hash: string }
  | SupportCredential;

/** An operator whom the tenant has let in: who that is, in which session of support, and what they may do. */
export type SupportCredential = {
  readonly kind: "support";
  readonly tenantId: string;
  readonly operatorId: string;
  readonly operator: string;
  readonly sessionId: string;
  readonly role: SupportRole;
};

/** Who calls, as of this request. `id` is the actor's: the user's, the key's or the operator's. */
export type Caller = { readonly tenantId: string; readonly id: string; readonly scopes: readonly Scope[] } & (
  | {
      readonly kind: "user";
      readonly role: Role;
      readonly sessionId: string;
      readonly authTime: number;
      readonly amr: readonly string[];
    }
  | { readonly kind: "api_key" }
  | {
      readonly kind: "support";
      readonly role: SupportRole;
      readonly sessionId: string;
      readonly name: string;
    }
);

/** A caller who is signed in: what lasts is granted by people alone. */
export type SignedIn = Extract<Caller, { kind: "user" }>;

/** For how long a proof of who calls is recent. */
const RECENT_S = 600;

/** Whether the user has proved who they are within ten minutes: what is done then, a stolen token alone does not do. */
export const isRecent = ({ authTime }: SignedIn): boolean => Date.now() / 1000 - authTime <= RECENT_S;
