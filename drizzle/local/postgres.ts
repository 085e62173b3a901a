import { randomBytes } from "node:crypto";
import { chownSync, closeSync, existsSync, openSync, readFileSync, readdirSync, renameSync } from "node:fs";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Guarded, runGuarded } from "./guard.ts";
import { type Home, makeOwn } from "./home.ts";
import { alive, claimPort, describeProcess, worksIn } from "./holders.ts";

const READY_TIMEOUT_MS = 60_000;
const LEAVE_TIMEOUT_MS = 15_000;
const FAST_SHUTDOWN_MS = 20_000;
const POLL_MS = 10;
const START_ATTEMPTS = 20;
const RETRY_MS = 100;

type Settings = {
  dir: string;
  home: Home;
  /** 0 takes a free port at the first start and keeps it. */
  port: number;
  maxConnections: number;
  ephemeral: boolean;
  say: (line: string) => void;
};

/** One cluster on loopback; `start` and `stop` may alternate, port and data stay. */
export class Postgres {
  readonly #settings: Settings;
  readonly #log: string;
  #port: number;
  #pid = 0;
  #process: Guarded | undefined;
  #stopping = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#port = settings.port;
    this.#log = join(settings.dir, "postgres.log");
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#pid;
  }

  /** The superuser's password; it is in the folder, readable by the folder's owner alone. */
  get password(): string {
    return readFileSync(this.#passwordFile, "utf8");
  }

  get #passwordFile(): string {
    return join(this.#settings.dir, "password");
  }

  /** Makes the cluster unless it is there, whole or not at all; true when it was made. */
  async create(): Promise<boolean> {
    const { home, say, ephemeral } = this.#settings;
    if (existsSync(join(home.data, "PG_VERSION"))) {
      if (existsSync(this.#passwordFile)) return false;
      throw new Error(`${this.#passwordFile} is missing. Remove ${home.data} to start afresh.`);
    }
    say("creating the database cluster");
    for (const name of readdirSync(dirname(home.data))) {
      if (name.startsWith("data.new"))
        rmSync(join(dirname(home.data), name), { recursive: true, force: true });
    }
    const making = `${home.data}.new-${process.pid}`;
    const password = randomBytes(24).toString("base64url");
    writeFileSync(this.#passwordFile, password, { mode: 0o600 });
    makeOwn(making, home.account);
    const secret = join(making, "..", `data.new-password-${process.pid}`);
    writeFileSync(secret, password, { mode: 0o600, flag: "wx" });
    try {
      if (home.account) chownSync(secret, home.account.uid, home.account.gid);
      const code = await this.#run([
        join(home.programs, "initdb"),
        `--pgdata=${making}`,
        "--username=postgres",
        `--pwfile=${secret}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        ...(ephemeral ? ["--no-sync"] : []),
      ]).exit;
      if (code !== 0) throw new Error(`initdb failed (${code}).\n${this.#lastWords()}`);
      renameSync(making, home.data);
      return true;
    } finally {
      rmSync(secret, { force: true });
      rmSync(making, { recursive: true, force: true });
    }
  }

  /** Resolves when Postgres takes connections; rejects with the end of its log when it does not start. */
  async start(): Promise<void> {
    const { home, say } = this.#settings;
    await this.#awaitPredecessor();
    for (let attempt = 1; ; attempt += 1) {
      const port = await claimPort(this.#port, "PostgreSQL");
      if (this.#stopping) throw new Error("PostgreSQL was stopped while it started.");
      say(`starting PostgreSQL ${home.version}`);
      const before = this.#pidFile().join();
      const process = this.#run(this.#command(port), () => this.#stopping || say("PostgreSQL has stopped"));
      if (await this.#ready(process, before)) {
        this.#port = port;
        return;
      }
      const words = this.#lastWords();
      if (attempt >= START_ATTEMPTS || !this.#worthAnother(words)) {
        throw new Error(`PostgreSQL did not start.\n${words}`);
      }
      await delay(RETRY_MS);
    }
  }

  /** Whether a start failed for a reason that passes: a free port just taken, or sessions that outlive a kill. */
  #worthAnother(words: string): boolean {
    if (this.#stopping) return false;
    return (this.#port === 0 && words.includes("could not bind")) || words.includes("still in use");
  }

  /** Ends all sessions and waits until no process of Postgres is left. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const process = this.#process;
    this.#process = undefined;
    if (process) {
      const pid = this.#pid;
      const timer = setTimeout(() => pid > 0 && quit(pid), FAST_SHUTDOWN_MS);
      await process.stop();
      clearTimeout(timer);
    }
    this.#pid = 0;
  }

  async restart(): Promise<void> {
    await this.stop();
    this.#stopping = false;
    await this.start();
  }

  #command(port: number): string[] {
    const { home, maxConnections, ephemeral } = this.#settings;
    const settings = {
      listen_addresses: "127.0.0.1",
      port,
      unix_socket_directories: "",
      // Room for those who connect to it directly, and for sessions that are on their way out.
      max_connections: Math.max(100, maxConnections * 2 + 20),
      timezone: "UTC",
      log_timezone: "UTC",
      log_checkpoints: "off",
      logging_collector: "off",
      ...(ephemeral && { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }),
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    return [join(home.programs, "postgres"), "-D", home.data, ...options];
  }

  #run(command: string[], onExit?: () => void): Guarded {
    const log = openSync(this.#log, "w", 0o600);
    try {
      this.#process = runGuarded(command, this.#settings.home.account, log, onExit);
      return this.#process;
    } finally {
      closeSync(log);
    }
  }

  /** True when a postmaster.pid that is not the one from before says "ready", false when the process ended. */
  async #ready(process: Guarded, before: string): Promise<boolean> {
    let ended = false;
    void process.exit.then(() => (ended = true));
    for (const deadline = Date.now() + READY_TIMEOUT_MS; Date.now() < deadline; await delay(POLL_MS)) {
      if (ended) return false;
      const lines = this.#pidFile();
      if (lines[7]?.trim() !== "ready" || lines.join() === before) continue;
      this.#pid = Number(lines[0]);
      return true;
    }
    await process.stop();
    return false;
  }

  /**
   * Waits for a Postgres of a stack that was killed to end; its guard is stopping it. A postmaster.pid whose
   * id now belongs to something else would keep Postgres from starting, so that one is removed.
   */
  async #awaitPredecessor(): Promise<void> {
    const { data } = this.#settings.home;
    for (const deadline = Date.now() + LEAVE_TIMEOUT_MS; ; await delay(POLL_MS)) {
      const pid = Number(this.#pidFile()[0] ?? 0);
      if (!(pid > 0) || !alive(pid)) return;
      if (!worksIn(pid, data)) {
        rmSync(join(data, "postmaster.pid"), { force: true });
        return;
      }
      if (Date.now() > deadline) {
        throw new Error(
          `The data in ${data} is in use by ${describeProcess(pid)}. Stop it, then start again.`,
        );
      }
    }
  }

  #pidFile(): string[] {
    try {
      return readFileSync(join(this.#settings.home.data, "postmaster.pid"), "utf8").split("\n");
    } catch {
      return [];
    }
  }

  #lastWords(): string {
    return readFileSync(this.#log, "utf8").trim().split("\n").slice(-12).join("\n");
  }
}

function quit(pid: number): void {
  try {
    process.kill(pid, "SIGQUIT");
  } catch {
    // It has just gone.
  }
}
