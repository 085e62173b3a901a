import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { alive, describeProcess } from "./holders.ts";

const BUSY = 5;
const NOT_A_DATABASE = 26;
export const LOCK_FILE = "lock";
const HOLDER_FILE = "holder";

/**
 * Takes a folder for this process until it ends, and throws the sentence that names the holder otherwise.
 * Node has no flock; an exclusive SQLite transaction is a lock of the kernel, so no crash leaves one behind.
 */
export function lockFolder(dir: string): { release(): void } {
  const path = join(dir, LOCK_FILE);
  for (;;) {
    const database = open(dir, path);
    if (!database) continue;
    // The last holder may have removed an ephemeral folder between opening and locking.
    if (existsSync(path)) {
      writeFileSync(join(dir, HOLDER_FILE), String(process.pid));
      return { release: () => database.close() };
    }
    database.close();
  }
}

/** The locked file, or undefined when it held garbage, which is gone now. */
function open(dir: string, path: string): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    closeSync(openSync(path, "a", 0o600)); // nobody else is to lock it
    database = new DatabaseSync(path);
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database?.close();
    const code = error instanceof Error && "errcode" in error ? error.errcode : undefined;
    if (code === BUSY) throw taken(dir);
    // SQLite reads the file only once it has a lock, so no stack holds this one. Nothing is ever kept in it.
    if (code === NOT_A_DATABASE) {
      truncateSync(path);
      return undefined;
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`The folder ${dir} cannot be locked (${reason}). Is it yours to write?`, {
      cause: error,
    });
  }
}

function taken(dir: string): Error {
  let holder = "another process";
  try {
    const pid = Number(readFileSync(join(dir, HOLDER_FILE), "utf8"));
    if (pid > 0 && alive(pid)) holder = describeProcess(pid);
  } catch {
    // The holder has not written its id yet.
  }
  return new Error(`The folder ${dir} is in use by ${holder}. Stop it, or choose another folder.`);
}
