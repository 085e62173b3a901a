import { BoundedMap } from "./bounded-map.ts";

/**
 * Everything that an isolate remembers from one request to the next, and how many entries of each at most. Any entry may
 * be forgotten at any time; the comment says what that costs. What belongs to a tenant is kept under its id.
 */
const MOST = {
  /** Verified access tokens, by their bytes. Costs one verification. */
  tokens: 4096,
  /** API keys that this server made, by their text. Costs one MAC and one hash. */
  api_keys: 4096,
  /** API keys that were valid. Costs a key that shares an address with a guesser one refusal. */
  valid_keys: 10_000,
  /** API keys that were not valid, and when to ask again. Costs one call to the object. */
  invalid_keys: 10_000,
  /** Networks and accounts that failed too often, and until when. Costs one more failed attempt. */
  guessers: 10_000,
  /** Refusals by tenants' objects. Costs one call to the object. */
  denials: 10_000,
  /** The cost of refused requests, by method and address (250 characters at most). Costs one full refusal. */
  refused_costs: 10_000,
  /** Slugs of tenants. Costs one call to the object. */
  tenants: 10_000,
  /** What is noted of tenants' requests until the next call to their objects. Costs figures of usage, which are then too low. */
  usage_notes: 10_000,
  /** Calls to tenants' objects that are under way. Costs one call that could have been shared. */
  lines: 10_000,
  /** Signed contexts, by tenant, actor, role and place. Costs one signature. */
  contexts: 10_000,
  /** Texts of one query, by the names of the values that it is given. Costs building it. */
  texts: 128,
  /** Ways to sites that are not the shared one, by login and generation. Costs making one, and nothing is sent for it. */
  connections: 1000,
  /** Servers whose passwords are being replaced. Costs one refused login. */
  generations: 100,
  /** Whether a database answers, by login. Costs requests that wait for a database that hangs. */
  reaches: 1000,
  /** Whether all parts of the service answer. Costs one probe. */
  probes: 1,
  /** The keys of issuers. Forgetting one of this kind or the next two costs one fetch. */
  issuer_keys: 200,
  /** Issuers that did not answer, and when. */
  issuer_failures: 200,
  /** Issuers that are being asked for their keys. */
  issuer_fetches: 200,
  /** Issuers that some tenant trusts. Forgetting one of this kind or the next costs one query. */
  trusted_issuers: 1000,
  /** Tenants that trust an issuer for an email domain. */
  trusts: 1000,
  /** What Neon says of projects, by project and days. Costs one request to Neon. */
  neon_figures: 200,
} as const;

const memories: { clear: () => void }[] = [];

/** An empty memory of this kind. Each kind is made by one module, when the Worker starts (texts: one for each query). */
export function remembers<Value>(what: keyof typeof MOST): BoundedMap<string, Value> {
  const memory = new BoundedMap<string, Value>(MOST[what]);
  memories.push(memory);
  return memory;
}

/** Forgets everything, as a new isolate would know nothing: for tests. */
export function forgetAll(): void {
  for (const memory of memories) memory.clear();
}
