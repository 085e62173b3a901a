import { randomBytes } from "node:crypto";
import { chownSync, closeSync, existsSync, openSync, readFileSync, readdirSync, renameSync } from "node:fs";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { UnusableData, fullDisk } from "./faults.ts";
import { type Guarded, commandEnvironment, runGuarded } from "./guard.ts";
import { type Home, makeOwn } from "./home.ts";
import { claimPort } from "./holders.ts";
import { awaitPredecessor, readPidFile } from "./predecessor.ts";

const READY_TIMEOUT_MS = 60_000;
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
  /** Hears why Postgres is gone when nobody stopped it. */
  onEnd: (why: string) => void;
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
      this.#refuseForeign();
      return false;
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
      if (code !== 0)
        throw new Error(
          fullDisk(home.data, this.#lastWords()) ??
            `PostgreSQL could not make its data in ${home.data}. Its last words:\n${this.#lastWords()}`,
        );
      renameSync(making, home.data);
      return true;
    } finally {
      rmSync(secret, { force: true });
      rmSync(making, { recursive: true, force: true });
    }
  }

  /** Throws when the data is another version's, or was not left as Postgres leaves it. */
  #refuseForeign(): void {
    const { data, version } = this.#settings.home;
    const made = readFileSync(join(data, "PG_VERSION"), "utf8").trim();
    if (!/^\d+$/.test(made))
      throw new UnusableData(`The data in ${data} is damaged: its PG_VERSION names no version.`);
    if (Number(made) !== Number.parseInt(version, 10))
      throw new UnusableData(`The data in ${data} was made by PostgreSQL ${made}, and this is ${version}.`);
    if (!existsSync(this.#passwordFile))
      throw new UnusableData(
        `The password of the data in ${data} is gone: there is no ${this.#passwordFile}.`,
      );
  }

  /** Resolves when Postgres takes connections; rejects with what is in the way when it does not start. */
  async start(): Promise<void> {
    const { home, say, onEnd } = this.#settings;
    await awaitPredecessor(home.data);
    for (let attempt = 1; ; attempt += 1) {
      const port = await claimPort(this.#port, "PostgreSQL");
      if (this.#stopping) throw new Error("PostgreSQL was stopped while it started.");
      say(`starting PostgreSQL ${home.version}`);
      const before = readPidFile(home.data).join();
      const process = this.#run(this.#command(port));
      if (await this.#ready(process, before)) {
        this.#port = port;
        void process.exit.then(() => process === this.#process && onEnd(this.#whyEnded()));
        return;
      }
      const words = this.#lastWords();
      if (attempt >= START_ATTEMPTS || !this.#worthAnother(words)) throw this.#whyNotStarted(words);
      await delay(RETRY_MS);
    }
  }

  #whyNotStarted(words: string): Error {
    const { data } = this.#settings.home;
    const full = fullDisk(data, words);
    if (full) return new Error(full);
    if (this.#stopping || words.includes("could not bind"))
      return new Error(`PostgreSQL did not start. Its last words:\n${words}`);
    return new UnusableData(
      `PostgreSQL does not start with the data in ${data}: it, or its configuration, is damaged. Its last words:\n${words}`,
    );
  }

  #whyEnded(): string {
    return (
      fullDisk(this.#settings.home.data, this.#lastWords()) ??
      `PostgreSQL has ended, and not because it was told to: was it killed? ${this.#log} may say more.`
    );
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

  #run(command: string[]): Guarded {
    const { account } = this.#settings.home;
    const log = openSync(this.#log, "w", 0o600);
    try {
      this.#process = runGuarded(command, {
        ...account,
        cwd: account === null ? undefined : "/",
        env: commandEnvironment(),
        stdout: log,
        stderr: log,
      });
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
      const lines = readPidFile(this.#settings.home.data);
      if (lines[7]?.trim() !== "ready" || lines.join() === before) continue;
      this.#pid = Number(lines[0]);
      return true;
    }
    await process.stop();
    return false;
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
