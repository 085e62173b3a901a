import { MAX_FAULT_TEXT, MAX_FAULTS } from "../http/faults.ts";

// What /openapi.json says in words that no route says: see document.ts.

export type Schema = { [keyword: string]: unknown };
export type Parameter = {
  in: string;
  name: string;
  description?: string;
  required?: boolean;
  schema: Schema;
};
export type Header = { description: string; required?: boolean; schema: Schema };

export const INFO = {
  version: "1.0.0",
  summary: "A multi-tenant backend: each tenant sees its own data, within its own limits.",
  license: { name: "MIT", identifier: "MIT" },
};

/** How to begin, and what holds for all operations, in Markdown; `api` is where the API is. */
export const introduction = (api: string): string => `## Get a token

Sign up once, with a tenant of your own:

\`\`\`sh
curl ${api}/v1/signup -H 'content-type: application/json' \\
  -d '{"email": "you@example.com", "password": "a long passphrase",
       "tenant": {"name": "Acme", "slug": "acme"}}'
\`\`\`

Later, sign in:

\`\`\`sh
curl ${api}/v1/sessions -H 'content-type: application/json' \\
  -d '{"email": "you@example.com", "password": "a long passphrase"}'
\`\`\`

Both answer with an \`access_token\`, good for a few minutes, and a \`refresh_token\` to get the next one. Send it with
every request; programs send an API key in its place:

\`\`\`sh
curl ${api}/v1/me -H "authorization: Bearer $TOKEN"
\`\`\`

## What holds everywhere

- Errors are \`application/problem+json\` (RFC 9457): \`type\` leads to a page about the problem, and \`errors\` points at
  what is not valid.
- Lists come newest first, in pages: pass \`next_cursor\` back as \`cursor\`.
- What has an \`ETag\` is changed with that one in \`If-Match\`, so that nobody's change is lost.
- Send \`Idempotency-Key\` with what creates something, and it is safe to repeat.
- \`RateLimit\` says what is left of each limit of your tenant, and 429 when to come back.

The same for programs is [openapi.json](/openapi.json), from which \`npm run client\` makes a typed client.`;

/** partywall's own chapters; the product's come before the last two. */
export const TAGS = {
  Platform: "The service itself: whether it is up, its keys, its problems, its documentation.",
  Sessions: "Signing up, in, on and out.",
  Account: "Who is calling, and their own account: its address, password and second factors.",
  Tenant: "The caller's own tenant, and what is left of its limits.",
  Members: "Who is in the tenant, as what.",
  Invitations: "Asking somebody into the tenant by mail.",
  "API keys": "Credentials for programs. They never exceed the role of who made them.",
  Issuers: "The tenant's own identity providers, whose users it lets in.",
  Support: "Whether the service's operators may look into the tenant, and who of them is in.",
  Audit: "Who changed what, and when.",
  Operator: "For whoever runs this deployment.",
};

export const SECURITY_SCHEMES = {
  accessToken: {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description:
      "The `access_token` of a session: a user in one tenant, for a few minutes (RFC9068, verified as RFC8725 asks).",
  },
  apiKey: {
    type: "http",
    scheme: "bearer",
    bearerFormat: "pw_<environment>_<key>",
    description: "A `key` made under /v1/api-keys, for a program.",
  },
  operatorToken: {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description:
      "The `access_token` of an operator's session (verified as RFC8725 asks), or the secret OPERATOR_TOKEN of this deployment, which is an admin. Each route names the role that it takes at least: viewer, support or admin.",
  },
};

const text = (pattern: string, maxLength: number) => ({ type: "string", pattern, maxLength });
/** A list of RFC 9651 of items with parameters. */
const POLICIES = text('^"[a-z][a-z0-9_-]*"(;[a-z]=[0-9]+)+(, "[a-z][a-z0-9_-]*"(;[a-z]=[0-9]+)+)*$', 1024);

export const HEADERS = {
  "X-Request-Id": {
    description: "The request's name in every log: the client's own if well formed, else a new one.",
    required: true,
    schema: text("^[A-Za-z0-9_.-]{8,128}$", 128),
  },
  RateLimit: {
    description:
      "Of each policy, where a tenant's were asked: `r` cost units remain, and more come back in `t` seconds.",
    schema: POLICIES,
  },
  "RateLimit-Policy": {
    description: "Each of the tenant's policies: `q` cost units in `w` seconds.",
    schema: POLICIES,
  },
  "Retry-After": {
    description: "After so many seconds the request may pass.",
    required: true,
    schema: { type: "integer", format: "int32", minimum: 1, maximum: 2_678_400 },
  },
  "WWW-Authenticate": {
    description: "What the bearer token lacks (RFC 6750).",
    required: true,
    schema: text("^Bearer realm=", 512),
  },
  ETag: { description: "The version of what is answered.", required: true, schema: text('^(W/)?".+"$', 128) },
  Location: { description: "Where the new row is.", required: true, schema: text("^/", 512) },
  "Idempotency-Replayed": {
    description: "`true` when this is the first answer again.",
    schema: { type: "string", enum: ["true"] },
  },
} satisfies Record<string, Header>;

/** What is known of each parameter of this name, wherever it is taken. */
export const PARAMETERS: Record<string, Partial<Parameter>> = {
  id: { description: "The row's id." },
  user_id: { description: "The user's id." },
  session_id: { description: "The id of the session of support." },
  limit: {
    description: "How many to answer at most.",
    schema: { type: "integer", pattern: undefined, minimum: 1, maximum: 100, default: 50 },
  },
  cursor: { description: "The `next_cursor` of the page before." },
  q: { description: "Finds the rows that hold this text, in upper or lower case." },
  sort: { description: "The order: by this, or in reverse with `-` before it. Newest first by default." },
  "If-Match": {
    description: "Only if the row still has this ETag, or one of these; `*` is any.",
    schema: { maxLength: 1024 },
  },
  "Idempotency-Key": { schema: { maxLength: 512 } },
  "If-None-Match": {
    description: "Answers 304, without a body, while this is the ETag.",
    schema: text("^.+$", 1024),
  },
};

export const PROBLEM: Schema = {
  type: "object",
  description: "What went wrong (RFC 9457).",
  required: ["code", "type", "title", "status", "detail", "instance"],
  properties: {
    code: {
      type: "string",
      pattern: "^[a-z_]{1,64}$",
      description: "The problem's short name. /problems/{code} explains it; more may be added.",
      examples: ["not_found"],
    },
    type: {
      type: "string",
      format: "uri-reference",
      description: "Which problem it is, and where it is explained.",
      examples: ["/problems/not_found"],
    },
    title: { type: "string", description: "What is wrong, in a few words.", examples: ["Not found"] },
    status: { type: "integer", format: "int32", minimum: 400, maximum: 599, examples: [404] },
    detail: {
      type: "string",
      description: "What to do about it.",
      examples: ["There is no such thing here. Check the path and the id."],
    },
    instance: {
      type: "string",
      description: "The request's X-Request-Id.",
      examples: ["01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"],
    },
    errors: {
      type: "array",
      description: "What is not valid, as JSON pointers (RFC 6901) into the body, the query or the headers.",
      maxItems: MAX_FAULTS,
      items: {
        type: "object",
        required: ["pointer", "detail"],
        properties: {
          pointer: { type: "string", maxLength: MAX_FAULT_TEXT, examples: ["/name"] },
          detail: { type: "string", maxLength: MAX_FAULT_TEXT, examples: ["Required."] },
        },
      },
    },
    "violated-policies": {
      type: "array",
      items: { type: "string" },
      description: "The limits that are used up.",
    },
    challenge: { type: "string", description: "What to send back with the proof of a second factor." },
    methods: {
      type: "array",
      items: { type: "string", enum: ["totp", "passkey", "recovery_code"] },
      description: "By what the second factor can be proved.",
    },
    options: {
      type: "object",
      description: "What the browser's passkeys are asked with (PublicKeyCredentialRequestOptionsJSON).",
    },
    tenants: {
      type: "array",
      items: {
        type: "object",
        required: ["id", "slug", "name"],
        properties: { id: { type: "string" }, slug: { type: "string" }, name: { type: "string" } },
      },
      description: "The tenants that stand in the way, or of which one is to be chosen.",
    },
    error: { type: "string", description: "The error code that OAuth clients expect (RFC 6749, 5.2)." },
  },
};

/** What a text is, and looks like, by the name of the member that holds it. */
export const TEXTS: [name: RegExp, Schema][] = [
  [/^(?!request_id$)(.*_)?id$/, { format: "uuid", examples: ["01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"] }],
  [/_at$/, { format: "date-time", examples: ["2026-11-23T09:30:00.000Z"] }],
  [/_on$/, { format: "date", examples: ["2026-12-24"] }],
  [/^email$/, { format: "email", examples: ["ada@acme.test"] }],
  [/^password$/, { format: "password", examples: ["correct horse battery staple"] }],
  [/^slug$/, { examples: ["acme"] }],
  [/^name$/, { examples: ["Acme"] }],
  [/^title$/, { examples: ["Order the tiles"] }],
  [/^(next_)?cursor$/, { examples: ["b3BhcXVlIGFuZCBzaWduZWQ"] }],
];

/** What members of these names are like, where their schemas give no example. The product gives its own with `v.examples()`. */
export const VALUES: Record<string, unknown> = {
  access_token: "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYXQrand0In0.eyJzdWIiOiIwMTk3NmYyZSJ9.c2lnbmF0dXJl",
  account: "https://api.example.com/account",
  action: "insert",
  active: 12,
  amount: "0.42",
  approved_by: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
  as_of: "2026-11-01",
  attestationObject: "o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YQ",
  audience: "acme",
  authenticatorData: "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2M",
  bytes: 524_288,
  bytes_out: 1_048_576,
  bytes_stored: 20_971_520,
  challenge: "3q2-7w8mQ0m0pX0b5l1Zy2m7o1o0b1Jm",
  changed: "name",
  clientDataJSON: "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0",
  child_branch_bytes_month: "0",
  code: "492039",
  compute_unit_seconds: "500000",
  cost: "0.42",
  country: "DE",
  created_by: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
  currency: "USD",
  current_password: "correct horse battery staple",
  db_ms: 4810,
  description: "What is left to do before spring",
  device: "Firefox on Linux",
  docs: "https://api.example.com/docs",
  email_domains: "acme.test",
  error: "invalid_grant",
  errors: 0,
  expires_in: 600,
  "from string": "2026-11-01",
  health: "https://api.example.com/health",
  hint: "pw_live_4fTq",
  id: "KEDetxZcUfinhVi6Za5nZQ",
  instant_restore_bytes_month: "98344000",
  invited_by: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
  issuer: "https://id.acme.test",
  key: "pw_live_4fTq0Yb1RrW2vN8sJmXc7LhKdPz3Gu9Ea5Ti6Co",
  kid: "2026-11",
  limit: 3000,
  locale: "en",
  members: 8,
  minutes: 30,
  name: "minute",
  notes: "The grey ones, as in the kitchen",
  openapi: "https://api.example.com/openapi.json",
  overlap_s: 86_400,
  phase: "copying",
  plan: "startup",
  private_network_transfer_bytes: "0",
  project: "delicate-dawn-54854667",
  public_network_transfer_bytes: "2184000",
  quantity: "1204000",
  rawId: "KEDetxZcUfinhVi6Za5nZQ",
  reason: "The customer asked for it",
  receipt: "eyJhbGciOiJFZDI1NTE5In0.eyJlcmFzZWQiOnRydWV9.c2lnbmF0dXJl",
  recovery_code: "7q4m-k2xv-9d3t",
  recovery_codes: "7q4m-k2xv-9d3t",
  refresh_token: "pr_Yb1RrW2vN8sJmXc7LhKdPz3Gu9Ea5Ti6Co4fTq0",
  refused: 3,
  registered_by: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
  region: "eu-central-1",
  remaining: 2974,
  request_id: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
  requests: 1204,
  reset: 12,
  resource: "projects",
  role_claim: "groups",
  root_branch_bytes_month: "2500000000000",
  rows: 4210,
  scope: "projects:read projects:write",
  scopes: "projects:read",
  secret: "JBSWY3DPEHPK3PXP",
  sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  snapshot_storage_bytes_month: "0",
  signature: "MEUCIQDx1b7Zl0v3r2p9K4mJ8w",
  slug: "acme",
  source: "shared",
  start: "2026-11-23T00:00:00.000Z",
  status: "active",
  sub: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
  subject_token: "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkLmFjbWUudGVzdCJ9.c2lnbmF0dXJl",
  target: "eu-dedicated",
  tenant: "acme",
  tenants: 42,
  "to string": "2026-11-30",
  token: "pt_7LhKdPz3Gu9Ea5Ti6Co4fTq0Yb1RrW2vN8sJmXc",
  transports: "internal",
  total: "12.80",
  "total number": 8420,
  unit: "request",
  unit_price: "0.0000003",
  units: 1310,
  uri: "otpauth://totp/Acme:ada%40acme.test?secret=JBSWY3DPEHPK3PXP&issuer=Acme",
  user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
  userHandle: "AZdvLmpLfMOaMV0vix4MRw",
  "violated-policies": "minute",
  what: "Requests to the Worker",
  window: 60,
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
};

/** What is particular to the example of a schema: which of several members a request gives, or what a member is. */
export const EXAMPLES: Record<string, { only?: readonly string[]; with?: object }> = {
  ApiKey: { with: { name: "Nightly import" } },
  FactorConfirmation: { only: ["code"] },
  FactorProof: { only: ["challenge", "code"] },
  MadeApiKey: { with: { name: "Nightly import" } },
  MePatch: { with: { name: "Ada Lovelace" } },
  NewApiKey: { with: { name: "Nightly import" } },
  StepUp: { only: ["password"] },
};

/** The chapters in groups, in the order in which people meet them; what no group has stands with the product. */
export const GROUPS: Record<string, readonly string[]> = {
  "Sign in": ["Sessions", "Account"],
  "Your product": [],
  People: ["Members", "Invitations"],
  Keys: ["API keys", "Issuers"],
  Tenant: ["Tenant", "Support", "Audit"],
  "The service": ["Platform"],
};

/** The characters that texts of these formats take at most. */
export const LENGTHS: Record<string, number> = { uuid: 36, "date-time": 35, date: 10 };
