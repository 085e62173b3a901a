import { SqlError } from "./errors.ts";

/**
 * Who asks: role, password and database of a connection string; `key` is equal only if all of them are, and the port.
 * `port` is the string's when its host is this machine: another Postgres here, as Neon's proxy goes by the host.
 */
export type Login = {
  key: string;
  user: string;
  password: string;
  database: string;
  port: number | undefined;
  applicationName: string;
};

const LOOPBACK: ReadonlySet<string> = new Set(["127.0.0.1", "localhost"]);
const REMEMBERED = 1000;
const known = new Map<string, Login>();

/** The login of a connection string. Malformed strings are a 400. */
export function parseLogin(connectionString: string | undefined): Login {
  if (connectionString === undefined || connectionString === "") {
    throw new SqlError(400, "The header Neon-Connection-String is missing.");
  }
  const remembered = known.get(connectionString);
  if (remembered) return remembered;
  const login = readLogin(connectionString);
  if (known.size >= REMEMBERED) known.clear();
  known.set(connectionString, login);
  return login;
}

function readLogin(connectionString: string): Login {
  const url = URL.parse(connectionString);
  if (!url) throw malformed("it is not a URL");
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") {
    throw malformed("its scheme is not postgres: or postgresql:");
  }
  const user = decode(url.username, "user");
  const password = decode(url.password, "password");
  const database = decode(url.pathname.slice(1), "database");
  const applicationName = url.searchParams.get("application_name")?.replaceAll("\0", "") ?? "";
  const port = url.port !== "" && LOOPBACK.has(url.hostname) ? Number(url.port) : undefined;
  return {
    key: JSON.stringify([user, password, database, applicationName, port]),
    user,
    password,
    database,
    port,
    applicationName,
  };
}

function decode(part: string, name: string): string {
  if (part === "") throw malformed(`it names no ${name}`);
  let text: string;
  try {
    text = decodeURIComponent(part);
  } catch {
    throw malformed(`its ${name} is not valid percent-encoding`);
  }
  // A NUL ends a string in the startup packet, so what follows it would be read as another setting.
  if (text.includes("\0")) throw malformed(`its ${name} contains a NUL`);
  return text;
}

function malformed(why: string): SqlError {
  return new SqlError(400, `The connection string in Neon-Connection-String is malformed: ${why}.`);
}
