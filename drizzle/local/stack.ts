import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { requireNode } from "./engine.ts";
import { UnusableData } from "./faults.ts";
import { alive } from "./holders.ts";
import type { Ready, Report } from "./report.ts";

export { UnusableData };

const KILLED_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
/** JavaScript where this file is: Node takes no TypeScript from packages. */
const MAIN = join(import.meta.dirname, `main${extname(import.meta.filename)}`);

export type Stack = {
  /** Where SQL over HTTP is served, like "http://127.0.0.1:8788/sql". */
  endpoint: string;
  postgresPort: number;
  /** Connection string of the superuser; its password was generated and is kept in the folder, mode 0600. */
  superuserUrl: string;
  /** True when this start made the database cluster. */
  fresh: boolean;
  /** Resolves to why when Postgres, or the whole stack, has ended without being told to. */
  ended: Promise<string>;
  /** Process ids; `postgres` is the postmaster's and changes with a restart. */
  pids: { stack: number; postgres: number };
  /** Stops and starts Postgres on the same port and data. */
  restartPostgres(): Promise<void>;
  /** Resolves when no process is left and the folder is free (and deleted, if ephemeral). */
  stop(): Promise<void>;
};

export type StackOptions = {
  /** Holds data, lock and password; made if missing. Without it, the stack is ephemeral, in a folder of its own. */
  dir?: string;
  /** Of the endpoint; 0, the default, takes a free one. */
  port?: number;
  /** Of Postgres; 0, the default, takes a free one. */
  postgresPort?: number;
  /** Deletes first what an earlier stack left in the folder, unless that one still runs. */
  fresh?: boolean;
  /** Trades durability for speed and deletes the folder at the end. */
  ephemeral?: boolean;
  /** Most connections that the endpoint opens to Postgres, over all connection strings. */
  maxConnections?: number;
  onProgress?: (line: string) => void;
};

/**
 * Starts Postgres and its endpoint in a process that ends with this one, however this one ends. Rejects
 * with a sentence on what is in the way: UnusableData when the data is, and `fresh` would help.
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  requireNode();
  const child = spawn(process.execPath, [MAIN, ...flags(options)], {
    detached: true, // signals of the terminal are for the parent, which the stack follows
    stdio: ["pipe", "pipe", "pipe"],
  });
  const complaint: string[] = [];
  child.stdin.on("error", () => undefined);
  child.stderr.on("data", (chunk: Buffer) => complaint.push(chunk.toString()));

  const ready = Promise.withResolvers<Ready>();
  const restarts: PromiseWithResolvers<number>[] = [];
  const over = Promise.withResolvers<string>();
  let lost = new Error("The stack has ended.");
  createInterface({ input: child.stdout }).on("line", (line) => {
    const report: Report = JSON.parse(line);
    if ("progress" in report) options.onProgress?.(report.progress);
    else if ("ready" in report) ready.resolve(report.ready);
    else if ("restarted" in report) restarts.shift()?.resolve(report.restarted);
    else if ("ended" in report) over.resolve(report.ended);
    else lost = report.unusable ? new UnusableData(report.error) : new Error(report.error);
  });
  let stopping = false;
  const ended = ending(child).then((signal) => {
    if (complaint.length > 0 && lost.message === "The stack has ended.") lost = new Error(complaint.join(""));
    for (const waiting of [ready, ...restarts.splice(0)]) waiting.reject(lost);
    if (!stopping) over.resolve(lost.message);
    return signal;
  });

  const { folders, pids, ...about } = await ready.promise;
  const gone = ended.then((signal) => (signal === null ? undefined : cleanAfter(pids.postgres, folders)));
  return {
    ...about,
    ended: over.promise,
    pids,
    async restartPostgres() {
      if (child.exitCode !== null || child.signalCode !== null) throw lost;
      const restarted = Promise.withResolvers<number>();
      restarts.push(restarted);
      child.stdin.write("restart\n");
      pids.postgres = await restarted.promise;
    },
    async stop() {
      stopping = true;
      child.stdin.end();
      await gone;
    },
  };
}

function flags(options: StackOptions): string[] {
  const { dir, port = 0, postgresPort = 0, fresh = false, ephemeral = false, maxConnections } = options;
  return [
    "--attached",
    ...(dir === undefined ? [] : [`--dir=${dir}`]),
    `--port=${port}`,
    `--postgres-port=${postgresPort}`,
    ...(maxConnections === undefined ? [] : [`--max-connections=${maxConnections}`]),
    ...(fresh ? ["--fresh"] : []),
    ...(ephemeral ? ["--ephemeral"] : []),
  ];
}

/** Resolves when the process has ended and all it wrote has been read: to its signal, or null. */
function ending(child: ChildProcess): Promise<NodeJS.Signals | null> {
  return new Promise((resolve) => {
    child.once("error", () => resolve(null));
    child.once("close", (_code, signal) => resolve(signal));
  });
}

/** Deletes what a killed ephemeral stack could not, once its Postgres is gone. */
async function cleanAfter(postgres: number, folders: string[]): Promise<void> {
  const deadline = Date.now() + KILLED_TIMEOUT_MS;
  while (alive(postgres) && Date.now() < deadline) await delay(POLL_MS);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
