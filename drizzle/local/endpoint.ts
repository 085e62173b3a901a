import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { SqlError, errorBody } from "./errors.ts";
import { parseLogin } from "./login.ts";
import type { Lease, Pool } from "./pool.ts";
import { parsePayload } from "./payload.ts";
import { MAX_BYTES, type Statement, type Work, run } from "./query.ts";
import { textOfParam } from "./values.ts";

const PATH = "/sql";
/** For how long Neon's proxy lets a request run, from its first byte on. */
const TIME_LIMIT_MS = 15_000;
const TOO_SLOW = `HTTP-Connection timed out, execution time exceeded ${TIME_LIMIT_MS / 1000} seconds`;
/** The reason to stop when there is nobody left to answer. */
const GONE = Symbol("the client has gone");
const ISOLATION: Readonly<Record<string, string>> = {
  ReadUncommitted: "READ UNCOMMITTED",
  ReadCommitted: "READ COMMITTED",
  RepeatableRead: "REPEATABLE READ",
  Serializable: "SERIALIZABLE",
};

type Headers = Record<string, string>;

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

/** Answers one request whatever happens; when its client goes away or its time is up, its query is cancelled. */
async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  pool: () => Pool | undefined,
): Promise<void> {
  const stop = new AbortController();
  let lease: Lease | undefined;
  const cut = (reason: unknown): void => {
    stop.abort(reason);
    lease?.abort();
    lease = undefined;
  };
  const limit = setTimeout(() => cut(new SqlError(504, TOO_SLOW)), TIME_LIMIT_MS);
  response.once("close", () => {
    clearTimeout(limit);
    if (!response.writableFinished) cut(GONE);
  });
  try {
    checkTarget(request);
    const login = parseLogin(header(request, "neon-connection-string"));
    const batch = readBatch(request);
    const work = readWork(request, parsePayload(await readBody(request, stop.signal)), batch.begin);
    const connections = pool();
    if (!connections)
      throw new SqlError(503, "PostgreSQL is starting.", { code: "57P03", severity: "FATAL" });
    lease = await connections.acquire(login, stop.signal);
    answer(response, 200, await run(lease.client, work), work.begin === null ? {} : batch.headers);
  } catch (error) {
    // What the query fails with when it is cut off does not matter.
    const reason: unknown = stop.signal.aborted ? stop.signal.reason : error;
    if (reason === GONE) return;
    const failure =
      reason instanceof SqlError ? reason : new SqlError(500, `The request failed: ${String(reason)}`);
    answer(response, failure.status, errorBody(failure), failure.status === 405 ? { allow: "POST" } : {});
    request.resume();
  }
  lease?.release();
  lease = undefined;
}

function answer(response: ServerResponse, status: number, body: string, headers: Headers): void {
  response.writeHead(status, {
    ...headers,
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

/** The whole body as bytes, or a 413 as soon as it is known to be too large. Rejects when it is told to stop. */
function readBody(request: IncomingMessage, stop: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const tooLarge = (): void => {
      request.removeAllListeners("data");
      reject(new SqlError(413, `request is too large (max is ${MAX_BYTES} bytes)`));
    };
    stop.addEventListener("abort", reject, { once: true });
    request.on("error", reject);
    if (Number(request.headers["content-length"] ?? 0) > MAX_BYTES) return tooLarge();
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_BYTES) return tooLarge();
      chunks.push(chunk);
    });
    request.on("end", () => resolve(Buffer.concat(chunks, length)));
  });
}

/** What a request asks for, checked; any other shape is a 400. */
function readWork(request: IncomingMessage, payload: unknown, begin: string): Work {
  if (typeof payload !== "object" || payload === null) throw wrongShape();
  const rawText = header(request, "neon-raw-text-output") === "true";
  const arrayMode = header(request, "neon-array-mode") === "true";
  if (!("queries" in payload)) {
    return { statements: [readStatement(payload, arrayMode)], begin: null, rawText };
  }
  if (!Array.isArray(payload.queries)) throw wrongShape();
  const statements = payload.queries.map((query: unknown) => readStatement(query, arrayMode));
  return { statements, begin, rawText };
}

function readStatement(query: unknown, arrayMode: boolean): Statement {
  if (typeof query !== "object" || query === null || !("query" in query)) throw wrongShape();
  const { query: text } = query;
  const params: unknown = "params" in query ? query.params : [];
  const own: unknown = "arrayMode" in query ? query.arrayMode : null;
  if (typeof text !== "string" || !Array.isArray(params) || (own !== null && typeof own !== "boolean"))
    throw wrongShape();
  return { text, params: params.map(textOfParam), arrayMode: own ?? arrayMode };
}

/** How a batch begins its transaction, and the headers that confirm it. An unknown isolation level is a 400. */
function readBatch(request: IncomingMessage): { begin: string; headers: Headers } {
  let begin = "BEGIN";
  const headers: Headers = {};
  const level = header(request, "neon-batch-isolation-level");
  if (level !== undefined) {
    const isolation = Object.hasOwn(ISOLATION, level) ? ISOLATION[level] : undefined;
    if (isolation === undefined) throw new SqlError(400, "invalid isolation level");
    begin += ` ISOLATION LEVEL ${isolation}`;
    headers["neon-batch-isolation-level"] = level;
  }
  for (const mode of ["read only", "deferrable"]) {
    const name = `neon-batch-${mode.replace(" ", "-")}`;
    if (header(request, name) !== "true") continue;
    begin += ` ${mode.toUpperCase()}`;
    headers[name] = "true";
  }
  return { begin, headers };
}

function wrongShape(): SqlError {
  return new SqlError(
    400,
    'The body must be {"query": string, "params": []} or {"queries": [{"query", "params"}]}.',
  );
}
