import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import yauzl from "yauzl";
import { bindings } from "../env.ts";
import { takingTurns } from "./steps.ts";

/** Reads an object of R2 as yauzl asks for it, in ranges. */
class ObjectReader extends yauzl.RandomAccessReader {
  readonly #key: string;

  constructor(key: string) {
    super();
    this.#key = key;
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const key = this.#key;
    return Readable.from(
      (async function* () {
        try {
          const object = await bindings.ARCHIVES.get(key, { range: { offset: start, length: end - start } });
          if (!object) throw new Error("the archive is not there");
          yield* object.body;
        } catch (error) {
          throw new OutOfReach("R2 does not answer", { cause: error });
        }
      })(),
    );
  }
}

/** R2 is, not the archive: another time it may be there. */
class OutOfReach extends Error {}

/** The files are read after their list. */
const OPTIONS = { lazyEntries: true, autoClose: false };

/** What an archive may say of a file: its name, and what programs add to it. */
const MAX_HEADER_BYTES = 1024;

/** What is wrong with an archive, in a sentence for whoever sent it. */
export class BadArchive extends Error {}

/** The files of a ZIP in R2, by their names. */
export class Archive {
  readonly #zip: yauzl.ZipFile;
  readonly #entries: ReadonlyMap<string, yauzl.Entry>;

  private constructor(zip: yauzl.ZipFile, entries: ReadonlyMap<string, yauzl.Entry>) {
    this.#zip = zip;
    this.#entries = entries;
  }

  /** Reads what files there are. Throws BadArchive when it is no ZIP, or has more of them than `most`. */
  static async open(key: string, most: number): Promise<Archive> {
    const head = await bindings.ARCHIVES.head(key);
    if (!head) throw new BadArchive("The archive is not there.");
    const entries = new Map<string, yauzl.Entry>();
    const zip = await new Promise<yauzl.ZipFile>((resolve, reject) => {
      const refuse = (error: Error) =>
        reject(error instanceof OutOfReach ? error : new BadArchive("This is not a ZIP archive."));
      yauzl.fromRandomAccessReader(new ObjectReader(key), head.size, OPTIONS, (error, opened) => {
        if (error) return refuse(error);
        opened.on("error", refuse);
        if (opened.entryCount > most) return reject(new BadArchive("The archive has too many files."));
        opened.on("entry", (entry: yauzl.Entry) => {
          const { fileNameLength, extraFieldLength, fileCommentLength } = entry;
          if (fileNameLength + extraFieldLength + fileCommentLength > MAX_HEADER_BYTES)
            return reject(new BadArchive("A file of the archive has too long a name."));
          entries.set(entry.fileName, entry);
          opened.readEntry();
        });
        opened.on("end", () => resolve(opened));
        opened.readEntry();
      });
    });
    return new Archive(zip, entries);
  }

  /** How many bytes a file says that it has; undefined where there is none of that name. */
  sizeOf(name: string): number | undefined {
    return this.#entries.get(name)?.uncompressedSize;
  }

  /** A file's bytes, never more than it says that it has. Throws BadArchive. */
  async *read(name: string): AsyncGenerator<Buffer> {
    const entry = this.#entries.get(name);
    if (!entry) throw new BadArchive(`The archive has no ${name}.`);
    try {
      const stream = await new Promise<Readable>((resolve, reject) =>
        this.#zip.openReadStream(entry, (error, opened) => (error ? reject(error) : resolve(opened))),
      );
      for await (const chunk of takingTurns(stream)) yield chunk as Buffer;
    } catch (error) {
      if (error instanceof OutOfReach) throw error;
      throw new BadArchive(`The file ${name} in the archive is damaged.`, { cause: error });
    }
  }

  /** A small file's text. Throws BadArchive when it has more bytes than `most`. */
  async text(name: string, most: number): Promise<string> {
    if ((this.sizeOf(name) ?? 0) > most)
      throw new BadArchive(`The file ${name} in the archive is too large.`);
    const chunks: Buffer[] = [];
    for await (const chunk of this.read(name)) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  }

  /** The lines of a file but for the first so many. Throws BadArchive where one has more bytes than `most`. */
  async *lines(name: string, most: number, skipped = 0): AsyncGenerator<string> {
    let rest = Buffer.alloc(0);
    let at = 0;
    for await (const chunk of this.read(name)) {
      let whole = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = whole.indexOf(10); end >= 0; end = whole.indexOf(10)) {
        if (at++ >= skipped) yield whole.toString("utf8", 0, end);
        whole = whole.subarray(end + 1);
      }
      if (whole.length > most) throw new BadArchive(`A line of ${name} is too long.`);
      rest = whole;
    }
    if (rest.length > 0) throw new BadArchive(`The last line of ${name} has no end.`);
  }

  /** What a file comes to. */
  async sum(name: string): Promise<{ rows: number; bytes: number; sha256: string }> {
    const hash = createHash("sha256");
    let [rows, bytes] = [0, 0];
    for await (const chunk of this.read(name)) {
      hash.update(chunk);
      bytes += chunk.length;
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) rows += 1;
    }
    return { rows, bytes, sha256: hash.digest("hex") };
  }
}
