import { fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";

/** No answer within this time ends the measurement. */
const ANSWER_TIMEOUT_MS = 10_000;

/** One request; a GET unless it says otherwise, and with a body a JSON one. */
export type Ask = { method?: "GET" | "POST" | "PATCH"; path: string; body?: string };

type Load = ({ path: string } | { asks: readonly Ask[] }) & {
  port: number;
  headers?: Record<string, string>;
  /** Access tokens that the requests take in turn. */
  tokens?: readonly string[];
  connections: number;
  seconds: number;
  /** A refused connection waits for so long before it asks again: 0 unless given. */
  pauseMs?: number;
  /** A connection asks again so long after it last asked, or once it has its answer, if that is later. */
  everyMs?: number;
  /** A request that is answered with 503 is asked again, after `pauseMs`, until it is answered otherwise. */
  insisting?: boolean;
  /** Notes when each admitted request was asked and answered; the Worker may then die under the load. */
  traced?: boolean;
};

/** Of an admitted request, in ms of one clock: it was decided at some time from `asked` to `answered`. */
export type Admitted = { asked: number; answered: number };

/** What came back: answers by status, latencies in ms, and the share of its time that the generator was busy. */
export type Outcome = {
  perSecond: number;
  answers: number;
  statuses: Record<number, number>;
  p50: number;
  p99: number;
  busy: number;
  /** Requests of an insisting load that were answered with 503 at first. */
  refused: number;
  /** The longest time in ms from a request's first asking to its last answer. */
  slowest: number;
  /** Of a traced load. */
  admitted: Admitted[];
};

type Reply = { outcome: Outcome } | { fault: string };
/** `stop` ends the load that runs before its time; what is under way is answered. */
export type Generator = { pid: number; run(load: Load): Promise<Outcome>; stop(): void };

/** To the generator: end the load that runs. */
const STOP = "stop";

/** Starts a load generator in a process of its own, which `bench` ends. */
export function startLoad(bench: AsyncDisposableStack): Generator {
  const child = fork(import.meta.filename, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const ended = once(child, "exit");
  bench.defer(async () => {
    child.kill();
    await ended;
  });
  return {
    pid: child.pid ?? 0,
    async run(load) {
      child.send(load);
      const [reply]: unknown[] = await Promise.race([once(child, "message"), ended.then(() => [undefined])]);
      if (!reply) throw new Error("The load generator has ended.");
      const answer = reply as Reply;
      if ("fault" in answer) throw new Error(`Under load: ${answer.fault}`);
      return answer.outcome;
    },
    stop: () => void child.send(STOP),
  };
}

/** Whether the load that runs is to end. */
let isStopped = false;

/** Keeps every connection busy with one request after the other, for so many seconds. */
async function generate(load: Load): Promise<Outcome> {
  isStopped = false;
  const { connections, seconds, traced = false } = load;
  const latencies: number[] = [];
  const statuses: Record<number, number> = {};
  const admitted: Admitted[] = [];
  let [refused, slowest] = [0, 0];
  const seen = (status: number, { first, asked, answered }: Times): void => {
    latencies.push(answered - asked);
    statuses[status] = (statuses[status] ?? 0) + 1;
    slowest = Math.max(slowest, answered - first);
    if (load.insisting && status === 503 && first === asked) refused += 1;
    if (traced && status === 200) admitted.push({ asked, answered });
  };
  const requests = requestsOf(load);
  const idle = performance.eventLoopUtilization();
  const started = performance.now();
  const until = started + seconds * 1000;
  await Promise.all(
    Array.from({ length: connections }, (_, connection) =>
      keepAsking(load, requests, connection, until, seen),
    ),
  );
  const elapsed = performance.now() - started;
  const sorted = Float64Array.from(latencies).sort();
  const quantile = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
  return {
    perSecond: (latencies.length / elapsed) * 1000,
    answers: latencies.length,
    statuses,
    p50: quantile(0.5),
    p99: quantile(0.99),
    busy: performance.eventLoopUtilization(idle).utilization,
    refused,
    slowest,
    admitted,
  };
}

/** When a request was asked first, when it was asked last, and when that was answered. */
type Times = { first: number; asked: number; answered: number };

/** The requests of a load, which its connections take in turn: all with one token, then all with the next. */
function requestsOf(load: Load): string[] {
  const { port, headers = {}, tokens } = load;
  const asks = "asks" in load ? load.asks : [{ path: load.path }];
  const write = ({ method = "GET", path, body }: Ask, fields: Record<string, string>): string => {
    const ofBody = body !== undefined && {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(body)),
    };
    const lines = Object.entries({ host: `127.0.0.1:${port}`, ...headers, ...fields, ...ofBody });
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    return `${method} ${path} HTTP/1.1\r\n${head}\r\n${body ?? ""}`;
  };
  const fields = tokens ? tokens.map((token) => ({ authorization: `Bearer ${token}` })) : [{}];
  return fields.flatMap((own) => asks.map((ask) => write(ask, own)));
}

/** Asks over one connection until `until`, each time once the last answer is whole; reports each answer. */
function keepAsking(
  load: Load,
  requests: readonly string[],
  connection: number,
  until: number,
  seen: (status: number, times: Times) => void,
): Promise<void> {
  const { port, connections, pauseMs = 0, everyMs = 0, insisting = false, traced = false } = load;
  // Bare sockets: node:http would take more of the CPU time that the measured Worker shares with this process.
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let turn = connection;
    let [first, asked] = [0, 0];
    let answer = "";
    const repeat = (): void => {
      answer = "";
      asked = performance.now();
      socket.write(requests[turn % requests.length] ?? "");
    };
    const ask = (): void => {
      repeat();
      first = asked;
    };
    const end = (error: Error): void => (traced ? resolve() : reject(error));
    socket
      .setEncoding("latin1")
      .setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error(`no answer in ${ANSWER_TIMEOUT_MS} ms`)))
      .on("connect", ask)
      .on("data", (chunk) => {
        answer += String(chunk);
        if (!isWhole(answer)) return;
        const now = performance.now();
        const status = Number(answer.slice(9, 12));
        seen(status, { first, asked, answered: now });
        if (insisting && status === 503) {
          setTimeout(repeat, pauseMs);
          return;
        }
        turn += connections;
        const wait = Math.max(status === 200 ? 0 : pauseMs, asked + everyMs - now);
        if (now >= until || isStopped) {
          resolve();
          socket.destroy();
        } else if (wait > 0) setTimeout(ask, wait);
        else ask();
      })
      .on("error", end)
      .on("close", () => end(new Error("the Worker hung up")));
  });
}

/** Whether this HTTP/1.1 answer, one character a byte, is there to its end. */
function isWhole(answer: string): boolean {
  const end = answer.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(answer.slice(0, end));
  return length ? answer.length >= end + 4 + Number(length[1]) : answer.endsWith("\r\n0\r\n\r\n");
}

if (import.meta.main) {
  process.on("disconnect", () => process.exit());
  process.on("SIGINT", () => undefined); // The parent ends this process, in its order.
  process.on("message", (load: Load | typeof STOP) => {
    if (load === STOP) {
      isStopped = true;
      return;
    }
    void generate(load)
      .then((outcome): Reply => ({ outcome }))
      .catch((error: unknown): Reply => ({ fault: error instanceof Error ? error.message : String(error) }))
      .then((reply) => process.send?.(reply));
  });
}
