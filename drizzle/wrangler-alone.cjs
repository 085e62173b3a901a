// wrangler's [build] command: makes what browsers load. It is CommonJS because whatever Node is there runs it: `wrangler dev` and
// `wrangler deploy` end here with a sentence, unless `npm run dev` or `npm run deploy` has started them.
const { readFileSync, writeSync } = require("node:fs");
const path = require("node:path");

const DEPLOYS =
  "alone neither migrates the database nor asks the doctor, and it uploads no secrets. " +
  "Run `npm run deploy -- --env-file production.env` instead: docs/deploy.md says how.";
const SENTENCES = {
  dev:
    "alone starts no database, and .dev.vars names none elsewhere. " +
    "Run `npm run dev` instead, which starts both: docs/local.md says how.",
  deploy: DEPLOYS,
  "versions upload": DEPLOYS,
};

const { WRANGLER_COMMAND = "", PARTYWALL_STARTS_WRANGLER } = process.env;
const sentence = SENTENCES[WRANGLER_COMMAND];

if (sentence && !PARTYWALL_STARTS_WRANGLER && !(WRANGLER_COMMAND === "dev" && databaseElsewhere())) {
  writeSync(2, `\`wrangler ${WRANGLER_COMMAND}\` ${sentence}\n`);
  // Where a command exits with a code, wrangler prints all it knows of the process, and the sentence drowns in it.
  process.kill(process.pid, "SIGTERM");
} else {
  require("./own-node.cjs");
  void import("./assets.ts").then(({ makeAssets }) => makeAssets());
}

/** Whether .dev.vars names a database that is not the one of `npm run dev`. */
function databaseElsewhere() {
  try {
    const url = /^DATABASE_URL *= *['"]?([^'"\s]+)/m.exec(
      readFileSync(path.join(__dirname, "../.dev.vars"), "utf8"),
    )?.[1];
    return url !== undefined && !/@(127\.0\.0\.1|localhost)[:/]/.test(url);
  } catch {
    return false;
  }
}
