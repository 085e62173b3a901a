import { SqlError, statementError } from "./errors.ts";
import { jsonOfText } from "./values.ts";
import type { WireClient } from "./wire.ts";

/** Statements for one connection; `begin` makes them one transaction, null runs a single one without. */
export type Work = { statements: Statement[]; begin: string | null; rawText: boolean };
export type Statement = { text: string; params: (string | null)[]; arrayMode: boolean };

/** What Neon's proxy takes for a request's body, and gives for a response's. */
export const MAX_BYTES = 10 * 1024 * 1024;
const AROUND_ROWS = '{"command":"","rowCount":null,"rowAsArray":false,"fields":,"rows":[]},'.length;
const MAX_PARAMS = 65_535;

type Column = { name: string; dataTypeID: number };

/**
 * The JSON body of the response. Everything goes out in one write and comes back in one round trip; after
 * an error Postgres skips the rest, COMMIT too, so the error is the one of the statement that failed.
 */
export function run(client: WireClient, work: Work): Promise<string> {
  return new Promise((resolve, reject) => {
    for (const statement of work.statements) {
      // A NUL ends the statement's text early, and the count of parameters has 16 bits.
      if (statement.text.includes("\0")) {
        return reject(
          new SqlError(400, "A query must not contain a NUL.", { code: "22021", severity: "ERROR" }),
        );
      }
      if (statement.params.length > MAX_PARAMS) {
        const message = `A query takes at most ${MAX_PARAMS} parameters, not ${statement.params.length}.`;
        return reject(new SqlError(400, message, { code: "54000", severity: "ERROR" }));
      }
    }
    client.query(new Exchange(client, work, resolve, reject));
  });
}

/** Back to the state of a new session, whatever the last query left; rejects when the connection is broken. */
export function reset(client: WireClient): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(new Reset(client, resolve, reject));
  });
}

/** One submission of work; node-postgres calls the handlers as messages arrive. */
class Exchange {
  readonly #client: WireClient;
  readonly #work: Work;
  readonly #resolve: (body: string) => void;
  readonly #reject: (error: SqlError) => void;
  readonly #results: string[] = [];
  #opened: boolean;
  #fields = "[]";
  #columns: Column[] = [];
  #names: string[] = [];
  #rows: string[] = [];
  /** Of the response so far. */
  #bytes = 0;

  constructor(
    client: WireClient,
    work: Work,
    resolve: (body: string) => void,
    reject: (error: SqlError) => void,
  ) {
    this.#client = client;
    this.#work = work;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#opened = work.begin === null;
  }

  submit(): void {
    const wire = this.#client.connection;
    wire.stream.cork();
    try {
      if (this.#work.begin !== null) send(wire, this.#work.begin);
      for (const { text, params } of this.#work.statements) send(wire, text, params);
      if (this.#work.begin !== null) send(wire, "COMMIT");
      wire.sync();
    } catch (error) {
      this.#abandon(statementError(error));
    } finally {
      wire.stream.uncork();
    }
  }

  handleRowDescription(message: { fields: Column[] }): void {
    this.#columns = message.fields;
    this.#names = message.fields.map((field) => JSON.stringify(field.name));
    this.#fields = JSON.stringify(message.fields);
    this.#bytes += AROUND_ROWS + Buffer.byteLength(this.#fields);
  }

  handleDataRow(message: { fields: (string | null)[] }): void {
    const row = this.#row(message.fields);
    this.#bytes += Buffer.byteLength(row) + ",".length;
    if (this.#bytes <= MAX_BYTES) this.#rows.push(row);
    else this.#abandon(new SqlError(507, `response is too large (max is ${MAX_BYTES} bytes)`));
  }

  handleCommandComplete(message: { text: string }): void {
    const { statements, begin } = this.#work;
    if (!this.#opened) {
      this.#opened = true;
    } else if (this.#results.length < statements.length) {
      this.#finish(message.text);
    } else if (begin !== null && message.text !== "COMMIT") {
      this.#reject(
        new SqlError(400, "The transaction was rolled back.", { code: "40000", severity: "ERROR" }),
      );
    }
  }

  handleEmptyQuery(): void {
    this.#finish("");
  }

  handleReadyForQuery(): void {
    this.#resolve(
      this.#work.begin === null ? (this.#results[0] ?? "") : `{"results":[${this.#results.join(",")}]}`,
    );
  }

  handleError(error: unknown): void {
    this.#reject(statementError(error));
  }

  // COPY needs a stream of its own, and the Sync that is already sent would be lost in it.
  handleCopyInResponse(): void {
    this.#abandon(new SqlError(400, "COPY is not possible over HTTP.", { code: "0A000", severity: "ERROR" }));
  }

  handleCopyData(): void {
    this.handleCopyInResponse();
  }

  /** Rejects and gives the connection up: what Postgres still sends for this work is not wanted. */
  #abandon(error: SqlError): void {
    this.#reject(error);
    this.#rows = [];
    this.#client.connection.stream.destroy();
  }

  #row(values: (string | null)[]): string {
    const { rawText, statements } = this.#work;
    const arrayMode = statements[this.#results.length]?.arrayMode ?? false;
    if (rawText && arrayMode) return JSON.stringify(values);
    const items = values.map((value, at) => {
      const oid = this.#columns[at]?.dataTypeID ?? 0;
      const json = value === null ? "null" : rawText ? JSON.stringify(value) : jsonOfText(oid, value);
      return arrayMode ? json : `${this.#names[at]}:${json}`;
    });
    return arrayMode ? `[${items.join(",")}]` : `{${items.join(",")}}`;
  }

  #finish(tag: string): void {
    const words = tag.split(" ");
    const last = words.length > 1 ? Number(words.at(-1)) : Number.NaN;
    const rowCount = Number.isInteger(last) ? last : null;
    const rowAsArray = this.#work.statements[this.#results.length]?.arrayMode ?? false;
    this.#results.push(
      `{"command":${JSON.stringify(words[0])},"rowCount":${rowCount},"rowAsArray":${rowAsArray},` +
        `"fields":${this.#fields},"rows":[${this.#rows.join(",")}]}`,
    );
    this.#fields = "[]";
    this.#columns = [];
    this.#names = [];
    this.#rows = [];
  }
}

/** What Neon's proxy resets, and the role. Not DISCARD ALL: that would also throw away the plans inside functions. */
const RESET = [
  "reset session authorization",
  "close all",
  "reset all",
  "deallocate all",
  "unlisten *",
  "select pg_catalog.pg_advisory_unlock_all()",
  "discard temp",
  "discard sequences",
].join("; ");

/** ROLLBACK if a transaction is open, then RESET. It is submitted when the connection is ready. */
class Reset {
  readonly #client: WireClient;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  #open = false;

  constructor(client: WireClient, resolve: () => void, reject: (error: unknown) => void) {
    this.#client = client;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(): void {
    this.#open = this.#client.getTransactionStatus() !== "I";
    this.#client.connection.query(this.#open ? "ROLLBACK" : RESET);
  }

  handleRowDescription(): void {}

  handleDataRow(): void {}

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    if (!this.#open) this.#resolve();
    else this.#client.query(new Reset(this.#client, this.#resolve, this.#reject));
  }

  handleError(error: unknown): void {
    this.#reject(error);
  }
}

function send(wire: WireClient["connection"], text: string, values: (string | null)[] = []): void {
  wire.parse({ text });
  wire.bind({ values });
  wire.describe({ type: "P" });
  wire.execute();
}
