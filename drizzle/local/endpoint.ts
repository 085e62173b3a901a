import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { SqlError, errorBody } from "./errors.ts";
import { parseLogin } from "./login.ts";
import type { Lease, Pool } from "./pool.ts";
import { type Statement, type Work, run } from "./query.ts";
import { textOfParam } from "./values.ts";

const PATH = "/sql";
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const ISOLATION: Readonly<Record<string, string>> = {
  ReadUncommitted: "READ UNCOMMITTED",
  ReadCommitted: "READ COMMITTED",
  RepeatableRead: "REPEATABLE READ",
  Serializable: "SERIALIZABLE",
};

export type Endpoint = { port: number; close(): Promise<void> };

/** Serves SQL over HTTP on loopback; rejects with Node's error when the port cannot be had. */
export async function serve(port: number, pool: () => Pool | undefined): Promise<Endpoint> {
  const server = createServer((request, response) => void handle(request, response, pool));
  // A client that reuses a connection just when it is closed would see a reset, so idle ones stay.
  server.keepAliveTimeout = 0;
  await listen(server, port);
  return {
    port: portOf(server) ?? port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function portOf(server: Server): number | undefined {
  const address = server.address();
  return typeof address === "object" ? address?.port : undefined;
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1" }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Answers one request whatever happens; a client that goes away gets its query cancelled. */
async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  pool: () => Pool | undefined,
): Promise<void> {
  const gone = new AbortController();
  let lease: Lease | undefined;
  response.once("close", () => {
    if (response.writableFinished) return;
    gone.abort();
    lease?.abort();
    lease = undefined;
  });
  try {
    checkTarget(request);
    const login = parseLogin(header(request, "neon-connection-string"));
    const work = readWork(request, await readBody(request));
    const connections = pool();
    if (!connections)
      throw new SqlError(503, "PostgreSQL is starting.", { code: "57P03", severity: "FATAL" });
    lease = await connections.acquire(login, gone.signal);
    answer(response, 200, await run(lease.client, work));
  } catch (error) {
    if (gone.signal.aborted) return;
    const failure =
      error instanceof SqlError ? error : new SqlError(500, `The request failed: ${String(error)}`);
    if (failure.status === 405) response.setHeader("allow", "POST");
    answer(response, failure.status, errorBody(failure));
    request.resume();
  }
  lease?.release();
  lease = undefined;
}

function answer(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
  });
  response.end(body);
}

function checkTarget(request: IncomingMessage): void {
  const path = request.url?.split("?", 1)[0] ?? "";
  if (path !== PATH) throw new SqlError(404, `There is nothing at ${path}; queries go to POST ${PATH}.`);
  if (request.method !== "POST") {
    throw new SqlError(
      405,
      `${request.method ?? "This method"} is not possible; queries go to POST ${PATH}.`,
    );
  }
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The whole body as bytes, or a 413 as soon as it is known to be more than 64 MiB. */
function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const tooLarge = (): void => {
      request.removeAllListeners("data");
      reject(new SqlError(413, `The request is too large (the limit is ${MAX_BODY_BYTES} bytes).`));
    };
    request.on("error", reject);
    if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) return tooLarge();
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) return tooLarge();
      chunks.push(chunk);
    });
    request.on("end", () => resolve(Buffer.concat(chunks, length)));
  });
}

/** What a request asks for, checked; headers that ask for something unknown are a 400, as is any other shape. */
function readWork(request: IncomingMessage, body: Buffer): Work {
  let payload: unknown;
  try {
    payload = JSON.parse(body.toString());
  } catch (error) {
    throw new SqlError(
      400,
      `The body is not JSON (${error instanceof Error ? error.message : "unreadable"}).`,
    );
  }
  if (typeof payload !== "object" || payload === null) throw wrongShape();
  const rawText = header(request, "neon-raw-text-output") === "true";
  const arrayMode = header(request, "neon-array-mode") === "true";
  if (!("queries" in payload)) {
    return { statements: [readStatement(payload, arrayMode)], begin: null, rawText };
  }
  if (!Array.isArray(payload.queries)) throw wrongShape();
  const statements = payload.queries.map((query: unknown) => readStatement(query, arrayMode));
  return { statements, begin: readBegin(request), rawText };
}

function readStatement(query: unknown, arrayMode: boolean): Statement {
  if (typeof query !== "object" || query === null || !("query" in query)) throw wrongShape();
  const { query: text } = query;
  const params: unknown = "params" in query ? query.params : [];
  const own: unknown = "arrayMode" in query ? query.arrayMode : null;
  if (typeof text !== "string" || !Array.isArray(params)) throw wrongShape();
  return { text, params: params.map(textOfParam), arrayMode: typeof own === "boolean" ? own : arrayMode };
}

function readBegin(request: IncomingMessage): string {
  let begin = "BEGIN";
  const level = header(request, "neon-batch-isolation-level");
  if (level !== undefined) {
    const isolation = Object.hasOwn(ISOLATION, level) ? ISOLATION[level] : undefined;
    if (isolation === undefined) {
      const names = Object.keys(ISOLATION).join(", ");
      throw new SqlError(400, `The isolation level ${JSON.stringify(level)} is unknown; there are ${names}.`);
    }
    begin += ` ISOLATION LEVEL ${isolation}`;
  }
  if (header(request, "neon-batch-read-only") === "true") begin += " READ ONLY";
  if (header(request, "neon-batch-deferrable") === "true") begin += " DEFERRABLE";
  return begin;
}

function wrongShape(): SqlError {
  return new SqlError(
    400,
    'The body must be {"query": string, "params": []} or {"queries": [{"query", "params"}]}.',
  );
}
