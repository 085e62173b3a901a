import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** What becomes of bytes: both ways pass; answers wait; or an answer is lost, and its connection with it. */
type Mode = "passes" | "holds answers" | "loses answers";

/** One connection of a client's, on which one request is under way at a time. */
type Line = { client: Socket; server: Socket; held: Buffer[]; asks: boolean };

/** A place in the middle of an HTTP connection, at which answers can be held up or get lost after they were given. */
export type Proxy = {
  port: number;
  /** Requests that were sent on, ever; and those that have no answer yet. */
  readonly sent: number;
  readonly underWay: number;
  /** Most requests that were under way at once, since this was last called. */
  takeMost(): number;
  /** From now on; what was held passes once answers do. */
  become(mode: Mode): void;
  /** Resolves once `holds` is true of the proxy, which is looked at whenever a request or an answer comes or goes. */
  until(holds: () => boolean): Promise<void>;
};

/** Stands between clients of HTTP/1.1 and this port of loopback, until `stack` is disposed of. */
export async function startProxy(stack: AsyncDisposableStack, target: number): Promise<Proxy> {
  const lines = new Set<Line>();
  const waiting = new Set<() => void>();
  let [mode, sent, most]: [Mode, number, number] = ["passes", 0, 0];
  const underWay = () => [...lines].filter(({ asks }) => asks).length;
  const changed = () => {
    most = Math.max(most, underWay());
    for (const look of waiting) look();
  };

  const server = createServer((client) => {
    const line: Line = { client, server: connect(target, "127.0.0.1"), held: [], asks: false };
    lines.add(line);
    const end = () => {
      lines.delete(line);
      client.destroy();
      line.server.destroy();
      changed();
    };
    client.on("data", (chunk) => {
      if (!line.asks) sent += 1;
      line.asks = true;
      line.server.write(chunk);
      changed();
    });
    line.server.on("data", (chunk) => {
      if (mode === "loses answers") return end();
      if (mode === "holds answers") return void line.held.push(chunk);
      line.asks = false;
      client.write(chunk);
      changed();
    });
    for (const socket of [client, line.server]) socket.on("error", end).on("close", end);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(async () => {
    server.close();
    for (const { client } of lines) client.destroy();
    await once(server, "close");
  });
  return {
    port: (server.address() as AddressInfo).port,
    get sent() {
      return sent;
    },
    get underWay() {
      return underWay();
    },
    takeMost: () => {
      const was = most;
      most = underWay();
      return was;
    },
    become(next) {
      mode = next;
      if (mode !== "passes") return;
      for (const line of lines)
        for (const chunk of line.held.splice(0)) {
          line.asks = false;
          line.client.write(chunk);
        }
      changed();
    },
    until: (holds) =>
      new Promise((resolve) => {
        const look = () => {
          if (!holds()) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}
