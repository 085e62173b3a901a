import { connect } from "node:net";
import { loginError } from "./errors.ts";
import type { Login } from "./login.ts";
import { reset } from "./query.ts";
import { WireClient } from "./wire.ts";

const CONNECT_TIMEOUT_MS = 10_000;

type Session = { client: WireClient; port: number; key: string; dead: boolean };
type Waiter = { login: Login; overtaken: number; take(session: Promise<Session> | Session): void };

/** A connection for one request; exactly one of `release` and `abort` ends it. */
export type Lease = {
  client: WireClient;
  /** Resets the session, then hands it on; a broken one is dropped. */
  release(): void;
  /** Cancels what runs and closes the connection, so its place is free at once. */
  abort(): void;
};

/** Connections to a Postgres, or to the one that a login names, at most `max` over all logins together. */
export class Pool {
  readonly #port: number;
  readonly #max: number;
  readonly #idle: Session[] = []; // least recently used first
  readonly #waiting: Waiter[] = [];
  #open = 0;

  constructor(port: number, max: number) {
    this.#port = port;
    this.#max = max;
  }

  /** A connection that Postgres let in with this login, first come first served; aborting leaves the queue. */
  async acquire(login: Login, signal: AbortSignal): Promise<Lease> {
    const session = await (this.#idleSession(login) ?? this.#place(login) ?? this.#wait(login, signal));
    const lease = this.#lease(session);
    if (signal.aborted) {
      lease.release();
      throw signal.reason;
    }
    return lease;
  }

  /** Closes the connections that nobody uses. */
  async closeIdle(): Promise<void> {
    const closing = this.#idle.splice(0);
    this.#open -= closing.length;
    await Promise.all(closing.map((session) => close(session)));
  }

  #idleSession(login: Login): Session | undefined {
    for (let at = this.#idle.length - 1; at >= 0; at -= 1) {
      const session = this.#idle[at];
      if (session?.key !== login.key) continue;
      this.#idle.splice(at, 1);
      // Postgres may have hung up since; nothing was sent yet, so the next one is as good.
      if (usable(session)) return session;
      this.#open -= 1;
      void close(session);
    }
    return undefined;
  }

  #place(login: Login): Promise<Session> | undefined {
    if (this.#open >= this.#max) {
      const oldest = this.#idle.shift();
      if (!oldest) return undefined;
      this.#open -= 1;
      void close(oldest);
    }
    return this.#connect(login);
  }

  #wait(login: Login, signal: AbortSignal): Promise<Session> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        const at = this.#waiting.indexOf(waiter);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      };
      const take = (session: Promise<Session> | Session): void => {
        signal.removeEventListener("abort", leave);
        resolve(session);
      };
      const waiter: Waiter = { login, overtaken: 0, take };
      this.#waiting.push(waiter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  async #connect(login: Login): Promise<Session> {
    this.#open += 1;
    const { port = this.#port } = login;
    const client = new WireClient({
      host: "127.0.0.1",
      port,
      user: login.user,
      password: login.password,
      database: login.database,
      application_name: login.applicationName,
      ssl: false,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    });
    const session: Session = { client, port, key: login.key, dead: false };
    const lost = (): void => this.#lost(session);
    client.on("error", lost).on("end", lost);
    try {
      await client.connect();
      return session;
    } catch (error) {
      this.#drop(session);
      throw loginError(error);
    }
  }

  #lease(session: Session): Lease {
    const settle = async (): Promise<void> => {
      try {
        if (!usable(session)) throw new Error("the connection is broken");
        await reset(session.client);
        this.#offer(session);
      } catch {
        this.#drop(session);
      }
    };
    return {
      client: session.client,
      release: () => void settle(),
      abort: () => {
        cancel(session.port, session.client);
        this.#drop(session);
      },
    };
  }

  /** To the first who waits with the same login, unless that would pass the head of the queue by too often. */
  #offer(session: Session): void {
    const head = this.#waiting[0];
    if (!head) {
      this.#idle.push(session);
      return;
    }
    const patient = head.overtaken < this.#max;
    const at = patient ? this.#waiting.findIndex((waiter) => waiter.login.key === session.key) : 0;
    const waiter = this.#waiting[at];
    if (waiter?.login.key !== session.key) {
      this.#drop(session);
      return;
    }
    if (at > 0) head.overtaken += 1;
    this.#waiting.splice(at, 1);
    waiter.take(session);
  }

  #lost(session: Session): void {
    session.dead = true;
    const at = this.#idle.indexOf(session);
    if (at < 0) return;
    this.#idle.splice(at, 1);
    this.#free();
  }

  #drop(session: Session): void {
    session.dead = true;
    session.client.connection.stream.destroy();
    this.#free();
  }

  #free(): void {
    this.#open -= 1;
    const waiter = this.#waiting.shift();
    if (waiter) waiter.take(this.#connect(waiter.login));
  }
}

function usable({ dead, client }: Session): boolean {
  const { stream } = client.connection;
  return !dead && stream.writable && !stream.readableEnded;
}

async function close(session: Session): Promise<void> {
  session.dead = true;
  await session.client.end().catch(() => undefined);
}

/** Asks Postgres to cancel what the client's session runs; there is no answer to wait for. */
function cancel(port: number, client: WireClient): void {
  const { processID, secretKey } = client;
  const request = Buffer.alloc(16);
  request.writeInt32BE(16, 0);
  request.writeInt32BE(80_877_102, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
  const socket = connect(port, "127.0.0.1", () => socket.end(request));
  socket.on("error", () => socket.destroy());
}
