import { createHmac } from "node:crypto";
import type { ActingAs } from "../authority.ts";
import type { NamedKey } from "../settings.ts";
import { FIRST_EPOCH, type Place } from "./places.ts";

/** How long a context is good for. An attacker inside a transaction can read his own, so it is short. */
export const CONTEXT_TTL_S = 60;

/** As what somebody may act, by the first letter of a context; `control.acting_as()` and `audit_row()` read it. */
const LETTERS = {
  viewer: "v",
  member: "m",
  admin: "a",
  owner: "o",
  api_key: "k",
  invitation: "i",
  issuer: "s",
  object: "d",
  support: "t",
  support_write: "w",
  job: "x",
} as const satisfies Record<ActingAs | "job", string>;

/**
 * On whose behalf a request acts: the id of a user, API key, invitation, issuer or operator, of the tenant for its own object, or
 * of a job that is done to its content, and the rights of its credential. `name` is what the audit trail calls an operator.
 */
export type Actor = { readonly id: string; readonly as: ActingAs | "job"; readonly name?: string };

const EPOCH_DIGITS = 8;

/**
 * The text that opens the wall of one place for one tenant, one actor and one database role, for a minute:
 * `<letter>1.<kid>.<tenant>.<actor>.<epoch>.<expiry>.<hmac-sha256>`, which `current_tenant_id()` verifies. `tenant` and the
 * actor's id are UUIDs, `now` is in ms. `epoch` counts the tenant's moves; for a job it is its attempt's fencing token.
 */
export function signContext(
  key: NamedKey,
  { name }: Pick<Place, "name">,
  role: string,
  tenant: string,
  actor: Actor,
  now: number,
  epoch = FIRST_EPOCH,
): string {
  const expiry = Math.floor(now / 1000) + CONTEXT_TTL_S;
  const text = `${LETTERS[actor.as]}1.${key.kid}.${tenant}.${actor.id}.${String(epoch).padStart(EPOCH_DIGITS, "0")}.${expiry}`;
  return `${text}.${createHmac("sha256", key.key).update(`${text}.${name}.${role}`).digest("hex")}`;
}

/** The inner and outer pads of HMAC-SHA256 for a key of at most 64 bytes, as `partywall.context_keys` keeps them. */
export function hmacPads(key: Uint8Array): { inner: Uint8Array; outer: Uint8Array } {
  const block = new Uint8Array(64);
  block.set(key);
  return { inner: block.map((byte) => byte ^ 0x36), outer: block.map((byte) => byte ^ 0x5c) };
}
