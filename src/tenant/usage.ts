import { DAY_MS, FIGURES, HOUR_MS } from "../usage-figures.ts";

/** Of which the figures are: the tenant's in an hour, in a day, or those of one API key in a day. */
type Kind = "hour" | "day" | "key";

/** A period's figures, in the order of FIGURES. `seq` is that of the first row that has them. */
export type StoredPeriod = readonly [kind: Kind, start: number, key: string, seq: number, counts: number[]];
/** All that is stored of a tenant's usage: figures only grow, and `seq` grows with each row. */
export type StoredUsage = { readonly seq: number; readonly periods: readonly StoredPeriod[] };

/**
 * What one isolate knows of one hour: [the hour's start in ms, the hash of an API key or "", refusals, errors, bytes, ms of
 * the database], once or more often.
 */
export type Notes = readonly (string | number)[];
const NOTE_LENGTH = 6;

/** The usage is stored this long after the last request, as the limits are: before hibernation at 10 s. */
const IDLE_MS = 8_000;
/** An object that is not called is out of memory, or costs nothing, after this time. */
const AWAKE_MS = 10_000;
/** Periods that Postgres has not taken are kept up to this age; then they are lost. */
const KEPT_MS = { hour: 48 * HOUR_MS, day: 7 * DAY_MS, key: 7 * DAY_MS };
/** API keys that are counted one by one, on each day; what others do counts for the tenant alone. */
const MAX_KEYS = 100;

const [REQUESTS, REFUSED, UNITS, ERRORS, BYTES, DB_MS, OBJECT_MS, OBJECT_ROWS] = FIGURES.map(
  (_, index) => index,
) as [number, number, number, number, number, number, number, number];

type Period = { kind: Kind; start: number; key: string; seq: number; counts: number[]; isNew: boolean };

/**
 * One tenant's usage: figures of each hour, day and API key, which only grow. Pure: its owner stores the snapshots, one at a
 * time, and sends to Postgres what is stored, so that Postgres never has more than a crash leaves.
 */
export class Usage {
  readonly #periods = new Map<string, Period>();
  #hour: Period;
  #day: Period;
  #ends: number;
  #keysToday = 0;
  #seq: number;
  /** On disk for sure. */
  #stored: StoredUsage;
  /** Periods with a greater seq may be unknown to Postgres. */
  #flushed = 0;
  #isDirty = false;
  #usedAt: number;

  /** Goes on from what is stored, at `now`, in ms. */
  constructor(stored: StoredUsage | undefined, now: number) {
    this.#stored = stored ?? { seq: 0, periods: [] };
    this.#seq = this.#stored.seq;
    for (const [kind, start, key, seq, counts] of this.#stored.periods)
      this.#periods.set(kind + start + key, { kind, start, key, seq, counts: [...counts], isNew: false });
    this.#usedAt = now;
    // A clock that was set back stands still: a later hour may be full already.
    const latest = Math.max(
      now,
      ...this.#stored.periods.flatMap(([kind, at]) => (kind === "hour" ? [at] : [])),
    );
    this.#ends = latest;
    [this.#hour, this.#day] = this.#turn(latest);
  }

  /** Counts, at `now` in ms, what was admitted and answered, and what was refused. */
  count(now: number, requests: number, refused: number, units: number): void {
    if (now >= this.#ends) this.#turn(now);
    const awake = Math.min(Math.max(0, now - this.#usedAt), AWAKE_MS);
    for (const period of [this.#hour, this.#day]) {
      const { counts } = period;
      period.isNew = true;
      grow(counts, REQUESTS, requests);
      grow(counts, REFUSED, refused);
      grow(counts, UNITS, units);
      grow(counts, OBJECT_MS, awake);
    }
    this.#touch(now);
  }

  /** Counts one request of an API key, of which count() counts the rest: admitted at a cost, or refused at 0. */
  countKey(id: string, units: number): void {
    const period = this.#keyOn(this.#day.start, id);
    if (!period) return;
    grow(period.counts, units > 0 ? REQUESTS : REFUSED, 1);
    grow(period.counts, UNITS, units);
    period.isNew = true;
  }

  /** Takes what an isolate has noted, once, at `now` in ms. What is of hours long past is left out: they may be flushed. */
  take(notes: Notes, keyOf: (hash: string) => string | undefined, now: number): void {
    if (now >= this.#ends) this.#turn(now);
    for (let at = 0; at + NOTE_LENGTH <= notes.length; at += NOTE_LENGTH) {
      const [noted, hash, ...figures] = notes.slice(at, at + NOTE_LENGTH) as [number, string, ...number[]];
      const hour = Math.min(noted, this.#hour.start);
      const day = hour - (hour % DAY_MS);
      const key = hash === "" ? undefined : keyOf(hash);
      if (day < this.#day.start - DAY_MS) continue;
      const periods = [this.#at("day", day), key === undefined ? undefined : this.#keyOn(day, key)];
      if (hour >= this.#hour.start - HOUR_MS) periods.push(this.#at("hour", hour));
      for (const period of periods) if (period) add(period, figures);
    }
    this.#touch(now);
  }

  /** Counts rows that the object writes. They are no reason to write another. */
  wrote(rows: number): void {
    for (const period of [this.#hour, this.#day]) {
      period.isNew = true;
      grow(period.counts, OBJECT_ROWS, rows);
    }
  }

  /** Milliseconds from `now` until it is to be stored although nobody calls; ∞ when the disk has it. */
  idleIn(now: number): number {
    return this.#isDirty ? Math.max(0, this.#usedAt + IDLE_MS - now) : Infinity;
  }

  /** Whether anything was counted since the last snapshot. */
  get isDirty(): boolean {
    return this.#isDirty;
  }

  /** A copy of the whole state, to be stored. */
  snapshot(): StoredUsage {
    this.#seq += 1;
    this.#isDirty = false;
    const periods: StoredPeriod[] = [];
    for (const period of this.#periods.values()) {
      if (period.isNew) period.seq = this.#seq;
      period.isNew = false;
      periods.push([period.kind, period.start, period.key, period.seq, [...period.counts]]);
    }
    return { seq: this.#seq, periods };
  }

  /** This snapshot is on disk. */
  confirmed(snapshot: StoredUsage): void {
    this.#stored = snapshot;
  }

  /** This snapshot may be on disk or not. */
  failed(): void {
    this.#isDirty = true;
  }

  /** What is on disk and Postgres may not have; undefined when it has all. */
  unflushed(): StoredUsage | undefined {
    const { seq, periods } = this.#stored;
    const news = periods.filter(([, , , of]) => of > this.#flushed);
    return news.length > 0 ? { seq, periods: news } : undefined;
  }

  /** Postgres has all that was on disk with this `seq`. */
  flushed(seq: number): void {
    this.#flushed = seq;
    for (const [name, period] of this.#periods)
      if (period.seq <= seq && !period.isNew && this.#isPast(period)) this.#periods.delete(name);
  }

  /** Begins the hour of `now`, and drops what Postgres has not taken for too long. */
  #turn(now: number): [hour: Period, day: Period] {
    const start = now - (now % HOUR_MS);
    const day = start - (start % DAY_MS);
    this.#ends = start + HOUR_MS;
    this.#hour = this.#at("hour", start);
    this.#day = this.#at("day", day);
    let keys = 0;
    for (const [name, period] of this.#periods) {
      if (period.start < now - KEPT_MS[period.kind]) this.#periods.delete(name);
      if (period.kind === "key" && period.start === day) keys += 1;
    }
    this.#keysToday = keys;
    return [this.#hour, this.#day];
  }

  #at(kind: Kind, start: number, key = ""): Period {
    const name = kind + start + key;
    let period = this.#periods.get(name);
    if (!period)
      this.#periods.set(
        name,
        (period = { kind, start, key, seq: 0, counts: FIGURES.map(() => 0), isNew: true }),
      );
    return period;
  }

  #keyOn(day: number, id: string): Period | undefined {
    const known = this.#periods.get(`key${day}${id}`);
    if (known) return known;
    if (day !== this.#day.start || this.#keysToday >= MAX_KEYS) return undefined;
    this.#keysToday += 1;
    return this.#at("key", day, id);
  }

  /** Whether nothing is added to the period any more: notes come for the hour before this one, and for the day before. */
  #isPast({ kind, start }: Period): boolean {
    return kind === "hour" ? start < this.#hour.start - HOUR_MS : start < this.#day.start - DAY_MS;
  }

  #touch(now: number): void {
    this.#isDirty = true;
    this.#usedAt = now;
  }
}

function grow(counts: number[], at: number, by: number): void {
  counts[at] = (counts[at] ?? 0) + by;
}

function add(period: Period, [refused = 0, errors = 0, bytes = 0, ms = 0]: readonly number[]): void {
  grow(period.counts, REFUSED, refused);
  grow(period.counts, ERRORS, errors);
  grow(period.counts, BYTES, bytes);
  grow(period.counts, DB_MS, ms);
  period.isNew = true;
}
