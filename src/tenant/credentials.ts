import { BoundedMap } from "../bounded-map.ts";
import { ACCESS_TOKEN_TTL_S } from "../caller.ts";
import type { KeyRecord } from "./record.ts";

/** What a tenant's object is asked to judge: a user's token, as [user, session, the user's version], or a key's hash. */
export type Proof =
  | readonly [userId: string, sessionId: string, version: number]
  | readonly [keyHash: string];

/** What bears this id (a user, a session, a key) is void below this version. */
export type Floor = readonly [id: string, version: number];

/** Above every version: nothing that bears the id will ever be good again. */
export const GONE = Number.MAX_SAFE_INTEGER;

/** A floor outlives every token that was made before it, those that were just being made included. */
const FLOOR_TTL_MS = 1.5 * ACCESS_TOKEN_TTL_S * 1000;

/** Before the id, in the name of a stored floor. */
const FLOOR = "floor ";
type StoredFloor = { floor: number; until: number };

/** Deleted keys whose ids are remembered, should news of them still be on the way. */
const MAX_DELETED = 1000;

/** What there is to learn: keys made or changed, the ids of deleted ones, and what is void from now on. */
export type CredentialNews = {
  keys?: readonly KeyRecord[];
  deletedKeys?: readonly string[];
  floors?: readonly Floor[];
};

/**
 * Which of a tenant's credentials stand: its API keys, and what was revoked while tokens that do not know of it are
 * still about. What is learned is durable when the answer to whoever told it leaves the object.
 */
export class Credentials {
  readonly #storage: DurableObjectStorage;
  /** In the order of their end. */
  readonly #floors = new Map<string, StoredFloor>();
  /** By hash; with each key, the count of news with which it came. */
  readonly #keys = new Map<string, { key: KeyRecord; learned: number }>();
  // Not stored: without the key there is nothing to be revoked but what is on its way to this memory.
  readonly #deleted = new BoundedMap<string, true>(MAX_DELETED);
  #learned = 0;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    for (const key of storage.kv.get<KeyRecord[]>("keys") ?? [])
      this.#keys.set(key.hash, { key, learned: 0 });
    const floors = [...storage.kv.list<StoredFloor>({ prefix: FLOOR })];
    floors.sort(([, a], [, b]) => a.until - b.until);
    for (const [name, floor] of floors) this.#floors.set(name.slice(FLOOR.length), floor);
  }

  /** How often anything was learned, for `replaceKeys()` to tell what came after Postgres was read. */
  get learned(): number {
    return this.#learned;
  }

  /** The key, or true for a token; undefined when it is not, or no longer, good at `now`, in ms. */
  judge(proof: Proof, now: number): KeyRecord | true | undefined {
    if (proof.length === 3) {
      const [userId, sessionId, version] = proof;
      const stands =
        this.#floors.size === 0 || (this.#floorOf(sessionId) === 0 && this.#floorOf(userId) <= version);
      return stands || undefined;
    }
    const key = this.#keys.get(proof[0])?.key;
    return key && isLive(key, now) ? key : undefined;
  }

  /** Learns what is so from `now`, in ms, on. What arrives late changes nothing that is newer. */
  learn({ keys = [], deletedKeys = [], floors = [] }: CredentialNews, now: number): void {
    this.#learned += 1;
    for (const [id, version] of floors) this.#raise(id, version, now + FLOOR_TTL_MS);
    for (const id of deletedKeys) this.#deleted.set(id, true);
    if (this.#takeNewer(keys) + this.#dropVoid(now) > 0) this.#storeKeys();
    this.#forget(now);
  }

  /** Takes the tenant's keys as Postgres had them when `learned` was this much, in place of all that came before. */
  replaceKeys(keys: readonly KeyRecord[], learned: number, now: number): void {
    if (keys.length + this.#keys.size === 0) return;
    for (const [hash, known] of this.#keys) if (known.learned <= learned) this.#keys.delete(hash);
    this.#takeNewer(keys);
    this.#dropVoid(now);
    this.#storeKeys();
  }

  /** Returns how many of the keys were newer than what was known. */
  #takeNewer(keys: readonly KeyRecord[]): number {
    const newer = keys.filter(({ hash, version }) => (this.#keys.get(hash)?.key.version ?? 0) < version);
    for (const key of newer) this.#keys.set(key.hash, { key, learned: this.#learned });
    return newer.length;
  }

  /** Lets go of the keys that are revoked or over at `now`, in ms, and returns how many. */
  #dropVoid(now: number): number {
    const before = this.#keys.size;
    for (const [hash, { key }] of this.#keys) {
      const stands = !this.#deleted.has(key.id) && this.#floorOf(key.id) <= key.version;
      if (!stands || !isLive(key, now)) this.#keys.delete(hash);
    }
    return before - this.#keys.size;
  }

  #storeKeys(): void {
    this.#storage.kv.put(
      "keys",
      Array.from(this.#keys.values(), ({ key }) => key),
    );
  }

  #floorOf(id: string): number {
    return this.#floors.get(id)?.floor ?? 0;
  }

  #raise(id: string, version: number, until: number): void {
    // Known already, or of somebody who never was: nothing is stored.
    if (version <= this.#floorOf(id)) return;
    // Anew, so that the oldest stay first.
    this.#floors.delete(id);
    this.#floors.set(id, { floor: version, until });
    this.#storage.kv.put(FLOOR + id, { floor: version, until });
  }

  /** Drops the floors that every token which they could hit has outlived. */
  #forget(now: number): void {
    for (const [id, { until }] of this.#floors) {
      if (until > now) break;
      this.#floors.delete(id);
      this.#storage.kv.delete(FLOOR + id);
    }
  }
}

const isLive = ({ expiresAt }: KeyRecord, now: number) => expiresAt === null || now < expiresAt;
