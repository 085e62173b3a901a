import { createHash } from "node:crypto";
import { createLocalJWKSet, errors, type CryptoKey, type JWSHeaderParameters } from "jose";
import * as v from "valibot";
import { CAN_JOIN, settings } from "../env.ts";
import { remembers } from "../memory.ts";
import { Problem } from "../problem.ts";
import { fetchSmallJson } from "../small-json.ts";
import { within } from "../within.ts";
import { isFetchable } from "./issuer-url.ts";

/** Keys of this age are fetched anew. */
const FRESH_MS = 10 * 60_000;
/** Keys of this age are still good while their issuer does not answer. */
const STALE_MS = 60 * 60_000;
/** A token may name a key that is newer than the keys known here; then these are fetched again, no sooner than this. */
const UNKNOWN_KEY_MS = 60_000;
/** How soon an issuer that did not answer is asked again. */
const RETRY_MS = 10_000;
/** An issuer that takes longer over one document is out of reach. */
const FETCH_TIMEOUT_MS = 3_000;
const MAX_DOCUMENT_BYTES = 64 * 1024;
/** As jose demands of who verifies, with an error of its own (RFC 7518, 3.3). */
const MIN_RSA_BITS = 2048;

const Jwk = v.looseObject({ kty: v.string() });
/** What is no key is passed over, as are keys of a kind that nobody here knows (RFC 7517, 5). */
const Jwks = v.object({
  keys: v.pipe(
    v.array(v.unknown()),
    v.transform((keys) => keys.filter((key) => v.is(Jwk, key))),
  ),
});
const Discovery = v.object({ issuer: v.string(), jwks_uri: v.pipe(v.string(), v.maxLength(2048)) });
const Stored = v.object({ jwks: Jwks, fetchedAt: v.number() });
type Stored = v.InferOutput<typeof Stored>;

type Keys = { fetchedAt: number; find: ReturnType<typeof createLocalJWKSet> };
type KeepAlive = (work: Promise<unknown>) => void;

const known = remembers<Keys>("issuer_keys");
/** When an issuer last did not answer as it should, and what it did. */
const failures = remembers<{ at: number; cause: string }>("issuer_failures");
const underWay = remembers<{ since: number; keys: Promise<Keys> }>("issuer_fetches");

/**
 * The issuer's public key for a token with this header, by way of its discovery document (OpenID Connect Discovery
 * 1.0). Throws `unavailable` when the issuer is out of reach, and jose's error when it has no such key. `keepAlive` is
 * the request's `waitUntil`.
 */
export async function issuerKey(
  issuer: string,
  header: JWSHeaderParameters,
  keepAlive: KeepAlive,
): Promise<CryptoKey> {
  const keys = await keysOf(issuer, FRESH_MS, STALE_MS, keepAlive);
  try {
    return await findKey(keys, header);
  } catch (error) {
    if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    const newer = await keysOf(issuer, UNKNOWN_KEY_MS, UNKNOWN_KEY_MS, keepAlive);
    if (newer === keys) throw error;
    return findKey(newer, header);
  }
}

/** How the keys of a Cloudflare Access team are called here: no issuer that a tenant names is called so. */
const ACCESS = "access ";

/**
 * The public key with which the Cloudflare Access team at this URL signs who it let through. Throws as issuerKey() does.
 */
export const accessKey = (team: string, header: JWSHeaderParameters, keepAlive: KeepAlive) =>
  issuerKey(ACCESS + team, header, keepAlive);

/** The key of a set that this header asks for. One that is malformed, or too weak to be trusted, is as good as none. */
async function findKey({ find }: Keys, header: JWSHeaderParameters): Promise<CryptoKey> {
  const key = await find(header).catch((cause: unknown) => {
    // What Web Crypto says of a key that it cannot import.
    throw cause instanceof errors.JOSEError ? cause : new errors.JWKSNoMatchingKey(undefined, { cause });
  });
  const { algorithm } = key;
  if ("modulusLength" in algorithm && Number(algorithm.modulusLength) < MIN_RSA_BITS)
    throw new errors.JWKSNoMatchingKey();
  return key;
}

/** The issuer's keys, fetched when older than `freshMs`; when it does not answer, those of up to `staleMs` will do. */
async function keysOf(issuer: string, freshMs: number, staleMs: number, keepAlive: KeepAlive): Promise<Keys> {
  const keys = known.get(issuer);
  if (keys && ageOf(keys) < freshMs) return keys;
  const failure = failures.get(issuer);
  const isResting = failure !== undefined && Date.now() - failure.at < RETRY_MS;
  let cause = failure?.cause;
  if (!isResting) {
    try {
      return await refresh(issuer, freshMs, keepAlive);
    } catch (error) {
      cause = String(error);
      failures.set(issuer, { at: Date.now(), cause });
    }
  }
  const stale = known.get(issuer);
  if (!stale || ageOf(stale) >= staleMs)
    throw new Problem("unavailable", {
      detail: "The issuer of the token is out of reach.",
      headers: { "retry-after": String(RETRY_MS / 1000) },
      cause: `${issuer}: ${cause}`,
    });
  if (!isResting) console.error({ message: "issuer keys not refreshed", issuer, cause });
  return stale;
}

const ageOf = ({ fetchedAt }: { fetchedAt: number }) => Date.now() - fetchedAt;

/** Gets the keys, once at a time for an issuer. */
function refresh(issuer: string, freshMs: number, keepAlive: KeepAlive): Promise<Keys> {
  const other = underWay.get(issuer);
  if (CAN_JOIN && other && Date.now() - other.since < 2 * FETCH_TIMEOUT_MS)
    return within(2 * FETCH_TIMEOUT_MS, other.keys);
  const keys = getKeys(issuer, freshMs, keepAlive).finally(() => underWay.delete(issuer));
  underWay.set(issuer, { since: Date.now(), keys });
  // The promise dies with the request that made it.
  keepAlive(keys.catch(() => {}));
  return keys;
}

/** The keys as the edge has them, if they are new enough, else as the issuer has them. */
async function getKeys(issuer: string, freshMs: number, keepAlive: KeepAlive): Promise<Keys> {
  const stored = await atEdge(issuer);
  const keys = stored && remember(issuer, stored);
  if (keys && ageOf(keys) < freshMs) return keys;
  const fetched = { jwks: await fetchJwks(issuer), fetchedAt: Date.now() };
  keepAlive(storeAtEdge(issuer, fetched));
  return remember(issuer, fetched);
}

/** Keeps the newest keys. */
function remember(issuer: string, { jwks, fetchedAt }: Stored): Keys {
  const there = known.get(issuer);
  if (there && there.fetchedAt >= fetchedAt) return there;
  const keys = { fetchedAt, find: createLocalJWKSet(jwks) };
  known.set(issuer, keys);
  return keys;
}

/** Under this API's own host, which nobody but this Worker answers for. */
const placeAtEdge = (issuer: string) =>
  new URL(`/.well-known/issuer-keys/${createHash("sha256").update(issuer).digest("hex")}`, settings.ISSUER)
    .href;

async function atEdge(issuer: string): Promise<Stored | undefined> {
  const answer = await caches.default.match(placeAtEdge(issuer));
  return answer && v.parse(Stored, await answer.json());
}

const storeAtEdge = (issuer: string, stored: Stored): Promise<void> =>
  caches.default.put(
    placeAtEdge(issuer),
    Response.json(stored, { headers: { "cache-control": `max-age=${STALE_MS / 1000}` } }),
  );

async function fetchJwks(issuer: string): Promise<v.InferOutput<typeof Jwks>> {
  if (issuer.startsWith(ACCESS))
    return v.parse(Jwks, await fetchJson(`${issuer.slice(ACCESS.length)}/cdn-cgi/access/certs`));
  const place = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const discovery = v.parse(Discovery, await fetchJson(place));
  if (discovery.issuer !== issuer) throw new Error(`${place} is another issuer's`);
  return v.parse(Jwks, await fetchJson(discovery.jwks_uri));
}

/** A small JSON document from a host that a tenant named. */
async function fetchJson(url: string): Promise<unknown> {
  if (!isFetchable(url)) throw new Error(`${url} is not to be fetched`);
  return fetchSmallJson(url, { timeoutMs: FETCH_TIMEOUT_MS, maxBytes: MAX_DOCUMENT_BYTES });
}
