import { makeDatabaseUrls, makeSecrets } from "./variables.ts";

const host = process.argv[2];
if (!host) {
  console.error("Usage: node drizzle/secrets.ts HOST, where HOST is the database's, such as ep-….neon.tech");
  process.exit(1);
}

// Printed and kept nowhere: whoever deploys decides where secrets live.
const variables = { ...makeDatabaseUrls(host), ...(await makeSecrets()), ISSUER: "" };
for (const [name, value] of Object.entries(variables)) console.log(`${name}='${value}'`);
