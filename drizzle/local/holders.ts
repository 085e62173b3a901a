import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";

const LISTENING = "0A"; // the state column of /proc/net/tcp

/** The command line of a process, or undefined when there is none or it cannot be seen. */
function commandOf(pid: number): string | undefined {
  try {
    const command =
      process.platform === "linux"
        ? readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
        : execFileSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8", stdio: "pipe" });
    return command.trim() || undefined;
  } catch {
    return undefined;
  }
}

/** `process 123 (node server.js)`, or as much of it as is known. */
export function describeProcess(pid: number): string {
  const command = commandOf(pid);
  return command === undefined ? `process ${pid}` : `process ${pid} (${command.slice(0, 120)})`;
}

/** Whether a process has this folder as its working directory or names it as an argument. */
export function worksIn(pid: number, folder: string): boolean {
  try {
    if (process.platform === "linux" && readlinkSync(`/proc/${pid}/cwd`) === folder) return true;
  } catch {
    // Another account's process: what it was started with is still readable.
  }
  return `${commandOf(pid) ?? ""} `.includes(` ${folder} `);
}

/** A process that works in this folder, as `worksIn` tells. */
export function processIn(folder: string): number | undefined {
  return processes().find((pid) => worksIn(pid, folder));
}

function processes(): number[] {
  const ids =
    process.platform === "linux"
      ? readdirSync("/proc")
      : execFileSync("ps", ["-A", "-o", "pid="], { encoding: "utf8" }).split(/\s+/);
  return ids.filter((id) => /^\d+$/.test(id)).map(Number);
}

/** Whether a process with this id exists, of whatever account. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** The process that listens on a TCP port of this machine, as far as this account may know. */
function portHolder(port: number): number | undefined {
  try {
    if (process.platform !== "linux") {
      const listening = ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-t"];
      return Number.parseInt(execFileSync("lsof", listening, { encoding: "utf8", stdio: "pipe" }), 10);
    }
    const socket = listeningSocket(port);
    return socket === undefined ? undefined : processes().find((pid) => holds(pid, socket));
  } catch {
    return undefined;
  }
}

function listeningSocket(port: number): string | undefined {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readFileSync(table, "utf8").split("\n")) {
      const columns = line.trim().split(/\s+/);
      if (columns[1]?.endsWith(suffix) && columns[3] === LISTENING) return `socket:[${columns[9]}]`;
    }
  }
  return undefined;
}

function holds(pid: number, socket: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === socket);
  } catch {
    return false; // another account's, or gone
  }
}

/** The sentence for a port that is taken: who has it, and what to do. */
export function portTaken(port: number, purpose: string): Error {
  const pid = portHolder(port);
  const holder = pid === undefined ? "another process" : describeProcess(pid);
  return new Error(`Port ${port} for ${purpose} is in use by ${holder}. Stop it, or choose another port.`);
}

/** A port of loopback: the given one, or a free one for 0. Rejects with the sentence when it is taken. */
export function claimPort(port: number, purpose: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? portTaken(port, purpose) : error);
    });
    server.listen({ port, host: "127.0.0.1" }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
