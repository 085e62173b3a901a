import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";

export const DEV_VARS = join(import.meta.dirname, "../.dev.vars");

/** The variables of this name from the environment, else from .dev.vars. Throws one error that names all missing. */
export function loadVariables<Name extends string>(names: readonly Name[]): Record<Name, string> {
  const local = readDevVars();
  const values = names.map((name) => [name, process.env[name] ?? local[name] ?? ""] as const);
  const missing = values.filter(([, value]) => value === "").map(([name]) => name);
  if (missing.length > 0) throw new Error(`Set ${missing.join(", ")} in the environment or in .dev.vars.`);
  return Object.fromEntries(values) as Record<Name, string>;
}

/** What the sites' logins are derived from, as far as it is set: without sites, nothing needs it. */
export function siteVariables(): { SITE_KEYS: string; SITE_MIGRATION_KEYS: string } {
  const known = { ...readDevVars(), ...process.env };
  return {
    SITE_KEYS: known["SITE_KEYS"] ?? "",
    SITE_MIGRATION_KEYS: known["SITE_MIGRATION_KEYS"] ?? "",
  };
}

/** What .dev.vars says; nothing when there is none. */
export function readDevVars(): Record<string, string | undefined> {
  return existsSync(DEV_VARS) ? parseEnv(readFileSync(DEV_VARS, "utf8")) : {};
}

/** Writes .dev.vars, for its owner's eyes only. */
export function writeDevVars(variables: Record<string, string>): void {
  const lines = Object.entries(variables).map(([name, value]) => `${name}='${value}'`);
  const head = "# Made by `npm run dev`: local secrets, ignored by git and worth nothing elsewhere.\n";
  writeFileSync(DEV_VARS, `${head}${lines.join("\n")}\n`, { mode: 0o600 });
}

const secret = () => randomBytes(32).toString("base64url");
export const namedSecret = () => `${randomBytes(4).toString("hex")}:${secret()}`;

/** A new private key for access tokens, named by its thumbprint (RFC 7638). */
export async function makeSigningKey(alg: "Ed25519" | "ES256" = "Ed25519") {
  // Only here: every command reads this file, and few make a key.
  const { calculateJwkThumbprint, exportJWK, generateKeyPair } = await import("jose");
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, alg, kid: await calculateJwkThumbprint(jwk) };
}

/** Fresh secrets for one deployment, local or not. */
export async function makeSecrets() {
  return {
    TENANT_CONTEXT_KEYS: namedSecret(),
    SITE_KEYS: namedSecret(),
    SITE_MIGRATION_KEYS: namedSecret(),
    TOKEN_SIGNING_KEYS: JSON.stringify({ keys: [await makeSigningKey()] }),
    OPAQUE_TOKEN_KEYS: namedSecret(),
    PASSWORD_PEPPER: secret(),
    OPERATOR_TOKEN: secret(),
  };
}

/** Which login each connection string is of. */
export const LOGINS = {
  DATABASE_URL: "partywall_app",
  ACCOUNT_DATABASE_URL: "partywall_account",
  IDENTITY_DATABASE_URL: "partywall_identity",
  OPERATOR_DATABASE_URL: "partywall_operator",
  MIGRATION_DATABASE_URL: "partywall_migrator",
} as const;

/** Connection strings of the five logins; passwords that `known` has stay. */
export function makeDatabaseUrls(host: string, known: Record<string, string | undefined> = {}) {
  const urls = Object.entries(LOGINS).map(([name, role]) => {
    const password = known[name] ? new URL(known[name]).password : secret();
    return [name, `postgres://${role}:${password}@${host}/partywall`];
  });
  return Object.fromEntries(urls) as Record<keyof typeof LOGINS, string>;
}
