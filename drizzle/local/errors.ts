import { DatabaseError } from "pg";

const FIELDS = [
  "code",
  "severity",
  "detail",
  "hint",
  "position",
  "internalPosition",
  "internalQuery",
  "where",
  "schema",
  "table",
  "column",
  "dataType",
  "constraint",
  "file",
  "line",
  "routine",
] as const;

type Field = (typeof FIELDS)[number];

/** A failure with the HTTP status it is answered with and the fields that Postgres gave, if it was Postgres. */
export class SqlError extends Error {
  readonly status: number;
  readonly fields: Partial<Record<Field, string | undefined>>;

  constructor(status: number, message: string, fields: Partial<Record<Field, string | undefined>> = {}) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

/** The failure of a statement: what Postgres reported is 400, a connection lost under way is 500. */
export function statementError(error: unknown): SqlError {
  if (error instanceof SqlError) return error;
  if (error instanceof DatabaseError) return new SqlError(400, error.message, error);
  const reason = error instanceof Error ? error.message : String(error);
  return new SqlError(
    500,
    `The connection to PostgreSQL was lost while the query ran, so it may or may not have taken effect (${reason}).`,
    { code: "08006", severity: "FATAL" },
  );
}

/** The failure of a login: 400 when role, password or database is wrong, 503 when Postgres takes nobody now. */
export function loginError(error: unknown): SqlError {
  if (error instanceof DatabaseError) {
    const full = error.code === "53300" || error.code?.startsWith("57P") === true;
    return new SqlError(full ? 503 : 400, error.message, error);
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new SqlError(503, `PostgreSQL cannot be reached (${reason}).`, { code: "08001", severity: "FATAL" });
}

/** Fields that are empty, not null, when unknown. */
const ALWAYS_TEXT: ReadonlySet<Field> = new Set(["code", "severity"]);

/** The JSON object of an error as Neon's proxy writes it: every field is there. */
export function errorBody(error: SqlError): string {
  const body: Record<string, string | null> = { message: error.message };
  for (const field of FIELDS) body[field] = error.fields[field] ?? (ALWAYS_TEXT.has(field) ? "" : null);
  return JSON.stringify(body);
}
