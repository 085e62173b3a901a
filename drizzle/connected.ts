import pg from "pg";

/** A server that takes no connection within this time is down. Neon wakes a database in less. */
const CONNECT_TIMEOUT_MS = 15_000;

/** A server that takes no connection; the message says where it is, and never who asks. */
export class Unreachable extends Error {
  constructor(connectionString: string, cause: unknown) {
    const { host, pathname } = new URL(connectionString);
    super(`The database at ${host}${pathname} cannot be reached: ${messageOf(cause)}`, { cause });
  }
}

/** A connection of this login, which whoever asks for it ends. Throws Unreachable where no server answers. */
export async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString,
    application_name: "partywall",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  // The query that finds it broken throws.
  client.on("error", () => undefined);
  await client.connect().catch((error: unknown) => {
    // Postgres itself says which login or database it does not know.
    throw error instanceof pg.DatabaseError ? error : new Unreachable(connectionString, error);
  });
  return client;
}

/** Runs it over a connection of this login, which it ends. */
export async function connected<Result>(
  connectionString: string,
  use: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = await connect(connectionString);
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** What went wrong, in a sentence, with Postgres' SQLSTATE where it was that; never a connection string. */
export function messageOf(error: unknown): string {
  // Node tries each address of a host.
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return error.errors[0].message;
  if (error instanceof pg.DatabaseError) return `${error.message} (SQLSTATE ${error.code ?? "none"})`;
  return error instanceof Error ? error.message || error.name : String(error);
}
