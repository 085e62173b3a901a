import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { chmodSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { type Endpoint, serve } from "./endpoint.ts";
import { UnusableData, fullDisk } from "./faults.ts";
import { USAGE, readFlags } from "./flags.ts";
import { portTaken } from "./holders.ts";
import { settle, vacate } from "./home.ts";
import { LOCK_FILE, lockFolder } from "./lock.ts";
import { Pool } from "./pool.ts";
import { Postgres } from "./postgres.ts";
import { type Report, describeReport } from "./report.ts";

const EPHEMERAL_FILE = "ephemeral";

// node-postgres takes what it is not told from these, and here the connection string alone counts.
for (const name of Object.keys(process.env)) if (name.startsWith("PG")) delete process.env[name];

// Known before the flags are read: a parent is told of wrong ones too.
const attached = process.argv.includes("--attached");
let place = "the database";

// What has to be undone, in the reverse order of its making.
const undo: (() => Promise<void> | void)[] = [];
let stopping = false;

process.stdout.on("error", () => undefined);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void stop(0));
process.on("uncaughtException", (error) => fail(error));
process.on("unhandledRejection", (error) => fail(error));

const restart = Promise.withResolvers<() => Promise<void>>();
if (attached) {
  // The other end belongs to the parent alone, so it closes when the parent ends, even when it is killed.
  const commands = createInterface({ input: process.stdin });
  commands.on("close", () => void stop(0));
  commands.on("line", (line) => {
    if (line === "restart") restart.promise.then((again) => again()).catch(fail);
    else void stop(0);
  });
}

try {
  await start();
} catch (error) {
  fail(error);
}

/** Starts everything, each part undone by `stop` from the moment it is there. */
async function start(): Promise<void> {
  const flags = readFlags(process.argv.slice(2));
  if (flags.help) {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  place = flags.dir ?? tmpdir();
  const dir = makeFolder(flags.dir);
  const lock = lockFolder(dir);
  undo.push(() => lock.release());
  // Deleted only now that the folder is this process'; an ephemeral one is of a stack that was killed.
  if (flags.fresh || existsSync(join(dir, EPHEMERAL_FILE))) await vacate(dir, LOCK_FILE);
  if (flags.ephemeral) {
    refuseForeign(dir);
    writeFileSync(join(dir, EPHEMERAL_FILE), "");
    undo.push(() => rmSync(dir, { recursive: true, force: true }));
  }

  let pool: Pool | undefined;
  const endpoint = await listen(flags.port, () => pool);
  undo.push(() => endpoint.close());

  const home = settle(dir);
  if (flags.ephemeral)
    undo.push(() => home.outside.forEach((path) => rmSync(path, { recursive: true, force: true })));
  const postgres = new Postgres({
    dir,
    home,
    port: flags.postgresPort,
    maxConnections: flags.maxConnections,
    ephemeral: flags.ephemeral,
    say: (line) => report({ progress: line }),
    // A parent decides for itself, and may restart it.
    onEnd: (why) => (attached ? report({ ended: why }) : fail(new Error(why))),
  });
  undo.push(() => postgres.stop());
  const fresh = await postgres.create();
  await postgres.start();
  pool = new Pool(postgres.port, flags.maxConnections);

  restart.resolve(async () => {
    await pool?.closeIdle();
    await postgres.restart();
    report({ restarted: postgres.pid });
  });
  report({
    ready: {
      endpoint: `http://127.0.0.1:${endpoint.port}/sql`,
      postgresPort: postgres.port,
      superuserUrl: `postgres://postgres:${postgres.password}@127.0.0.1:${postgres.port}/postgres`,
      fresh,
      pids: { stack: process.pid, postgres: postgres.pid },
      folders: flags.ephemeral ? [dir, ...home.outside] : [],
    },
  });
}

/** Ends Postgres, gives the folder back and exits; the first call decides the exit code. */
async function stop(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  for (const step of undo.splice(0).toReversed()) {
    try {
      await step();
    } catch (error) {
      report({ progress: `while stopping: ${String(error)}` });
    }
  }
  process.exit(code);
}

function fail(error: unknown): void {
  const told = error instanceof Error ? error.message : String(error);
  const sentence = fullDisk(place, error) ?? told;
  if (!stopping) report({ error: sentence, unusable: error instanceof UnusableData });
  void stop(1);
}

function report(event: Report): void {
  process.stdout.write(`${attached ? JSON.stringify(event) : describeReport(event)}\n`);
}

/** The folder's real path. A new one may be passed through by others, since Postgres may run as another account. */
function makeFolder(named: string | undefined): string {
  const dir = named === undefined ? mkdtempSync(join(tmpdir(), "offline-neon-")) : resolve(named);
  if (existsSync(dir) && !statSync(dir).isDirectory())
    throw new Error(`${dir} is a file, and the database needs a folder there. Move it away.`);
  const made = mkdirSync(dir, { recursive: true });
  if (made !== undefined || named === undefined) chmodSync(dir, 0o711);
  return realpathSync(dir);
}

function refuseForeign(dir: string): void {
  const foreign = readdirSync(dir).find((name) => name !== LOCK_FILE && name !== "holder");
  if (foreign === undefined) return;
  throw new Error(`${dir} holds ${foreign}, and an ephemeral stack deletes its folder. Choose an empty one.`);
}

async function listen(port: number, pool: () => Pool | undefined): Promise<Endpoint> {
  try {
    return await serve(port, pool);
  } catch (error) {
    const inUse = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
    throw inUse ? portTaken(port, "the endpoint") : error;
  }
}
