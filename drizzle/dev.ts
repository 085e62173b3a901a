import { rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { parseArgs } from "node:util";
import { prepareLocalDatabase } from "./local-database.ts";
import { fullDisk, UnusableData } from "./local/faults.ts";
import { type Guarded, runGuarded } from "./local/guard.ts";
import { claimPort } from "./local/holders.ts";
import { startStack, type Stack } from "./local/stack.ts";
import { messageOf } from "./connected.ts";
import { migrateFleet } from "./fleet.ts";
import { printOperator, seedOperator } from "./local-operator.ts";
import { startMailbox } from "./mailbox.ts";
import { seedLife } from "./seed-life.ts";
import { moveSecondServer, printTour, seed, seedElsewhere } from "./tour.ts";
import { DEV_VARS, makeDatabaseUrls, makeSecrets, readDevVars, writeDevVars } from "./variables.ts";
import { OFFLINE, STARTED, WRANGLER } from "./wrangler.ts";

const root = join(import.meta.dirname, "..");
const HOST = "127.0.0.1";
const PARENT_POLL_MS = 250;
/** Where wrangler takes a call for what the cron does, and how often it gets one. */
const CRON = "/cdn-cgi/local/scheduled";
const SWEEP_MS = 60_000;
const WAY_OUT = "`npm run dev -- --fresh` deletes it and starts from empty.";

const { values: flags } = parseArgs({ options: { fresh: { type: "boolean", default: false } } });
const port = Number(process.env["PORT"] ?? 8787);

let stack: Stack | undefined;
/** Another Postgres server, for sites that are not at the control plane's. */
let second: Stack | undefined;
let mailbox: Awaited<ReturnType<typeof startMailbox>> | undefined;
let worker: Guarded | undefined;
let stopping: Promise<void> | undefined;

/** Stops the Worker, then Postgres, once. */
function stop(): Promise<void> {
  stopping ??= (async () => {
    await worker?.stop();
    mailbox?.stop();
    await Promise.all([stack?.stop(), second?.stop()]);
  })();
  return stopping;
}

function stopAndExit(): void {
  void stop().finally(() => process.exit(0));
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stopAndExit);
// Nothing tells a process that its parent, npm, was killed.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && stopAndExit(), PARENT_POLL_MS).unref();

try {
  await dev();
} catch (error) {
  if (!stopping) console.error(`\n${fullDisk(root, error) ?? withAnotherPort(messageOf(error))}`);
  process.exitCode = 1;
} finally {
  await stop();
}

/** Serves the API with everything in it until a part of it ends. Throws one sentence on what is in the way. */
async function dev(): Promise<void> {
  if (!Number.isInteger(port) || port < 1 || port > 65_532)
    throw new Error(`PORT=${process.env["PORT"]} is no port.`);
  const known = readDevVars();
  refuseForeign(known);
  // wrangler would take another port; whoever asked for this one should hear of it instead.
  await claimPort(port, "the API");

  stack = await startStack({
    dir: join(root, ".partywall"),
    port: port + 1,
    postgresPort: port + 2,
    fresh: flags.fresh,
    onProgress: (line) => console.log(`· ${line}`),
  }).catch(unusable);
  // Only now: another `npm run dev` in this folder would have been refused the database.
  if (flags.fresh) rmSync(join(root, ".wrangler/state"), { recursive: true, force: true });
  if (!stack.fresh && !known["PASSWORD_PEPPER"])
    throw new Error(`The data in .partywall was made with secrets that .dev.vars no longer has. ${WAY_OUT}`);
  second = await startStack({ dir: join(root, ".partywall/second") }).catch(unusable);
  mailbox = await startMailbox(port + 3, (line) => console.log(line));
  const variables = {
    ...(await makeSecrets()),
    // What wrangler.toml says of this is for what is deployed.
    INVITATION_URL: "",
    ...known,
    ACCOUNT_URL: accountPage(known),
    ...makeDatabaseUrls(`${HOST}:${stack.postgresPort}`, known),
    NEON_FETCH_ENDPOINT: stack.endpoint,
    ISSUER: `http://${HOST}:${port}`,
    API_KEY_ENVIRONMENT: "dev",
    BASE_DOMAIN: "localhost",
    MAIL_URL: mailbox.url,
    MAIL_FROM: known["MAIL_FROM"] || "partywall <no-reply@partywall.test>",
    SECOND_SERVER_URL: second.superuserUrl,
  };
  console.log("· migrating");
  await withData("be migrated", prepareLocalDatabase(stack.superuserUrl, variables));
  await moveSecondServer(second.superuserUrl, variables);
  await withData("be migrated", migrateFleet(variables, { say: () => undefined }));
  const operator = await seedOperator({ ...variables, PASSWORD_PEPPERS: known["PASSWORD_PEPPERS"] }, known);
  writeDevVars({ ...variables, ...operator });

  console.log("· starting the Worker");
  const serve = [process.execPath, WRANGLER, "dev", `--ip=${HOST}`, `--port=${port}`];
  worker = runGuarded([...serve, "--show-interactive-dev-session=false"], {
    cwd: root,
    env: { ...process.env, ...OFFLINE, ...STARTED },
    stdout: "pipe",
    stderr: "inherit",
  });
  const over = Promise.race([
    worker.exit.then((code) => `wrangler dev has ended with code ${code}.`),
    ...[stack, second].map(async ({ ended }) => `${await ended} \`npm run dev\` starts it again.`),
  ]);
  await Promise.race([isReady(worker.output), over.then(raise)]);
  await withData("be used", seed(variables.ISSUER, variables.OPERATOR_TOKEN, variables));
  await withData("be used", seedElsewhere(variables.ISSUER, second.superuserUrl, variables));
  await withData("be used", seedLife(variables));
  printTour(variables.ISSUER, mailbox.url, variables.ACCOUNT_URL);
  printOperator(variables.ISSUER, operator);
  // As the platform's cron does where it is deployed.
  setInterval(() => void fetch(`${variables.ISSUER}${CRON}`).catch(() => undefined), SWEEP_MS).unref();
  raise(await over);
}

/** The page that mailed links open: the one that .dev.vars names, or else the API's own, at this start's port. */
function accountPage(known: ReturnType<typeof readDevVars>): string {
  // Passkeys are made for a name, and 127.0.0.1 is none.
  const own = (issuer: string) => `${issuer.replace(HOST, "localhost")}/account`;
  const named = known["ACCOUNT_URL"];
  return named && named !== own(known["ISSUER"] ?? "") ? named : own(`http://${HOST}:${port}`);
}

/** Adds the way out to what is wrong with the data of an earlier start. */
function unusable(error: unknown): never {
  throw error instanceof UnusableData ? new Error(`${error.message}\n${WAY_OUT}`) : error;
}

/** A message that advises another port, with the command that takes one. */
function withAnotherPort(message: string): string {
  const other = port === 8800 ? 8900 : 8800;
  const isAdvised = message.endsWith("choose another port.");
  return isAdvised ? `${message} PORT=${other} npm run dev takes ${other} to ${other + 3}.` : message;
}

/** Throws if .dev.vars points elsewhere than to the database that is about to start. */
function refuseForeign(known: ReturnType<typeof readDevVars>): void {
  for (const [name, value] of Object.entries(known)) {
    if (!name.endsWith("DATABASE_URL") || !value) continue;
    const host = URL.parse(value)?.hostname;
    if (host === undefined)
      throw new Error(
        `${DEV_VARS} is damaged: its ${name} is no URL. Move it away, and run \`npm run dev -- --fresh\`.`,
      );
    if (host !== HOST)
      throw new Error(
        `.dev.vars points at a database on ${host}. Run \`npx wrangler dev\` to use that one, or move the file away.`,
      );
  }
}

/** Waits for what uses the data of an earlier start, and adds the way out to what it fails with. */
async function withData(purpose: string, use: Promise<void>): Promise<void> {
  await use.catch((error: unknown) => {
    const full = fullDisk(root, messageOf(error));
    throw new Error(full ?? `The data in .partywall cannot ${purpose}: ${messageOf(error)}\n${WAY_OUT}`, {
      cause: error,
    });
  });
}

/** Passes on what wrangler prints, and returns once the Worker listens. */
async function isReady(output: Readable | null): Promise<void> {
  if (!output) throw new Error("wrangler has no output to read");
  const ready = Promise.withResolvers<void>();
  createInterface({ input: output }).on("line", (line) => {
    console.log(line);
    if (line.includes("Ready on")) ready.resolve();
  });
  await ready.promise;
}

/** Throws the sentence, unless the end is what was asked for. */
function raise(sentence: string): void {
  if (!stopping) throw new Error(sentence);
}
