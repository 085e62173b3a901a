import { createHash, type Hash } from "node:crypto";
import { Readable } from "node:stream";
import yazl from "yazl";
import { bindings } from "../env.ts";
import { takingTurns } from "./steps.ts";

// Archives lie in R2 under their tenant's id, so that all of a tenant's are found when it is erased.

/** All that R2 has of a tenant. */
export const objectsOf = (tenant: string) => `tenants/${tenant}/`;
/** A job's archive, and the parts that it is made of while the job is under way. */
export const archiveOf = (tenant: string, kind: "exports" | "imports", job: string) =>
  `${objectsOf(tenant)}${kind}/${job}.zip`;
const partsOf = (tenant: string, job: string) => `${objectsOf(tenant)}exports/${job}/`;

/** R2 takes parts of one size, but for the last; no more than this and a chunk is held in memory. */
const PART_BYTES = 8 << 20;
/** Archives of the same content are the same to the byte. */
const NO_TIME = new Date(Date.UTC(1980, 0, 1));

/** A file of an archive, in parts that lie in R2 in this order. */
export type FileInParts = { name: string; parts: number };
/** What a file came to: as many lines and bytes, and its SHA-256 in hex. */
export type FileSum = { rows: number; bytes: number; sha256: string };

const partKey = (tenant: string, job: string, name: string, part: number) =>
  `${partsOf(tenant, job)}${name}/${String(part).padStart(8, "0")}`;

/** Stores one part of a file: again, it replaces the one before. */
export async function putPart(
  tenant: string,
  job: string,
  name: string,
  part: number,
  lines: readonly string[],
) {
  await bindings.ARCHIVES.put(partKey(tenant, job, name, part), lines.map((line) => `${line}\n`).join(""));
}

/**
 * Makes the archive of its files' parts, streamed: a ZIP with one file each, and last a manifest, which `describe` makes of
 * what they came to. Returns the archive's size and SHA-256.
 */
export async function writeArchive(
  tenant: string,
  job: string,
  files: readonly FileInParts[],
  describe: (sums: Record<string, FileSum>) => object,
): Promise<{ bytes: number; sha256: string }> {
  const zip = new yazl.ZipFile();
  const failed = new Promise<never>((_, reject) => zip.on("error", reject));
  const sums: Record<string, FileSum> = {};
  for (const { name, parts } of files)
    zip.addReadStreamLazy(name, { mtime: NO_TIME }, (stream) => {
      stream(null, Readable.from(summed(readParts(tenant, job, name, parts), (sum) => (sums[name] = sum))));
    });
  zip.addReadStreamLazy("manifest.json", { mtime: NO_TIME }, (stream) => {
    stream(null, Readable.from([`${JSON.stringify(describe(sums), null, 2)}\n`]));
  });
  zip.end();
  return Promise.race([store(archiveOf(tenant, "exports", job), tenant, zip.outputStream), failed]);
}

async function* readParts(tenant: string, job: string, name: string, parts: number) {
  for (let part = 0; part < parts; part++) {
    const object = await bindings.ARCHIVES.get(partKey(tenant, job, name, part));
    if (!object) throw new Error(`part ${part} of ${name} is not there`);
    yield* takingTurns(object.body);
  }
}

const LINE_FEED = 10;

/** Passes the chunks on, and tells at their end what they came to. */
async function* summed(chunks: AsyncIterable<Uint8Array>, tell: (sum: FileSum) => void) {
  const hash = createHash("sha256");
  let [rows, bytes] = [0, 0];
  for await (const chunk of chunks) {
    hash.update(chunk);
    bytes += chunk.length;
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, at + 1)) rows += 1;
    yield chunk;
  }
  tell({ rows, bytes, sha256: hash.digest("hex") });
}

/** Stores a stream of unknown length, in parts where it is long. */
async function store(key: string, tenant: string, stream: AsyncIterable<unknown>) {
  const options = { customMetadata: { tenant }, httpMetadata: { contentType: "application/zip" } };
  const hash = createHash("sha256");
  let bytes = 0;
  let upload: R2MultipartUpload | undefined;
  const uploaded: R2UploadedPart[] = [];
  let held: Buffer[] = [];
  let size = 0;
  const take = (chunk: Buffer) => {
    held.push(chunk);
    size += chunk.length;
  };
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
      take(chunk);
      while (size >= PART_BYTES) {
        const whole = Buffer.concat(held);
        [held, size] = [[], 0];
        if (whole.length > PART_BYTES) take(whole.subarray(PART_BYTES));
        upload ??= await bindings.ARCHIVES.createMultipartUpload(key, options);
        uploaded.push(await upload.uploadPart(uploaded.length + 1, whole.subarray(0, PART_BYTES)));
      }
    }
    const rest = Buffer.concat(held);
    if (!upload) await bindings.ARCHIVES.put(key, rest, options);
    else {
      if (rest.length > 0) uploaded.push(await upload.uploadPart(uploaded.length + 1, rest));
      await upload.complete(uploaded);
    }
  } catch (error) {
    // Its parts would be kept for days.
    await upload?.abort().catch(() => undefined);
    throw error;
  }
  return { bytes, sha256: digestOf(hash) };
}

const digestOf = (hash: Hash): string => hash.digest("hex");

/** Deletes the parts that an archive was made of. */
export const deleteParts = (tenant: string, job: string): Promise<number> =>
  deleteObjects(partsOf(tenant, job));

/** Deletes all objects whose keys begin so; returns how many. */
export async function deleteObjects(prefix: string): Promise<number> {
  for (let deleted = 0; ;) {
    const { objects } = await bindings.ARCHIVES.list({ prefix });
    if (objects.length === 0) return deleted;
    await bindings.ARCHIVES.delete(objects.map(({ key }) => key));
    deleted += objects.length;
  }
}
