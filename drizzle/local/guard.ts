import { type ChildProcess, spawn } from "node:child_process";

/** The account a command runs as; null is the account of this process. */
export type Account = { uid: number; gid: number } | null;

const KEPT: ReadonlySet<string> = new Set(["PATH", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR"]);

// The shell starts the command and waits for it. Its own child watches stdin, whose other end this process
// holds: when that closes, however it comes about, the command gets SIGINT until it is gone. Repeated,
// because a command that has just started ignores the first ones.
const SCRIPT = `
exec 3<&0
"$@" 3<&- </dev/null &
command=$!
{
  while read -r line; do :; done
  while kill -INT "$command"; do sleep 0.1; done
} <&3 3<&- >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$command"
code=$?
kill -KILL "$watch"
exit "$code"
`;

export type Guarded = {
  /** The exit code, once the command is gone. */
  exit: Promise<number>;
  /** Has the command interrupted (for Postgres: a fast shutdown) and waits until it is gone. */
  stop(): Promise<void>;
};

/** Runs a command that does not outlive this process, not even when this process is killed. */
export function runGuarded(command: string[], account: Account, log: number, onExit?: () => void): Guarded {
  const child: ChildProcess = spawn("/bin/sh", ["-c", SCRIPT, "guard", ...command], {
    ...account,
    cwd: account === null ? undefined : "/",
    detached: true, // its own process group, so Ctrl-C in a terminal does not reach it
    env: commandEnvironment(),
    stdio: ["pipe", log, log],
  });
  child.stdin?.on("error", () => undefined);
  const exit = new Promise<number>((resolve) => {
    child.once("error", () => resolve(127));
    child.once("exit", (code) => resolve(code ?? 1));
  });
  if (onExit) void exit.then(onExit);
  return {
    exit,
    async stop() {
      child.stdin?.end();
      await exit;
    },
  };
}

/** An environment in which nothing of the caller's changes what Postgres does. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env, LC_ALL: "C" };
  for (const name of Object.keys(environment)) if (!KEPT.has(name)) delete environment[name];
  return environment;
}
