import { createHmac } from "node:crypto";
import type { KeyRing, NamedKey } from "../settings.ts";
import type { Site } from "./places.ts";

// What opens a site is derived from SITE_KEYS: a site is a row, and no secret. Passwords belong to a Postgres server, as its
// roles do, and context keys to a database, so that one database's key opens no other.

/** What the passwords and context keys of a server are derived from. */
export type Derivation = Pick<Site, "server" | "secret" | "generation">;

function derive(keys: KeyRing, { server, secret, generation }: Derivation, ...what: string[]): Buffer {
  const found = keys.find(({ kid }) => kid === secret);
  if (!found) throw new Error(`SITE_KEYS has no key ${secret}, which a site's passwords were made with`);
  return createHmac("sha256", found.key)
    .update(JSON.stringify([server, generation, ...what]))
    .digest();
}

/** The password of a role at a site's server. Throws when `keys` lack the one that it was made with. */
export const passwordOf = (keys: KeyRing, of: Derivation, role: string): string =>
  derive(keys, of, "password", role).toString("base64url");

/** The key of the signed contexts of a site's database. Throws as passwordOf() does. */
export const contextKeyOf = (keys: KeyRing, of: Derivation & Pick<Site, "database">): NamedKey => ({
  kid: derive(keys, of, "kid", of.database ?? "").toString("hex", 0, 4),
  key: new Uint8Array(derive(keys, of, "context key", of.database ?? "")),
});

/** The generation that comes after this one: what a site's rotation goes to. */
export const nextGeneration = <Of extends Derivation>(keys: KeyRing, of: Of): Of => ({
  ...of,
  secret: keys[0].kid,
  generation: of.generation + 1,
});
