import { type SpawnOptions, spawn } from "node:child_process";
import type { Readable } from "node:stream";

/** The account a command runs as; null is the account of this process. */
export type Account = { uid: number; gid: number } | null;

const KEPT: ReadonlySet<string> = new Set(["PATH", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR"]);

// The shell leads a process group, starts the command and waits for it. Its own child watches stdin, whose other end
// this process holds: when that closes, however it comes about, the command gets SIGINT until it is gone. Repeated,
// because a command that has just started ignores the first ones. What the command leaves in the group is killed as
// soon as the shell has told its exit code.
const SCRIPT = `
exec 3<&0
"$@" 3<&- </dev/null &
command=$!
{
  while read -r line; do :; done
  while kill -INT "$command"; do sleep 0.1; done
} <&3 3<&- >/dev/null 2>&1 &
exec 3<&-
wait "$command"
code=$?
{
  while kill -0 $$; do sleep 0.1; done
  kill -KILL 0
} </dev/null >/dev/null 2>&1 &
exit "$code"
`;

export type Guarded = {
  /** What the command prints, if that is a pipe. */
  output: Readable | null;
  /** The exit code, once the command is gone and all of its process group is killed. */
  exit: Promise<number>;
  /** Has the command interrupted (for Postgres: a fast shutdown) and waits until it is gone. */
  stop(): Promise<void>;
};

type Surroundings = Pick<SpawnOptions, "uid" | "gid" | "cwd" | "env"> & {
  stdout: number | "pipe";
  stderr: number | "inherit";
};

/** Runs a command that outlives this process by no more than it takes to stop, not even when this process is killed. */
export function runGuarded(command: string[], { stdout, stderr, ...where }: Surroundings): Guarded {
  const child = spawn("/bin/sh", ["-c", SCRIPT, "guard", ...command], {
    ...where,
    detached: true, // its own process group, so Ctrl-C in a terminal does not reach it
    stdio: ["pipe", stdout, stderr],
  });
  child.stdin?.on("error", () => undefined);
  const exit = new Promise<number>((resolve) => {
    child.once("error", () => resolve(127));
    child.once("exit", (code) => {
      if (child.pid) killGroup(child.pid);
      resolve(code ?? 1);
    });
  });
  return {
    output: child.stdout,
    exit,
    async stop() {
      child.stdin?.end();
      await exit;
    },
  };
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // Nobody was left.
  }
}

/** An environment in which nothing of the caller's changes what Postgres does. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env, LC_ALL: "C" };
  for (const name of Object.keys(environment)) if (!KEPT.has(name)) delete environment[name];
  return environment;
}
