import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type pg from "pg";
import { connected } from "../../drizzle/connected.ts";
import type { Stack } from "../../drizzle/local/stack.ts";
import type { Provided, SetUp } from "./setup.ts";

/**
 * What the tests of a project have found in Postgres and were given, with the process that serves the rest of it; `isKept`
 * where no edit took part, so that others may find it again.
 */
type Stage = {
  project: string;
  process: ChildProcess;
  provided: Provided;
  files: Set<string>;
  roles: string;
  isKept: boolean;
};

/**
 * A copy of the project, a Postgres, and once tests have run a process for them and what they found there: one defect after
 * another is looked for in it.
 */
export type Bench = { path: string; stack: Stack; tests?: ChildProcess; stage?: Stage };
/** The database of the tests, and what it was like before the first of them. */
const [DATABASE, KEPT] = ["partywall", "partywall_kept"];

/**
 * What the tests of a project are given, once all is there for them: made by the copy's code, or for those whose defect is
 * in the Worker alone as it was made before. Rejects when the copy's code makes none.
 */
export async function provided(
  bench: Bench,
  project: string,
  edited: string[],
  resources: AsyncDisposableStack,
): Promise<Provided> {
  if (project.endsWith("node")) return { folder: await makeFolder(resources) };
  const { stage } = bench;
  if (stage?.project === project && isThere(stage.process) && tookNoPart(bench, stage, edited))
    if (await restore(bench.stack, stage)) return stage.provided;
  await endStage(bench);
  await empty(bench.stack);
  bench.stage = await setStage(bench, project);
  bench.stage.isKept = !project.startsWith("dedicated") && tookNoPart(bench, bench.stage, edited);
  if (bench.stage.isKept) await keep(bench.stack, bench.stage);
  return bench.stage.provided;
}

/** Ends the process that serves the bench's tests. */
export async function endStage(bench: Bench): Promise<void> {
  const { stage } = bench;
  delete bench.stage;
  if (stage) await end(stage.process);
}

export const isThere = (child: ChildProcess | undefined): child is ChildProcess =>
  child !== undefined && child.connected && child.exitCode === null && child.signalCode === null;

/** Resolves when a process that ends with its channel has ended. */
export async function end(child: ChildProcess): Promise<void> {
  if (!isThere(child)) return;
  const ended = once(child, "exit");
  child.disconnect();
  await ended;
}

/** Leaves nothing in Postgres of what was there before: no database, no role, no setting. */
export const empty = ({ superuserUrl }: Stack): Promise<void> =>
  connected(superuserUrl, async (client) => {
    for (const name of [DATABASE, KEPT]) await client.query(`drop database if exists ${name} with (force)`);
    const { rows } = await client.query<{ name: string }>(
      "select quote_ident(rolname) as name from pg_roles where rolname <> current_user and rolname !~ '^pg_'",
    );
    for (const { name } of rows) await client.query(`drop role ${name}`);
  });

/** Whether these files are code, which no SQL depends on, and whoever set the stage has loaded none of them. */
const tookNoPart = ({ path }: Bench, { files }: Stage, edited: string[]): boolean =>
  edited.every(
    (name) => /^(src|test)\/.*\.ts$/.test(name) && !files.has(pathToFileURL(join(path, name)).href),
  );

async function setStage({ path, stack }: Bench, project: string): Promise<Stage> {
  const { endpoint, postgresPort, superuserUrl } = stack;
  const child = fork(join(path, "test/defects/setup.ts"), [project], {
    cwd: path,
    env: { ...process.env, TEST_STACK: JSON.stringify({ endpoint, postgresPort, superuserUrl }) },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const answer = await Promise.race([
    once(child, "message").then(([told]) => told as SetUp),
    once(child, "exit").then((): SetUp => ({ error: "nothing makes the database" })),
  ]);
  if ("error" in answer) {
    await end(child);
    throw new Error(answer.error);
  }
  return {
    ...answer,
    project,
    process: child,
    files: new Set(answer.files),
    roles: "",
    isKept: false,
  };
}

/** Keeps the database as it is now. */
const keep = ({ superuserUrl }: Stack, stage: Stage): Promise<void> =>
  connected(superuserUrl, async (client) => {
    stage.roles = await rolesOf(client);
    await copy(client, DATABASE, KEPT);
  });

/** Puts back the database that was kept; false if there is none, or if the roles are no longer what they were. */
const restore = ({ superuserUrl }: Stack, { roles, isKept }: Stage): Promise<boolean> =>
  connected(superuserUrl, async (client) => {
    if (!isKept || (await rolesOf(client)) !== roles) return false;
    await client.query(`drop database if exists ${DATABASE} with (force)`);
    await copy(client, KEPT, DATABASE);
    return true;
  });

/** Copies a database with what Postgres keeps of it outside of it: its owner, its grants and its settings. */
async function copy(client: pg.Client, from: string, to: string): Promise<void> {
  await client.query(`create database ${to} template ${from}`);
  await client.query(
    `update pg_database made set datdba = model.datdba, datacl = model.datacl
     from pg_database model where made.datname = $2 and model.datname = $1`,
    [from, to],
  );
  await client.query(
    `insert into pg_db_role_setting select made.oid, setrole, setconfig
     from pg_database made, pg_db_role_setting join pg_database model on model.oid = setdatabase
     where made.datname = $2 and model.datname = $1`,
    [from, to],
  );
}

/** All that Postgres knows of roles, their memberships and their settings everywhere. */
async function rolesOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ known: string }>(
    `select a::text as known from pg_authid a
     union all select m::text from pg_auth_members m
     union all select s::text from pg_db_role_setting s where setdatabase = 0 order by known`,
  );
  return rows.map(({ known }) => known).join("\n");
}

async function makeFolder(resources: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "partywall-run-"));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  // As root, Postgres runs as another user, who then reaches its data here.
  await chmod(folder, 0o711);
  return folder;
}
