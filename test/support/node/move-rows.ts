// The content of the model's tenants: two tables and the idempotency keys, and what a request does to them. A place's
// transaction does it to a View of its rows; the same is done to rows that nobody moves, which the answers must agree with.

export const TABLES = ["parents", "children", "keys"] as const;
export type TableName = (typeof TABLES)[number];

/** `ref` is a unique name of a parent, the parent of a child, and nothing of a key. */
export type Row = { id: string; ref: string; version: number; value: string; image: string };

export type View = {
  get(table: TableName, id: string): Row | undefined;
  /** In the order of their keys. */
  all(table: TableName): readonly Row[];
  put(table: TableName, row: Row): void;
  drop(table: TableName, id: string): void;
};

export const rowOf = (id: string, ref: string, version: number, value: string): Row => ({
  id,
  ref,
  version,
  value,
  image: JSON.stringify([id, ref, version, value]),
});

/** The rows of a text that has their images. */
export const rowsIn = (text: string): Row[] =>
  (JSON.parse(text) as [string, string, number, string][]).map((values) => rowOf(...values));

const byId = (one: Row, other: Row) => (one.id < other.id ? -1 : 1);

/** Rows at rest. */
export class Shelf implements View {
  readonly #tables: Record<TableName, Map<string, Row>> = {
    parents: new Map(),
    children: new Map(),
    keys: new Map(),
  };

  get(table: TableName, id: string): Row | undefined {
    return this.#tables[table].get(id);
  }

  all(table: TableName): Row[] {
    return [...this.#tables[table].values()].sort(byId);
  }

  put(table: TableName, row: Row): void {
    this.#tables[table].set(row.id, row);
  }

  drop(table: TableName, id: string): void {
    this.#tables[table].delete(id);
  }

  get isEmpty(): boolean {
    return TABLES.every((table) => this.#tables[table].size === 0);
  }

  /** All rows, as one text. */
  digest(): string {
    return TABLES.map((table) => `${table}: ${imagesOf(this.all(table))}`).join("\n");
  }
}

/** What a migration adds to the values that it finds. */
export const MIGRATED = "+";

/** Rows that nobody moves: every request is done to them when it is committed, and has to have the same answer. */
export class Truth extends Shelf {
  /**
   * A site was migrated while a mover that had crashed could still close the source. From then on it depends on where that
   * leads the tenant which of its rows are migrated.
   */
  isBlurred = false;

  agrees(seen: string, own: string): boolean {
    return this.isBlurred ? seen.replaceAll(MIGRATED, "") === own.replaceAll(MIGRATED, "") : seen === own;
  }
}

export const imagesOf = (rows: readonly Row[]): string => `[${rows.map(({ image }) => image).join()}]`;

/** What a request does. A `key` is written with it, so that it is done once. */
export type Op = {
  kind: "create" | "upsert" | "patch" | "touch" | "delete" | "adopt" | "swap" | "receive";
  table: TableName;
  id: string;
  /** The name or the parent; for a swap, the other row. */
  ref: string;
  value: string;
  key?: string | undefined;
};

/** Whether deleting a parent deletes its children, or is refused while it has any. */
export type Rules = { cascades: boolean };

/** Whether a row can be there as it is: its name is not another's, and its parent is there. */
export const fits = (view: View, table: TableName, { id, ref }: Row): boolean =>
  table === "parents"
    ? !view.all("parents").some((other) => other.ref === ref && other.id !== id)
    : table === "keys" || view.get("parents", ref) !== undefined;

/** Deletes a row, and what goes with it; returns false when others refer to it. */
export function dropRow(view: View, table: TableName, id: string, { cascades }: Rules): boolean {
  const children = table === "parents" ? childrenOf(view, id) : [];
  if (children.length > 0 && !cascades) return false;
  for (const child of children) view.drop("children", child.id);
  view.drop(table, id);
  return true;
}

export const childrenOf = (view: View, id: string): readonly Row[] =>
  view.all("children").filter(({ ref }) => ref === id);

/** What has to be locked to write this row: it, its name or its parent. */
export function lockedToWrite(view: View, table: TableName, id: string, ref: string): string[] {
  const old = view.get(table, id);
  if (table === "keys") return [`keys ${id}`];
  if (table === "children") return [`children ${id}`, `parents ${ref}`];
  return [`parents ${id}`, `name ${ref}`, ...(old ? [`name ${old.ref}`] : [])];
}

/** What has to be locked to delete this row, if it is seen at all: it, its name and its children. */
export function lockedToDelete(view: View, table: TableName, id: string): string[] {
  const old = view.get(table, id);
  if (!old) return [];
  if (table !== "parents") return [`${table} ${id}`];
  return [`parents ${id}`, `name ${old.ref}`, ...childrenOf(view, id).map((child) => `children ${child.id}`)];
}

/** What has to be locked to do this. */
export function locksOf(view: View, { kind, table, id, ref, key }: Op): string[] {
  const keys = key === undefined ? [] : [`keys ${key}`];
  if (kind === "create" || kind === "upsert") return [...keys, ...lockedToWrite(view, table, id, ref)];
  if (kind === "receive") return [`keys ${id}`];
  const old = view.get(table, id);
  if (!old) return keys;
  if (kind === "delete") return [...keys, ...lockedToDelete(view, table, id)];
  if (kind === "adopt") return [...keys, ...lockedToWrite(view, table, id, ref)];
  const other = kind === "swap" ? view.get(table, ref) : undefined;
  if (!other) return [...keys, `${table} ${id}`];
  return [...keys, ...lockedToWrite(view, table, id, other.ref), `${table} ${ref}`];
}

/** What a request is answered, and whether it has changed anything. */
export type Answer = { text: string; isDone: boolean };

/** Does it, and returns the answer. */
export function perform(view: View, op: Op, rules: Rules): Answer {
  const known = op.key === undefined ? undefined : view.get("keys", op.key);
  if (known) return refused(known.value);
  const answer = act(view, op, rules);
  if (op.key !== undefined && answer.isDone) view.put("keys", rowOf(op.key, "", 1, answer.text));
  return answer;
}

const done = (text: string): Answer => ({ text, isDone: true });
const refused = (text: string): Answer => ({ text, isDone: false });

function act(view: View, { kind, table, id, ref, value }: Op, rules: Rules): Answer {
  const old = view.get(table, id);
  const put = (row: Row): Answer => {
    if (!fits(view, table, row)) return refused(table === "parents" ? "taken" : "no parent");
    view.put(table, row);
    return done(row.image);
  };
  if (kind === "create" && old) return refused("there");
  if (kind === "create" || (kind === "upsert" && !old)) return put(rowOf(id, ref, 1, value));
  if (kind === "receive") {
    if (old && Number(old.value) >= Number(value)) return refused(old.image);
    return put(rowOf(id, "", 1, value));
  }
  if (!old) return refused("missing");
  const next = old.version + 1;
  if (kind === "touch") return put(rowOf(id, old.ref, next, old.value));
  if (kind === "adopt") return put(rowOf(id, ref, next, old.value));
  if (kind === "delete") return dropRow(view, table, id, rules) ? done("deleted") : refused("referred");
  if (kind !== "swap") return put(rowOf(id, old.ref, next, value));
  const other = view.get(table, ref);
  if (!other || ref === id) return refused("missing");
  view.put(table, rowOf(id, other.ref, next, old.value));
  view.put(table, rowOf(ref, old.ref, other.version + 1, other.value));
  return done("swapped");
}
