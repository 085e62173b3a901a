import { createHash } from "node:crypto";
import { bindings, settings } from "../env.ts";
import { archiveOf, deleteParts, putPart, writeArchive, type FileInParts, type FileSum } from "./archive.ts";
import type { Key, Table } from "./end.ts";
import { JobSite } from "./job-site.ts";
import { claimJob, finishJob, noteJob, outcomeOf, type Claim, type Job } from "./jobs.ts";
import { linesOfControl, CONTROL_KINDS } from "./control-lines.ts";
import { flipping, Pace, type Do } from "./steps.ts";
import { isSuperseded } from "./superseded.ts";

/** The version of what an archive looks like. */
export const FORMAT = 1;
/** An archive is kept so long. */
const EXPORT_DAYS = 7;

/** partywall's own tables at a site that are of no use elsewhere: repeated requests of a day, and the outbox's progress. */
const LEFT_OUT = new Set(["idempotency_keys", "outbox_receipts"]);

/** What is read at once: Neon answers 10 MiB at most, and whoever shares this isolate waits while it is parsed. */
const PAGE = { rows: 500, bytes: 250_000 };
/** Pages that a step copies into one part: what it does again when it fails, and holds in memory. */
const PAGES_A_STEP = 16;

/** The tables of which an archive has the rows. */
export const exported = (tables: readonly Table[]): Table[] =>
  tables.filter(({ name }) => !LEFT_OUT.has(name));

const contentFile = (table: string) => `content/${table}.ndjson`;
const controlFile = (kind: string) => `control/${kind}.ndjson`;

/** A table as a manifest describes it: its columns but the tenant's, with their types. */
export const columnsOf = ({ columns, types }: Table) =>
  columns.filter((name) => name !== "tenant_id").map((name) => ({ name, type: types[name] ?? "" }));

/** What tells whether the tables of two deployments are alike. */
const schemaOf = (tables: readonly Table[]): string =>
  createHash("sha256")
    .update(JSON.stringify(tables.map((table) => [table.name, columnsOf(table)])))
    .digest("hex");

type Begun = { claim: Claim; instant: string; tables: Table[]; control: FileInParts[] };
type Place = { after: Key | null; part: number; isLast: boolean };

/**
 * Exports the tenant, as of the moment of its first step, while it works: the site keeps what the pages need to read each row
 * as it was then. What fails is tried again; what fails for good leaves the tenant as it was, and no archive.
 */
export async function runExport(job: Job, step: Do): Promise<void> {
  try {
    const begun = await step("begin", () => begin(job));
    if (!begun) return;
    const files: FileInParts[] = [];
    let rows = 0;
    for (const table of begun.tables) {
      let place: Place & { rows?: number } = { after: null, part: 0, isLast: false };
      while (!place.isLast) {
        const from: Place = place;
        const before = rows;
        place = await step(`${table.name} from part ${from.part}`, () =>
          copy(begun.claim, table, from, before),
        );
        rows = place.rows ?? rows;
      }
      files.push({ name: contentFile(table.name), parts: place.part });
    }
    files.push(...begun.control);
    const archive = await step("archive", () => archiveAll(job, begun, files));
    await step("finish", () => finish(job, archive));
  } catch (error) {
    if (isSuperseded(error)) return;
    await step("give up", () => giveUp(job));
    throw error;
  } finally {
    await step("clear", () => clear(job));
  }
}

async function begin(job: Job): Promise<Begun | null> {
  const claim = await claimJob(job);
  if (!claim) return null;
  const site = new JobSite(claim.site, claim);
  await flipping(() => site.keepImages(claim.epoch));
  const instant = new Date().toISOString();
  const { tables } = await site.tables();
  const control: FileInParts[] = [];
  for (const kind of CONTROL_KINDS) {
    let parts = 0;
    for await (const lines of linesOfControl(job.tenant, kind))
      await putPart(job.tenant, job.job, controlFile(kind), parts++, lines);
    control.push({ name: controlFile(kind), parts });
  }
  await noteJob(claim, { rows: 0 });
  return { claim, instant, tables: exported(tables), control };
}

/** Copies the next pages of a table into a part of its file. Done again, it makes the same part. */
async function copy(claim: Claim, table: Table, from: Place, rows: number) {
  const site = new JobSite(claim.site, claim);
  const pace = new Pace();
  const copied: string[] = [];
  let { after } = from;
  for (let pages = 0; pages < PAGES_A_STEP && (pages === 0 || after !== null); pages++) {
    const { lines, last } = await site.lines(table, after, PAGE);
    copied.push(...lines);
    after = last;
    await pace.after(lines.length);
  }
  await putPart(claim.tenant, claim.job, contentFile(table.name), from.part, copied);
  await noteJob(claim, { rows: rows + copied.length });
  return { after, part: from.part + 1, isLast: after === null, rows: rows + copied.length };
}

type Archived = { rows: number; bytes: number; sha256: string };

async function archiveAll(
  job: Job,
  { claim, instant, tables }: Begun,
  files: FileInParts[],
): Promise<Archived> {
  let rows = 0;
  const describe = (sums: Record<string, FileSum>) => {
    const fileOf = (file: string) => ({ file, ...sums[file] });
    rows = tables.reduce((sum, { name }) => sum + (sums[contentFile(name)]?.rows ?? 0), 0);
    return {
      format: FORMAT,
      product: settings.API_NAME,
      instant,
      tenant: job.tenant,
      site: claim.site.name,
      schema: schemaOf(tables),
      tables: tables.map((table) => ({
        name: table.name,
        key: table.key.map(({ name }) => name),
        columns: columnsOf(table),
        ...fileOf(contentFile(table.name)),
      })),
      control: CONTROL_KINDS.map((kind) => ({ name: kind, ...fileOf(controlFile(kind)) })),
    };
  };
  const archive = await writeArchive(job.tenant, job.job, files, describe);
  return { rows, ...archive };
}

/** Ends the export as a newer attempt, so that nothing of an earlier one has any effect at the site from now on. */
async function finish(job: Job, archive: Archived): Promise<void> {
  const claim = await claimJob(job);
  if (!claim) return;
  await flipping(() => new JobSite(claim.site, claim).setFence("open", claim.epoch));
  await finishJob(claim, "done", archive, EXPORT_DAYS);
}

async function giveUp(job: Job): Promise<void> {
  const claim = await claimJob(job);
  if (!claim) return;
  const site = new JobSite(claim.site, claim);
  // Not `open` at once: it cannot follow no fence.
  await flipping(() => site.setFence("logged", claim.epoch));
  await flipping(() => site.setFence("open", claim.epoch));
  await finishJob(claim, "failed", {});
}

/**
 * Deletes what an export that is over leaves in R2: its parts, and where it is not done its archive. The last step, so that
 * nothing is left either of one whose tenant was erased meanwhile.
 */
async function clear(job: Job): Promise<void> {
  const outcome = await outcomeOf(job);
  // A newer attempt works with these parts.
  if (outcome === null) return;
  await deleteParts(job.tenant, job.job);
  if (outcome !== "done") await bindings.ARCHIVES.delete(archiveOf(job.tenant, "exports", job.job));
}
