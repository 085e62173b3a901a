import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { prepareLocalDatabase } from "./local-database.ts";
import { startStack, type Stack } from "./local/stack.ts";
import { printTour, seed } from "./tour.ts";
import { makeDatabaseUrls, makeSecrets, readDevVars, writeDevVars } from "./variables.ts";

const root = new URL("..", import.meta.url).pathname;
const HOST = "127.0.0.1";
/** wrangler neither phones home nor looks up where this machine is. */
const OFFLINE = { ...process.env, WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" };

const { values: flags } = parseArgs({ options: { fresh: { type: "boolean", default: false } } });
const port = Number(process.env["PORT"] ?? 8787);

let stack: Stack | undefined;
let worker: ChildProcess | undefined;
let stopping: Promise<void> | undefined;

/** Stops the Worker, then Postgres, once. */
function stop(): Promise<void> {
  stopping ??= (async () => {
    if (worker && worker.exitCode === null && worker.signalCode === null) {
      worker.kill("SIGTERM");
      await once(worker, "exit");
    }
    await stack?.stop();
  })();
  return stopping;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => void stop().finally(() => process.exit(0)));
}

try {
  await dev();
} catch (error) {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await stop();
}

/** Serves the API with everything in it until the Worker ends. Throws one sentence on what is in the way. */
async function dev(): Promise<void> {
  if (!Number.isInteger(port) || port < 1 || port > 65_533)
    throw new Error(`PORT=${process.env["PORT"]} is no port.`);
  const known = readDevVars();
  const host = known["DATABASE_URL"] && new URL(known["DATABASE_URL"]).hostname;
  if (host && host !== HOST) {
    throw new Error(
      `.dev.vars points at a database on ${host}. Run \`npx wrangler dev\` to use that one, or move the file away.`,
    );
  }
  await refuseBusyPort();
  if (flags.fresh)
    for (const dir of [".partywall", ".wrangler/state"]) rmSync(root + dir, { recursive: true, force: true });

  stack = await startStack({
    dir: `${root}.partywall`,
    port: port + 1,
    postgresPort: port + 2,
    onProgress: (line) => console.log(`· ${line}`),
  });
  if (!stack.fresh && !known["PASSWORD_PEPPER"]) {
    throw new Error(
      "The data in .partywall was made with secrets that .dev.vars no longer has: run `npm run dev -- --fresh`.",
    );
  }
  const variables = {
    ...(await makeSecrets()),
    ...known,
    ...makeDatabaseUrls(`${HOST}:${stack.postgresPort}`, known),
    NEON_FETCH_ENDPOINT: stack.endpoint,
    ISSUER: `http://${HOST}:${port}`,
    API_KEY_ENVIRONMENT: "dev",
    BASE_DOMAIN: "localhost",
    MAIL_URL: "log",
  };
  console.log("· migrating");
  await prepareLocalDatabase(stack.superuserUrl, variables);
  writeDevVars(variables);

  console.log("· starting the Worker");
  worker = spawn(
    process.execPath,
    [
      `${root}node_modules/wrangler/bin/wrangler.js`,
      "dev",
      `--ip=${HOST}`,
      `--port=${port}`,
      "--show-interactive-dev-session=false",
    ],
    // Its own group: Ctrl-C comes to this process, which then stops both in order.
    { cwd: root, env: OFFLINE, stdio: ["ignore", "pipe", "inherit"], detached: true },
  );
  const exited = once(worker, "exit");
  await isReady(worker);
  await seed(variables.ISSUER, variables.OPERATOR_TOKEN);
  printTour(variables.ISSUER);
  await exited;
}

/** Passes on what wrangler prints, and returns once the Worker listens. */
async function isReady(child: ChildProcess): Promise<void> {
  const ready = Promise.withResolvers<void>();
  if (!child.stdout) throw new Error("wrangler has no output to read");
  createInterface({ input: child.stdout }).on("line", (line) => {
    console.log(line);
    if (line.includes("Ready on")) ready.resolve();
  });
  child.once("exit", (code) => ready.reject(new Error(`wrangler dev ended with code ${code}.`)));
  await ready.promise;
}

/** wrangler would take another port; whoever asked for this one should hear of it instead. */
async function refuseBusyPort(): Promise<void> {
  const probe = createServer().listen(port, HOST);
  await once(probe, "listening").catch(() => {
    throw new Error(
      `Port ${port} is in use: is another \`npm run dev\` running? PORT=8800 npm run dev takes another.`,
    );
  });
  probe.close();
}
