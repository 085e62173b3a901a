import * as v from "valibot";

const bytes = (encoded: string) => new Uint8Array(Buffer.from(encoded, "base64url"));

export type NamedKey = { kid: string; key: Uint8Array<ArrayBuffer> };
/** Keys by name, the one in use first. */
export type KeyRing = [NamedKey, ...NamedKey[]];

const namedKey = (pair: string): NamedKey => ({ kid: pair.slice(0, 8), key: bytes(pair.slice(9)) });

const postgresUrl = v.pipe(v.string(), v.regex(/^postgres(ql)?:\/\/[^:@/]+:[^@/]+@[^/]+\/.+$/));

/**
 * Named keys, the one in use first: `kid:key,kid:key`, each kid of 8 characters and each key of 32 bytes in base64url.
 * All are good; a `+` in front says of a key that it is the next one.
 */
export const keyRing = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9]{8}:[\w-]{43}(,\+?[a-z0-9]{8}:[\w-]{43})*$/),
  v.transform((text): KeyRing => {
    const [first = "", ...others] = text.replaceAll("+", "").split(",");
    return [namedKey(first), ...others.map(namedKey)];
  }),
);

const ofAnyAlgorithm = {
  kid: v.pipe(v.string(), v.nonEmpty()),
  x: v.string(),
  d: v.exactOptional(v.string()),
};
const Jwk = v.variant("alg", [
  v.object({
    kty: v.literal("OKP"),
    alg: v.literal("Ed25519"),
    crv: v.literal("Ed25519"),
    ...ofAnyAlgorithm,
  }),
  v.object({
    kty: v.literal("EC"),
    alg: v.literal("ES256"),
    crv: v.literal("P-256"),
    y: v.string(),
    ...ofAnyAlgorithm,
  }),
]);

/** The cost of a password's hash: scrypt's N is 2^14, as OWASP advises with r = 8 and p = 5, and as workerd allows at most. */
const COST = 14;

/**
 * The peppers of passwords, in the form of a key ring; all are tried. `original` is PASSWORD_PEPPER, the first one. For tests, which
 * make thousands of hashes, a key may have a lower cost behind it: `kid:key:8`.
 */
export const pepperRing = v.pipe(
  v.string(),
  v.regex(/^(original|[a-z0-9]{8}:[\w-]{43}(:8)?)(,\+?(original|[a-z0-9]{8}:[\w-]{43}(:8)?))*$/),
  v.transform((text) => {
    const [first = "", ...others] = text.replaceAll("+", "").split(",");
    return [namedPepper(first), ...others.map(namedPepper)] as const;
  }),
);

function namedPepper(text: string) {
  if (text === "original") return { kid: text, key: undefined, cost: COST };
  const [kid = "", key = "", cost = COST] = text.split(":");
  return { kid, key: bytes(key), cost: Number(cost) };
}

/** A host that cannot be one on the Internet (RFC 6761). */
const isReserved = (url: string) =>
  /^(localhost|127\.0\.0\.1|\[::1\]|.*\.(localhost|test))$/.test(new URL(url).hostname);

/**
 * A JWK Set (RFC 7517): the first key signs, and all verify. Another one with its private part `d` is the next to
 * sign, one without it is retired.
 */
export const signingKeys = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    keys: v.pipe(
      v.tupleWithRest([Jwk], Jwk),
      v.check(([current]) => current.d !== undefined),
      v.check((keys) => new Set(keys.map(({ kid }) => kid)).size === keys.length),
    ),
  }),
);

const KEY_RING =
  "kid:key[,kid:key], each an 8-character id and 32 random bytes in base64url, the one in use first";

/** Each variable: how it is read, and what to set it to. */
export const VARIABLES = {
  DATABASE_URL: [postgresUrl, "postgres://partywall_app:password@host/database"],
  ACCOUNT_DATABASE_URL: [postgresUrl, "postgres://partywall_account:password@host/database"],
  IDENTITY_DATABASE_URL: [postgresUrl, "postgres://partywall_identity:password@host/database"],
  OPERATOR_DATABASE_URL: [postgresUrl, "postgres://partywall_operator:password@host/database"],
  OPERATOR_TOKEN: [v.pipe(v.string(), v.regex(/^[\w-]{43}$/)), "32 random bytes in base64url"],
  NEON_FETCH_ENDPOINT: [
    v.optional(v.union([v.literal(""), v.pipe(v.string(), v.url())])),
    "the URL of a local Neon endpoint, or nothing for Neon itself",
  ],
  NEON_API_KEY: [
    v.pipe(v.optional(v.string(), ""), v.regex(/^[!-~]*$/)),
    "a key of Neon's API, for what tenants' own projects use, or nothing",
  ],
  NEON_ORG_ID: [
    v.pipe(v.optional(v.string(), ""), v.regex(/^[a-z0-9-]*$/)),
    "the id of the Neon organization with tenants' own projects, such as org-ocean-art-12345678; nothing without NEON_API_KEY",
  ],
  // Loopback alone: to any other address the key would be given away.
  NEON_API_URL: [
    v.pipe(v.optional(v.string(), ""), v.regex(/^(http:\/\/(127\.0\.0\.1|localhost)(:\d+)?)?$/)),
    "an http origin on this machine that answers as Neon's API, for tests only, or nothing for Neon itself",
  ],
  TENANT_CONTEXT_KEYS: [keyRing, KEY_RING],
  SITE_KEYS: [keyRing, KEY_RING],
  SIGNUP_SITE: [
    v.pipe(v.optional(v.string(), "shared"), v.regex(/^[a-z][a-z0-9-]{0,39}$/)),
    "the site where sign-up makes tenants, such as shared",
  ],
  TOKEN_SIGNING_KEYS: [
    signingKeys,
    "a JWK Set in JSON, of keys for Ed25519 or ES256, the signing one first and private",
  ],
  OPAQUE_TOKEN_KEYS: [keyRing, KEY_RING],
  PASSWORD_PEPPER: [
    v.pipe(
      v.string(),
      v.regex(/^[\w-]{43}$/),
      v.transform((text) => bytes(text)),
    ),
    "32 random bytes in base64url, never to be changed",
  ],
  PASSWORD_PEPPERS: [
    v.pipe(v.optional(v.string(), "original"), pepperRing),
    "original, or kid:key[,original] after a rotation; kid:key:8 for cheap hashes, at a .test host alone",
  ],
  SIGN_UP: [
    v.optional(v.picklist(["immediate", "verify_first"]), "immediate"),
    "immediate, or verify_first where sign-up is not to tell whether an address has an account",
  ],
  UNVERIFIED_MAY: [
    v.optional(v.picklist(["use", "invite"]), "use"),
    "use, or invite where an account may invite people before its address is confirmed",
  ],
  PASSKEY_DOMAIN: [
    v.pipe(v.optional(v.string(), ""), v.regex(/^([a-z0-9-]+(\.[a-z0-9-]+)*)?$/)),
    "the domain that passkeys are made for, such as example.com, or nothing for the host of ISSUER",
  ],
  BROWSER_SESSIONS: [
    v.pipe(
      v.optional(v.picklist(["on", "off"]), "off"),
      v.transform((text) => text === "on"),
    ),
    "on for refresh tokens in cookies, or off",
  ],
  CLOSING_GRACE_DAYS: [
    v.pipe(v.optional(v.string(), "30"), v.regex(/^\d{1,4}$/), v.transform(Number)),
    "the days for which a tenant that closes can be restored, such as 30",
  ],
  BACKUP_DAYS: [
    v.pipe(v.optional(v.string(), "30"), v.regex(/^\d{1,4}$/), v.transform(Number)),
    "the days for which the databases' backups and history go back, such as 30",
  ],
  ISSUER: [v.pipe(v.string(), v.url()), "the URL of this API, such as https://api.example.com"],
  API_KEY_ENVIRONMENT: [
    v.pipe(v.string(), v.regex(/^[a-z]{1,16}$/)),
    "the word in each API key that says where it is good, such as live",
  ],
  API_NAME: [v.optional(v.string(), "partywall"), "what the API is called"],
  BASE_DOMAIN: [
    v.pipe(v.optional(v.string(), ""), v.regex(/^([a-z0-9-]+(\.[a-z0-9-]+)*)?$/)),
    "the domain whose subdomains are tenants' slugs, or nothing",
  ],
  TENANT_LOCATION_HINT: [
    v.picklist(["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"]),
    "a location hint of Durable Objects, such as weur",
  ],
  LOG_REQUESTS: [
    v.pipe(
      v.optional(v.picklist(["on", "off"]), "on"),
      v.transform((text) => text === "on"),
    ),
    "on or off",
  ],
  ALLOWED_ORIGINS: [
    v.pipe(
      v.optional(v.string(), ""),
      v.transform((text) => text.split(",").filter(Boolean)),
    ),
    "origins with commas between them, or nothing",
  ],
  // Loopback alone: any other address would lead inside some network.
  LOCAL_ISSUERS: [
    v.pipe(
      v.optional(v.string(), ""),
      v.regex(/^(http:\/\/(127\.0\.0\.1|localhost)(:\d+)?(,|$))*$/),
      v.transform((text) => text.split(",").filter(Boolean)),
    ),
    "http origins on this machine with commas between them, for development only, or nothing",
  ],
  ACCESS_TEAM_URL: [
    v.optional(v.union([v.literal(""), v.pipe(v.string(), v.url(), v.regex(/^https?:.*[^/]$/))]), ""),
    "the URL of the Cloudflare Access team in front of the operators' routes, such as https://example.cloudflareaccess.com, or nothing",
  ],
  ACCESS_AUD: [
    v.optional(v.string(), ""),
    "the audience tag of the Access application in front of the operators' routes, or nothing",
  ],
  MAIL_URL: [
    v.optional(v.union([v.picklist(["", "log", "cloudflare"]), v.pipe(v.string(), v.url())]), ""),
    "the URL that takes mail, cloudflare for the binding EMAIL, log to write mail into a local log, or nothing to send none",
  ],
  MAIL_FROM: [v.optional(v.string(), ""), "the sender's address, such as partywall <no-reply@example.com>"],
  MAIL_TOKEN: [v.optional(v.string(), ""), "the bearer token of MAIL_URL, or nothing"],
  ACCOUNT_URL: [
    v.optional(v.union([v.literal(""), v.pipe(v.string(), v.url(), v.regex(/^https?:[^#]+$/))]), ""),
    "the URL of the page that links in mails open, without a #, such as https://app.example.com/account, or nothing",
  ],
  INVITATION_URL: [
    v.optional(v.union([v.literal(""), v.pipe(v.string(), v.url(), v.includes("{token}"))]), ""),
    "a URL with {token} in it, such as https://app.example.com/join#{token}, or nothing",
  ],
} as const satisfies Record<string, readonly [v.GenericSchema, string]>;

type Entries = { [Name in keyof typeof VARIABLES]: (typeof VARIABLES)[Name][0] };
const Settings = v.object(
  Object.fromEntries(Object.entries(VARIABLES).map(([name, [schema]]) => [name, schema])) as Entries,
);

/**
 * A service that sends mail has to be told from whom, only tests hash passwords cheaply, a team lets people through to more
 * than this API, and Neon's API asks for the organization.
 */
const Consistent = v.pipe(
  Settings,
  v.forward(
    v.partialCheck(
      [["PASSWORD_PEPPERS"], ["ISSUER"]],
      ({ PASSWORD_PEPPERS, ISSUER }) =>
        isReserved(ISSUER) || PASSWORD_PEPPERS.every(({ cost }) => cost >= COST),
    ),
    ["PASSWORD_PEPPERS"],
  ),
  v.forward(
    v.partialCheck(
      [["MAIL_URL"], ["MAIL_FROM"]],
      ({ MAIL_URL, MAIL_FROM }) => MAIL_URL === "" || MAIL_URL === "log" || MAIL_FROM !== "",
    ),
    ["MAIL_FROM"],
  ),
  v.forward(
    v.partialCheck(
      [["ACCESS_TEAM_URL"], ["ACCESS_AUD"]],
      ({ ACCESS_TEAM_URL, ACCESS_AUD }) => (ACCESS_TEAM_URL === "") === (ACCESS_AUD === ""),
    ),
    ["ACCESS_AUD"],
  ),
  v.forward(
    v.partialCheck(
      [["NEON_API_KEY"], ["NEON_ORG_ID"]],
      ({ NEON_API_KEY, NEON_ORG_ID }) => NEON_API_KEY === "" || NEON_ORG_ID !== "",
    ),
    ["NEON_ORG_ID"],
  ),
);

export type Settings = v.InferOutput<typeof Settings>;

/** A variable that is missing or not well formed, and a sentence that says what to set it to, never its value. */
export type Fault = { name: string; sentence: string };

/** A configuration with which nothing can start. */
export class UnusableSettings extends Error {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    super(
      `partywall cannot start:\n${faults.map(({ sentence }) => `  ${sentence}`).join("\n")}\n` +
        "Run `npm run dev` once to generate local values into .dev.vars, or see docs/deploy.md.",
    );
    this.faults = faults;
  }
}

/** The configuration, checked whole. Throws one UnusableSettings that names every variable that is at fault. */
export function readSettings(variables: object): Settings {
  const parsed = v.safeParse(Consistent, variables, { abortPipeEarly: true });
  if (parsed.success) {
    if (parsed.output.MAIL_URL === "cloudflare" && !("EMAIL" in variables)) {
      const sentence = "MAIL_URL is cloudflare, and the binding EMAIL is missing. Add it to wrangler.toml.";
      throw new UnusableSettings([{ name: "MAIL_URL", sentence }]);
    }
    return parsed.output;
  }
  const names = new Set(parsed.issues.map((issue) => issue.path?.[0].key));
  throw new UnusableSettings(
    Object.entries(VARIABLES)
      .filter(([name]) => names.has(name))
      .map(([name, [, meaning]]) => {
        const value: unknown = Reflect.get(variables, name);
        const state = value === undefined || value === "" ? "missing" : "not well formed";
        return { name, sentence: `${name} is ${state}. Set it to ${meaning}.` };
      }),
  );
}
