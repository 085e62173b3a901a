import { sql } from "drizzle-orm";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { builder } from "../db/query.ts";
import { bindings } from "../env.ts";
import { INVITATION_TTL_DAYS } from "../identity/sealing.ts";
import { Email } from "../values.ts";
import { archiveOf } from "./archive.ts";
import { stateOf, type Table } from "./end.ts";
import { eraseRows } from "./erase-rows.ts";
import { columnsOf, exported, FORMAT } from "./export.ts";
import { JobSite } from "./job-site.ts";
import { claimJob, controlOf, finishJob, noteJob, outcomeOf, type Claim, type Job } from "./jobs.ts";
import { flipping, Pace, type Do } from "./steps.ts";
import { isSuperseded } from "./superseded.ts";
import { Archive, BadArchive } from "./unzip.ts";

const MAX_FILES = 2000;
const MAX_MANIFEST_BYTES = 4 << 20;
/** All files together, as they come out of the archive: a few bytes there may be gigabytes here. */
const MAX_BYTES = 2 ** 31;
/** People who come with an archive are invited, in a table that all tenants share. */
const MAX_PEOPLE = 10_000;
/** What one statement loads, while others at the database wait, and its longest line: Neon takes 10 MiB at most. */
const BATCH = { lines: 500, bytes: 500_000 };
const MAX_LINE_BYTES = 4 << 20;
/** Lines that a step loads: what it does again when it fails. Each step unpacks what comes before them, too. */
const LINES_A_STEP = 50_000;

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
    const [first, last] = [checked.loads.filter((each) => !isAfter(each)), checked.loads.filter(isAfter)];
    await loadAll(claim, first, step);
    accepted(await step("members", () => refusing(() => settleMembers(claim, checked.control))));
    accepted(await step("count", () => refusing(() => count(claim, checked.loads))));
    // Last: what is taken back leaves these.
    await loadAll(claim, last, step);
    await step("finish", () => finish(job, checked.loads));
  } catch (error) {
    const isArchives = error instanceof BadArchive;
    if (!isArchives && isSuperseded(error)) return;
    await step("give up", () =>
      giveUp(job, isArchives ? error.message : "The import could not be carried out."),
    );
    if (!isArchives) throw error;
  } finally {
    await step("clear", () => clear(job));
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
        refused += accepted(
          await step(`load ${table.name} from line ${from}, round ${round}`, () =>
            refusing(() => load(claim, table, listed, from)),
          ),
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
  const { isLoading, isLoaded } = claim.progress;
  await flipping<unknown>(() =>
    isLoading || isLoaded ? site.keepOthersOut([claim.epoch]) : site.setFence("logged", claim.epoch),
  );
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
  const files = [...listed, ...control];
  for (const { file, bytes } of files)
    if (archive.sizeOf(file) !== bytes)
      throw new BadArchive(`The file ${file} is not as manifest.json says.`);
  if (new Set(files.map(({ file }) => file)).size < files.length)
    throw new BadArchive("manifest.json has a file more than once.");
  if (files.reduce((sum, { bytes }) => sum + bytes, 0) > MAX_BYTES)
    throw new BadArchive("The archive's files have more than 2 GiB.");
  if (control.some(({ name, rows }) => name === "members" && rows > MAX_PEOPLE))
    throw new BadArchive(`The archive has more than ${MAX_PEOPLE} members.`);
  const loads = tables.flatMap((table) => {
    const own = listed.find(({ name }) => name === table.name);
    return own ? [{ table, listed: own }] : [];
  });
  return { loads: inOrder(loads), control };
}

const isOwn = (name: string) => BEFORE.has(name) || AFTER.has(name);
const content = (loads: readonly Loaded[]) => loads.filter(({ table }) => !isOwn(table.name));
const isAfter = ({ table }: Loaded) => AFTER.has(table.name);
const inOrder = (loads: readonly Loaded[]): Loaded[] => [
  ...loads.filter(({ table }) => BEFORE.has(table.name)),
  ...content(loads),
  ...loads.filter(isAfter),
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

/** The tenant's own numbers go on above those of the archive. */
const LARGER: Partial<Record<string, string>> = { counters: "value" };

/** Throws BadArchive for what Postgres says of a value, or of a row by itself: to try again would not help. */
function refuseRow(error: unknown): never {
  const state = stateOf(error) ?? "";
  if (!/^(22|23|54)/.test(state)) throw error;
  throw new BadArchive(`The archive has a row that its table does not take (SQLSTATE ${state}).`);
}

/** Loads the next lines of a table; returns how many are refused. Done again, it changes nothing. */
async function load(claim: Claim, table: Table, listed: Listed, from: number): Promise<number> {
  const site = new JobSite(claim.site, claim);
  const pace = new Pace();
  let refused = 0;
  let batch: string[] = [];
  let bytes = 0;
  const flush = async () => {
    refused += (await site.loadLines(table, batch, LARGER[table.name]).catch(refuseRow)).length;
    await pace.after(batch.length);
    [batch, bytes] = [[], 0];
  };
  let lines = 0;
  for await (const line of (await open(claim)).lines(listed.file, MAX_LINE_BYTES, from)) {
    batch.push(line);
    bytes += Buffer.byteLength(line);
    if (batch.length === BATCH.lines || bytes >= BATCH.bytes) await flush();
    if (++lines === LINES_A_STEP) break;
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

/** Throws BadArchive unless all the rows are there, while nobody else can write. */
async function count(claim: Claim, loads: readonly Loaded[]): Promise<void> {
  const site = new JobSite(claim.site, claim);
  for (const { table, listed } of content(loads)) {
    const found = await site.count(table);
    if (found !== listed.rows)
      throw new BadArchive(
        `The archive has rows of the same key: ${listed.rows} in ${listed.file}, ${found} in the table.`,
      );
  }
}

/** Opens the tenant's content again: all of it is there, and from now on it is never taken back. */
async function finish(job: Job, loads: readonly Loaded[]): Promise<void> {
  const claim = await claimJob(job);
  if (!claim) return;
  const rows = loads.reduce((sum, { listed }) => sum + listed.rows, 0);
  await noteJob(claim, { rows, isLoaded: true });
  await conclude(claim, rows);
}

async function conclude(claim: Claim, rows: number): Promise<void> {
  const site = new JobSite(claim.site, claim);
  // As a newer attempt: what an earlier one still sends is refused from here on.
  await flipping(() => site.keepOthersOut([claim.epoch]));
  await flipping(() => site.setFence("open", claim.epoch));
  await finishJob(claim, "done", { rows });
}

/** Takes back what was loaded, and ends the import with the reason. */
async function giveUp(job: Job, reason: string): Promise<void> {
  const claim = await claimJob(job);
  if (!claim) return;
  if (claim.progress.isLoaded) return conclude(claim, claim.progress.rows ?? 0);
  const site = new JobSite(claim.site, claim);
  await flipping(() => site.keepOthersOut([claim.epoch]));
  // What is there is only the import's if the tenant was empty before.
  if (claim.progress.isLoading) await takeBack(site, job.tenant);
  await flipping(() => site.setFence("open", claim.epoch));
  await finishJob(claim, "failed", { reason });
}

/** Deletes the archive of an import that is over. A newer attempt at one that is not reads it. */
async function clear(job: Job): Promise<void> {
  if ((await outcomeOf(job)) !== null) await bindings.ARCHIVES.delete(keyOf(job));
}

/** Deletes the rows that were loaded, but for partywall's own, which come last. */
async function takeBack(site: JobSite, tenant: string): Promise<void> {
  const tables = exported((await site.tables()).tables).filter(({ name }) => !isOwn(name));
  await eraseRows(site, { tables }, async () => undefined);
  await site.dismiss(await memberIds(tenant), { isForgotten: true });
}
