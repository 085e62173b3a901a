import { readArguments } from "./command-line.ts";
import { messageOf } from "./connected.ts";
import { makeDatabaseUrls, makeSecrets } from "./variables.ts";

const USAGE = `npx node drizzle/secrets.ts HOST > production.env

Prints new passwords and secrets for a deployment, for a file that is made once. HOST is the database's, such as
ep-….neon.tech.`;

try {
  const { positionals } = readArguments(USAGE, { options: {}, allowPositionals: true });
  const [host, ...more] = positionals;
  if (host === undefined || more.length > 0) throw new Error(USAGE);
  if (!/^[\w.-]+(:\d+)?$/.test(host))
    throw new Error(`${host} is no host: give what stands after the @ in Neon's connection string.`);
  // Printed and kept nowhere: whoever deploys decides where secrets live.
  const variables = { ...makeDatabaseUrls(host), ...(await makeSecrets()), ISSUER: "" };
  for (const [name, value] of Object.entries(variables)) console.log(`${name}='${value}'`);
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}
