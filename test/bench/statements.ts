/** The values that statements name: `:tenant`, `:actor`, `:project` and `:id`, all of them UUIDs. */
export type Values = Record<"tenant" | "actor" | "project" | "id", string>;

/** The same question asked behind the wall, and with the tenant written by hand as one would without it. */
export type Statement = {
  name: string;
  kind: "read" | "write";
  /** How many tenant tables it reads or writes. */
  tables: number;
  walled: string;
  byHand: string;
};

const SHOWN =
  "id, project_id, title, notes, status, assignee_id, due_on, created_at, updated_at, created_by, version";
const SORTED = "order by created_at desc, id desc";
const NEWEST = `${SORTED} limit 50`;
/** A task's id says when it was made, here to the `created_at` it has. */
const BEFORE = "(created_at, id) < (uuid_extract_timestamp(:id), :id)";
const JOINED_BY_ID =
  "select t.id, t.title, t.status, t.created_at, p.name from tasks t join projects p on p.id = t.project_id";
const JOINED = `${JOINED_BY_ID} and p.tenant_id = t.tenant_id`;
const NEWEST_JOINED = "order by t.created_at desc, t.id desc limit 50";

/** What handlers ask, on `tasks`. */
export const STATEMENTS: readonly Statement[] = [
  {
    name: "point read",
    kind: "read",
    tables: 1,
    walled: `select ${SHOWN} from tasks where id = :id`,
    byHand: `select ${SHOWN} from tasks where tenant_id = :tenant and id = :id`,
  },
  {
    name: "page of 50",
    kind: "read",
    tables: 1,
    walled: `select ${SHOWN} from tasks ${NEWEST}`,
    byHand: `select ${SHOWN} from tasks where tenant_id = :tenant ${NEWEST}`,
  },
  {
    name: "next page of 10",
    kind: "read",
    tables: 1,
    walled: `select ${SHOWN} from tasks where ${BEFORE} ${SORTED} limit 10`,
    byHand: `select ${SHOWN} from tasks where tenant_id = :tenant and ${BEFORE} ${SORTED} limit 10`,
  },
  {
    name: "filtered list",
    kind: "read",
    tables: 1,
    walled: `select ${SHOWN} from tasks where status = 'doing' ${NEWEST}`,
    byHand: `select ${SHOWN} from tasks where tenant_id = :tenant and status = 'doing' ${NEWEST}`,
  },
  {
    name: "filter without a match",
    kind: "read",
    tables: 1,
    walled: `select ${SHOWN} from tasks where status = 'none' ${NEWEST}`,
    byHand: `select ${SHOWN} from tasks where tenant_id = :tenant and status = 'none' ${NEWEST}`,
  },
  {
    name: "count",
    kind: "read",
    tables: 1,
    walled: "select count(*) from tasks",
    byHand: "select count(*) from tasks where tenant_id = :tenant",
  },
  {
    name: "join",
    kind: "read",
    tables: 2,
    walled: `${JOINED} ${NEWEST_JOINED}`,
    byHand: `${JOINED} where t.tenant_id = :tenant ${NEWEST_JOINED}`,
  },
  {
    // What the wall alone lets one write; it takes an equality from the planner.
    name: "join by id alone",
    kind: "read",
    tables: 2,
    walled: `${JOINED_BY_ID} ${NEWEST_JOINED}`,
    byHand: `${JOINED} where t.tenant_id = :tenant ${NEWEST_JOINED}`,
  },
  {
    name: "insert",
    kind: "write",
    tables: 1,
    walled: `insert into tasks (id, project_id, title) values (:id, :project, 'New') returning ${SHOWN}`,
    byHand:
      "insert into tasks (tenant_id, id, project_id, title, created_by) " +
      `values (:tenant, :id, :project, 'New', :actor) returning ${SHOWN}`,
  },
  {
    name: "update",
    kind: "write",
    tables: 1,
    walled: `update tasks set title = 'Changed' where id = :id returning ${SHOWN}`,
    byHand: `update tasks set title = 'Changed' where tenant_id = :tenant and id = :id returning ${SHOWN}`,
  },
  {
    name: "delete",
    kind: "write",
    tables: 1,
    walled: "delete from tasks where id = :id returning id",
    byHand: "delete from tasks where tenant_id = :tenant and id = :id returning id",
  },
];

const NAMED = /(?<!:):(tenant|actor|project|id)\b/g;

/** The statement with `$1`, `$2`, … for the values it names, and their names in that order. */
export function numbered(text: string): { text: string; names: (keyof Values)[] } {
  const names = [...new Set([...text.matchAll(NAMED)].map(([, name]) => name as keyof Values))];
  return { text: text.replace(NAMED, (_, name: keyof Values) => `$${names.indexOf(name) + 1}`), names };
}

/** The statement with what `name` gives in the place of each value. */
export function renamed(text: string, name: (name: keyof Values) => string): string {
  return text.replace(NAMED, (_, value: keyof Values) => name(value));
}
