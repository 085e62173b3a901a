import { sql } from "drizzle-orm";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { builder } from "../db/query.ts";
import { bindings } from "../env.ts";
import { INVITATION_TTL_DAYS } from "../identity/sealing.ts";
import { Email } from "../values.ts";
import { archiveOf } from "./archive.ts";
import type { Table } from "./end.ts";
import { eraseRows } from "./erase-rows.ts";
import { columnsOf, exported, FORMAT } from "./export.ts";
import { JobSite } from "./job-site.ts";
import { claimJob, controlOf, finishJob, noteJob, type Claim, type Job } from "./jobs.ts";
import { flipping, Pace, type Do } from "./steps.ts";
import { isSuperseded } from "./superseded.ts";
import { Archive, BadArchive } from "./unzip.ts";

const MAX_FILES = 2000;
const MAX_MANIFEST_BYTES = 4 << 20;
/** What one statement loads, and its longest line: Neon takes 10 MiB at most. */
const BATCH = { lines: 1000, bytes: 1_000_000 };
const MAX_LINE_BYTES = 4 << 20;
/** Lines that a step loads: what it does again when it fails. */
const LINES_A_STEP = 20_000;

/** partywall's own tables at a site. Those before the content are what it refers to; those after it refer to nothing. */
const BEFORE = new Set(["members"]);
const AFTER = new Set(["former_members", "counters", "audit_events"]);

const File = v.object({
  name: v.string(),
  file: v.string(),
  rows: v.number(),
  bytes: v.number(),
  sha256: v.string(),
});
const Manifest = v.object({
  format: v.literal(FORMAT),
  tables: v.array(
    v.object({ ...File.entries, columns: v.array(v.object({ name: v.string(), type: v.string() })) }),
  ),
  control: v.array(File),
});
type Listed = v.InferOutput<typeof File>;

const Member = v.object({ email: Email, role: v.picklist(ROLES) });

const keyOf = ({ tenant, job }: Pick<Job, "tenant" | "job">) => archiveOf(tenant, "imports", job);
const open = (job: Pick<Job, "tenant" | "job">) => Archive.open(keyOf(job), MAX_FILES);

type Loaded = { table: Table; listed: Listed };

/**
 * Imports an archive into an empty tenant: all or nothing. The archive is checked whole before a row is written; then nobody
 * gets to the tenant's content until all is there, or all is gone again. Ids stay what they were. Members come as
 * invitations: rows that refer to them lose that reference, as when a member leaves.
 */
export async function runImport(job: Job, step: Do): Promise<void> {
  try {
    const checked = accepted(await step("check", () => refusing(() => check(job))));
    for (const { file } of [...checked.loads.map(({ listed }) => listed), ...checked.control])
      accepted(await step(`verify ${file}`, () => refusing(() => verify(job, checked, file))));
    const claim = accepted(await step("begin", () => refusing(() => begin(job, checked.loads))));
    await loadAll(claim, checked.loads, step);
    await step("members", () => settleMembers(claim, checked.control));
    accepted(await step("finish", () => refusing(() => finish(job, checked.loads))));
  } catch (error) {
    if (isSuperseded(error)) return;
    const isArchives = error instanceof BadArchive;
    await step("give up", () =>
      giveUp(job, isArchives ? error.message : "The import could not be carried out."),
    );
    if (!isArchives) throw error;
  }
}

/** The outcome of a step, or a sentence in its place when the archive is at fault: to try the step again would not help. */
type Refusable<T> = { outcome: T } | { refused: string };

async function refusing<T>(work: () => Promise<T>): Promise<Refusable<T>> {
  try {
    return { outcome: await work() };
  } catch (error) {
    if (error instanceof BadArchive) return { refused: error.message };
    throw error;
  }
}

function accepted<T>(of: Refusable<T>): T {
  if ("refused" in of) throw new BadArchive(of.refused);
  return of.outcome;
}

/** Loads all rows, and again those that were refused, until they are in: a row may refer to one of its own table that comes later. */
async function loadAll(claim: Claim, loads: readonly Loaded[], step: Do): Promise<void> {
  for (let left = Infinity, round = 1; left > 0; round++) {
    let refused = 0;
    for (const { table, listed } of round === 1 ? loads : content(loads))
      for (let from = 0; from < listed.rows; from += LINES_A_STEP)
        refused += await step(`load ${table.name} from line ${from}, round ${round}`, () =>
          load(claim, table, listed, from),
        );
    if (refused > 0 && refused >= left)
      throw new BadArchive(
        `${refused} rows of the archive collide with others, or refer to rows that it does not have.`,
      );
    left = refused;
  }
}

/** Reads the manifest, and compares what it says with the tables that there are. Throws BadArchive. */
async function check(job: Job): Promise<{ loads: Loaded[]; control: Listed[] }> {
  const claim = await claimJob(job);
  if (!claim) throw new BadArchive("The import has ended.");
  const archive = await open(job);
  const text = await archive.text("manifest.json", MAX_MANIFEST_BYTES);
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), Manifest), text);
  if (!parsed.success) throw new BadArchive("manifest.json is not that of an export of this version.");
  const { tables: listed, control } = parsed.output;
  // The fence lets nobody but an attempt read the catalog in the tenant's context.
  const site = new JobSite(claim.site, claim);
  await flipping(() => site.setFence("logged", claim.epoch));
  const tables = exported((await site.tables()).tables);
  const missing = tables.filter(({ name }) => !listed.some((each) => each.name === name));
  const unknown = listed.filter(({ name }) => !tables.some((each) => each.name === name));
  const differing = tables.filter((table) => {
    const columns = listed.find(({ name }) => name === table.name)?.columns;
    return columns && JSON.stringify(columns) !== JSON.stringify(columnsOf(table));
  });
  const wrong = [...missing, ...unknown, ...differing].map(({ name }) => name);
  if (wrong.length > 0)
    throw new BadArchive(
      `The archive is of another schema: the tables ${wrong.join(", ")} are not the same here.`,
    );
  for (const { file, bytes } of [...listed, ...control])
    if (archive.sizeOf(file) !== bytes)
      throw new BadArchive(`The file ${file} is not as manifest.json says.`);
  const loads = tables.flatMap((table) => {
    const own = listed.find(({ name }) => name === table.name);
    return own ? [{ table, listed: own }] : [];
  });
  return { loads: inOrder(loads), control };
}

const isOwn = (name: string) => BEFORE.has(name) || AFTER.has(name);
const content = (loads: readonly Loaded[]) => loads.filter(({ table }) => !isOwn(table.name));
const inOrder = (loads: readonly Loaded[]): Loaded[] => [
  ...loads.filter(({ table }) => BEFORE.has(table.name)),
  ...content(loads),
  ...loads.filter(({ table }) => AFTER.has(table.name)),
];

/** Throws BadArchive unless the file is what the manifest says. */
async function verify(
  job: Job,
  { loads, control }: { loads: Loaded[]; control: Listed[] },
  file: string,
): Promise<void> {
  const said = [...loads.map(({ listed }) => listed), ...control].find((each) => each.file === file);
  const sum = await (await open(job)).sum(file);
  if (sum.sha256 !== said?.sha256 || sum.rows !== said.rows)
    throw new BadArchive(`The file ${file} is not as manifest.json says.`);
}

/** Keeps everybody else from the tenant's content. Throws BadArchive unless it is empty. */
async function begin(job: Job, loads: Loaded[]): Promise<Claim> {
  const claim = await claimJob(job);
  if (!claim) throw new BadArchive("The import has ended.");
  const site = new JobSite(claim.site, claim);
  await flipping(() => site.keepOthersOut([claim.epoch]));
  // What an instance before this one has loaded goes first.
  if (claim.progress.isLoading) await takeBack(site, job.tenant);
  for (const { table } of content(loads))
    if ((await site.count(table)) > 0)
      throw new BadArchive(`The tenant is not empty: it has rows in ${table.name}.`);
  await noteJob(claim, { isLoading: true, rows: 0 });
  return claim;
}

/** Loads the next lines of a table; returns how many are refused. Done again, it changes nothing. */
async function load(claim: Claim, table: Table, listed: Listed, from: number): Promise<number> {
  const site = new JobSite(claim.site, claim);
  const pace = new Pace();
  let refused = 0;
  let batch: string[] = [];
  let bytes = 0;
  const flush = async () => {
    refused += (await site.loadLines(table, batch)).length;
    await pace.after(batch.length);
    [batch, bytes] = [[], 0];
  };
  let at = 0;
  for await (const line of (await open(claim)).lines(listed.file, MAX_LINE_BYTES)) {
    if (at >= from) {
      batch.push(line);
      bytes += Buffer.byteLength(line);
      if (batch.length === BATCH.lines || bytes >= BATCH.bytes) await flush();
    }
    if (++at === from + LINES_A_STEP) break;
  }
  if (batch.length > 0) await flush();
  await noteJob(claim, { isLoading: true, rows: from });
  return refused;
}

/** Who came with the archive is invited, and is no member: what refers to them loses that, as when somebody leaves. */
async function settleMembers(claim: Claim, control: readonly Listed[]): Promise<void> {
  await new JobSite(claim.site, claim).dismiss(await memberIds(claim.tenant));
  const file = control.find(({ name }) => name === "members")?.file;
  if (!file) return;
  let people: v.InferOutput<typeof Member>[] = [];
  for await (const line of (await open(claim)).lines(file, MAX_LINE_BYTES)) {
    const person = v.safeParse(v.pipe(v.string(), v.parseJson(), Member), line);
    if (person.success) people.push(person.output);
    if (people.length === BATCH.lines) {
      await inviteAll(claim.tenant, people);
      people = [];
    }
  }
  await inviteAll(claim.tenant, people);
}

const Ids = v.array(v.object({ id: v.string() }));

async function memberIds(tenant: string): Promise<string[]> {
  const { found } = await controlOf(tenant).read({
    found: builder.execute(sql`select user_id as id from memberships`),
  });
  return v.parse(Ids, found.rows).map(({ id }) => id);
}

/** Enters invitations without a token that anybody has: an owner who wants them sent invites the same email again. */
async function inviteAll(tenant: string, people: readonly { email: string; role: string }[]): Promise<void> {
  await controlOf(tenant).write({
    invited: builder.execute(sql`
      insert into invitations (id, email, role, token_hash, invited_by, expires_at)
      select gen_random_uuid(), p.email, p.role, sha256(gen_random_uuid()::text::bytea),
        (select user_id from memberships where role = 'owner' order by created_at, user_id limit 1),
        now() + ${INVITATION_TTL_DAYS} * interval '1 day'
      from json_to_recordset(${JSON.stringify(people)}::json) p (email text, role text)
      where not exists (select from memberships m join users u on u.id = m.user_id where u.email = p.email)
      on conflict (tenant_id, email) do nothing`),
  });
}

/** Opens the tenant's content again, once all of it is there. */
async function finish(job: Job, loads: readonly Loaded[]): Promise<void> {
  const claim = await claimJob(job);
  if (!claim) return;
  const site = new JobSite(claim.site, claim);
  // As a newer attempt: what an earlier one still sends is refused from here on.
  await flipping(() => site.setFence("loading", claim.epoch));
  for (const { table, listed } of content(loads)) {
    const count = await site.count(table);
    if (count !== listed.rows)
      throw new BadArchive(
        `The archive has rows of the same key: ${listed.rows} in ${listed.file}, ${count} in the table.`,
      );
  }
  await flipping(() => site.setFence("open", claim.epoch));
  await finishJob(claim, "done", { rows: loads.reduce((sum, { listed }) => sum + listed.rows, 0) });
  await bindings.ARCHIVES.delete(keyOf(job));
}

/** Takes back what was loaded, and ends the import with the reason. */
async function giveUp(job: Job, reason: string): Promise<void> {
  const claim = await claimJob(job);
  if (!claim) return;
  const site = new JobSite(claim.site, claim);
  await flipping(() => site.keepOthersOut([claim.epoch]));
  // What is there is only the import's if the tenant was empty before.
  if (claim.progress.isLoading) await takeBack(site, job.tenant);
  await flipping(() => site.setFence("open", claim.epoch));
  await finishJob(claim, "failed", { reason });
  await bindings.ARCHIVES.delete(keyOf(job));
}

/** Deletes the rows that were loaded, but for partywall's own, which come last. */
async function takeBack(site: JobSite, tenant: string): Promise<void> {
  const tables = exported((await site.tables()).tables).filter(({ name }) => !isOwn(name));
  await eraseRows(site, { tables }, async () => undefined);
  await site.dismiss(await memberIds(tenant), { isForgotten: true });
}
