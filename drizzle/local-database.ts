import { connected } from "./connected.ts";
import { migrate, type MigrationOptions, type MigrationVariables } from "./migrate.ts";
import { readDevVars } from "./variables.ts";

/**
 * Makes the database and the migrating login in a local Postgres, if they are not there, and migrates. The login is
 * what Neon gives a project: it may make roles and owns the database, but is no superuser.
 */
export async function prepareLocalDatabase(
  superuserUrl: string,
  variables: MigrationVariables,
  options: MigrationOptions = {},
): Promise<void> {
  const { username, password, pathname } = new URL(variables.MIGRATION_DATABASE_URL);
  await connected(superuserUrl, async (client) => {
    const [role, database] = [client.escapeIdentifier(username), client.escapeIdentifier(pathname.slice(1))];
    const { rows } = await client.query("select from pg_roles where rolname = $1", [username]);
    if (rows.length === 0) await client.query(`create role ${role} createrole createdb`);
    await client.query(`alter role ${role} login password ${client.escapeLiteral(password)}`);
    const made = await client.query("select from pg_database where datname = $1", [pathname.slice(1)]);
    if (made.rows.length === 0) await client.query(`create database ${database} owner ${role}`);
  });
  await migrate(variables, options);
}

/**
 * Makes a database, if it is not there, at the second local server, which `npm run dev` starts so that a site can be at
 * another one. Returns its owner's connection string. `serverUrl` is the superuser's; without it, as .dev.vars says.
 */
export async function localDatabase(
  name: string,
  serverUrl = readDevVars()["SECOND_SERVER_URL"],
): Promise<string> {
  if (!serverUrl)
    throw new Error("Start `npm run dev` first: --local is for the second server that it runs.");
  const url = new URL(serverUrl);
  await connected(serverUrl, async (client) => {
    const made = await client.query("select from pg_database where datname = $1", [name]);
    if (made.rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
  });
  url.pathname = encodeURIComponent(name);
  return url.href;
}
