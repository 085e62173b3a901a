import { REVOKED_FOR_S } from "../caller.ts";
import type { KeyRecord } from "./record.ts";

/**
 * What a tenant's object is asked to judge: a user's token, as [user, session, the user's version], an operator's, or a key's
 * hash.
 */
export type Proof =
  | readonly [userId: string, sessionId: string, version: number]
  | readonly [operatorId: string, sessionId: string, version: 0, kind: "support"]
  | readonly [keyHash: string];

/** Tokens of this user or session with a lower version of the user are refused. */
type Floor = readonly [id: string, version: number];

/** Before the id, in the name of a stored floor. */
const FLOOR = "floor ";
type StoredFloor = { floor: number; until: number };

/** What there is to learn: keys made or changed, the ids of deleted ones, and what is void from now on. */
type CredentialNews = {
  keys: readonly KeyRecord[];
  deletedKeys: readonly string[];
  floors: readonly Floor[];
};

/**
 * Which of a tenant's credentials stand: its API keys, and what was revoked, until every token issued before has
 * expired. What is learned is durable when the answer to whoever told it leaves the object.
 */
export class Credentials {
  readonly #storage: DurableObjectStorage;
  /** In the order of their end. */
  readonly #floors = new Map<string, StoredFloor>();
  /** By hash. */
  readonly #keys = new Map<string, KeyRecord>();

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    for (const key of storage.kv.get<KeyRecord[]>("keys") ?? []) this.#keys.set(key.hash, key);
    const floors = [...storage.kv.list<StoredFloor>({ prefix: FLOOR })];
    floors.sort(([, a], [, b]) => a.until - b.until);
    for (const [name, floor] of floors) this.#floors.set(name.slice(FLOOR.length), floor);
  }

  /** The key, or true for a token; undefined when it is not, or no longer, good at `now`, in ms. */
  judge(proof: Proof, now: number): KeyRecord | true | undefined {
    if (proof.length !== 1) {
      const [userId, sessionId, version] = proof;
      const stands =
        this.#floors.size === 0 || (this.#floorOf(sessionId) === 0 && this.#floorOf(userId) <= version);
      return stands || undefined;
    }
    const key = this.#keys.get(proof[0]);
    return key && isLive(key, now) ? key : undefined;
  }

  /** The id of the API key with this hash, if it is known. */
  idOfKey(hash: string): string | undefined {
    return this.#keys.get(hash)?.id;
  }

  /** Applies news at `now`, in ms. Call it in the order of the outbox. */
  learn({ keys, deletedKeys, floors }: CredentialNews, now: number): void {
    for (const [id, version] of floors) this.#raise(id, version, now + REVOKED_FOR_S * 1000);
    this.#forget(now);
    if (keys.length + deletedKeys.length === 0) return;
    const ended = new Set(deletedKeys);
    for (const [hash, key] of this.#keys) if (ended.has(key.id) || !isLive(key, now)) this.#keys.delete(hash);
    for (const key of keys) this.#keys.set(key.hash, key);
    this.#storeKeys();
  }

  /** Takes these keys in place of all that it knows. */
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
    // Known already.
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
