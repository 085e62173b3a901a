import { ACCESS_TOKEN_TTL_S } from "../identity/access-token.ts";
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

/**
 * Which of a tenant's credentials stand: its API keys, and what was revoked while tokens that do not know of it are
 * still about. What is learned is durable when the answer to whoever told it leaves the object.
 */
export class Credentials {
  readonly #storage: DurableObjectStorage;
  /** In the order of their end. */
  readonly #floors = new Map<string, StoredFloor>();
  readonly #keys = new Map<string, KeyRecord>();
  #learned = 0;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    for (const key of storage.kv.get<KeyRecord[]>("keys") ?? []) this.#keys.set(key.hash, key);
    const floors = [...storage.kv.list<StoredFloor>({ prefix: FLOOR })];
    floors.sort(([, a], [, b]) => a.until - b.until);
    for (const [name, floor] of floors) this.#floors.set(name.slice(FLOOR.length), floor);
  }

  /** How often anything was learned: what was read from Postgres before the last time may be older than it. */
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
    const key = this.#keys.get(proof[0]);
    return key && (key.expiresAt === null || now < key.expiresAt) ? key : undefined;
  }

  /** Learns of keys and of what is void from `now`, in ms, on. What arrives late changes nothing that is newer. */
  learn(
    { keys = [], floors = [] }: { keys?: readonly KeyRecord[]; floors?: readonly Floor[] },
    now: number,
  ): void {
    this.#learned += 1;
    for (const [id, version] of floors) this.#raise(id, version, now + FLOOR_TTL_MS);
    for (const key of keys) {
      const known = this.#keys.get(key.hash)?.version ?? 0;
      if (known < key.version) this.#keys.set(key.hash, key);
    }
    for (const { hash, id, version } of this.#keys.values())
      if (this.#floorOf(id) > version) this.#keys.delete(hash);
    if (keys.length + floors.length > 0) this.#storeKeys();
    this.#forget(now);
  }

  /** Takes the tenant's keys as Postgres has them, in place of all that were known. */
  replaceKeys(keys: readonly KeyRecord[]): void {
    if (keys.length + this.#keys.size === 0) return;
    this.#keys.clear();
    for (const key of keys) this.#keys.set(key.hash, key);
    this.#storeKeys();
  }

  #storeKeys(): void {
    this.#storage.kv.put("keys", [...this.#keys.values()]);
  }

  #floorOf(id: string): number {
    return this.#floors.get(id)?.floor ?? 0;
  }

  #raise(id: string, version: number, until: number): void {
    const floor = Math.max(version, this.#floorOf(id));
    // Anew, so that the oldest stay first.
    this.#floors.delete(id);
    this.#floors.set(id, { floor, until });
    this.#storage.kv.put(FLOOR + id, { floor, until });
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
