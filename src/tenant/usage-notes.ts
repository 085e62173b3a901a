import { remembers } from "../memory.ts";
import { HOUR_MS } from "../usage-figures.ts";
import type { Notes } from "./usage.ts";

/** What isolates alone know of requests: it rides on their next call to the tenant's object, and costs no call of its own. */
type Note = { hour: number; refused: number; errors: number; bytes: number; ms: number };
/** A tenant's: of requests without an API key, by the hashes of keys, and of hours that are over. */
type TenantNotes = { own: Note; keys: Map<string, Note> | undefined; past: (string | number)[] };

/** API keys that are told apart between two calls. */
const MAX_KEYS = 32;
/** Values of hours that are over; more are forgotten. */
const MAX_PAST = 300;

const notes = remembers<TenantNotes>("usage_notes");

/** Whose request it was: the tenant's id, and the hash of the API key that it showed. */
type Whose = { readonly tenantId: string; readonly hash?: string };

/** Notes, at `now` in ms, a request that this isolate refused by itself, because the tenant's object would have. */
export function noteRefusal(whose: Whose, now: number, bytes = 0): void {
  const note = noteOf(whose, now);
  note.refused += 1;
  note.bytes += bytes;
}

/** Notes, at `now` in ms, an answer: whether it is a 5xx, its bytes, and how many ms it waited for Postgres. */
export function noteAnswer(whose: Whose, now: number, isError: boolean, bytes: number, ms: number): void {
  const note = noteOf(whose, now);
  if (isError) note.errors += 1;
  note.bytes += bytes;
  note.ms += ms;
}

/** What was noted of the tenant, once: whoever takes it sends it, or brings it back. Undefined when there is nothing. */
export function takeNotes(tenantId: string): Notes | undefined {
  const known = notes.get(tenantId);
  if (!known) return undefined;
  const taken = known.past;
  known.past = [];
  writeOut(known.own, "", taken);
  if (known.keys) for (const [hash, note] of known.keys) writeOut(note, hash, taken);
  known.keys = undefined;
  return taken.length > 0 ? taken : undefined;
}

/** Brings back what was taken, after a call that has surely done nothing. */
export function bringBack(tenantId: string, taken: Notes): void {
  const { past } = notesOf(tenantId, 0);
  if (past.length + taken.length <= MAX_PAST) past.push(...taken);
}

function notesOf(tenantId: string, hour: number): TenantNotes {
  let known = notes.get(tenantId);
  if (!known) notes.set(tenantId, (known = { own: newNote(hour), keys: undefined, past: [] }));
  return known;
}

function noteOf({ tenantId, hash }: Whose, now: number): Note {
  const hour = now - (now % HOUR_MS);
  const known = notesOf(tenantId, hour);
  let note = known.own;
  if (hash !== undefined) {
    const keys = (known.keys ??= new Map<string, Note>());
    const own = keys.get(hash);
    if (own) note = own;
    // What is noted of too many keys is the tenant's alone.
    else if (keys.size < MAX_KEYS) keys.set(hash, (note = newNote(hour)));
  }
  if (note.hour === hour) return note;
  if (known.past.length < MAX_PAST) writeOut(note, note === known.own ? "" : (hash ?? ""), known.past);
  return Object.assign(note, newNote(hour));
}

const newNote = (hour: number): Note => ({ hour, refused: 0, errors: 0, bytes: 0, ms: 0 });

/** Appends the note, if there is anything in it, and empties it. */
function writeOut(note: Note, hash: string, to: (string | number)[]): void {
  const { hour, refused, errors, bytes, ms } = note;
  if (refused + errors + bytes + ms === 0) return;
  // As many digits as were measured.
  to.push(hour, hash, refused, errors, bytes, Math.round(ms * 10) / 10);
  note.refused = note.errors = note.bytes = note.ms = 0;
}
