import { once } from "node:events";
import type { Served } from "./workerd.ts";

const SAMPLED_EVERY_US = 250;

export type Node = {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number; columnNumber: number };
};
/** Of the inspector's `Profiler.stop`: a node id for each sample. */
export type Profile = { nodes: Node[]; samples: number[] };

/** What the inspector answers to a method. */
type Call = <T>(method: string, params?: object) => Promise<T>;

/** Has V8 sample the Worker's isolate for as long as `run` takes. */
export async function profiling<T>(
  worker: Served,
  run: () => Promise<T>,
): Promise<{ result: T; profile: Profile }> {
  const { call, close } = await inspect(worker.inspectorPort, "main0");
  try {
    await call("Profiler.enable");
    await call("Profiler.setSamplingInterval", { interval: SAMPLED_EVERY_US });
    await call("Profiler.start");
    const result = await run();
    const { profile } = await call<{ profile: Profile }>("Profiler.stop");
    return { result, profile };
  } finally {
    close();
  }
}

const HEAP_EVERY_MS = 100;

/** Watches how much the isolate's heap holds, what is garbage by then too, until `bench` ends. `peak` says the most so far, in MiB. */
export async function watchHeap(
  bench: AsyncDisposableStack,
  port: number,
  target: string,
): Promise<{ peak(): number }> {
  const { call, close } = await inspect(port, target);
  let most = 0;
  const look = async (): Promise<void> => {
    const usage = await call<Record<string, number>>("Runtime.getHeapUsage");
    const { usedSize = 0, embedderHeapUsedSize = 0, backingStorageSize = 0 } = usage;
    most = Math.max(most, usedSize + embedderHeapUsedSize + backingStorageSize);
  };
  await look();
  // It fails when the Worker has ended.
  const timer = setInterval(() => void look().catch(() => undefined), HEAP_EVERY_MS);
  bench.defer(() => {
    clearInterval(timer);
    close();
  });
  return { peak: () => most / 2 ** 20 };
}

async function inspect(port: number, target: string): Promise<{ call: Call; close(): void }> {
  const list = await fetch(`http://127.0.0.1:${port}/json`);
  const targets = (await list.json()) as { id: string; webSocketDebuggerUrl: string }[];
  const url = targets.find(({ id }) => id === target)?.webSocketDebuggerUrl;
  if (!url) throw new Error(`The inspector has no such Worker: ${JSON.stringify(targets)}`);
  const socket = new WebSocket(url);
  await once(socket, "open");
  let calls = 0;
  const waiting = new Map<number, { settle(result: unknown): void; reject(error: Error): void }>();
  socket.addEventListener("close", () => {
    for (const { reject } of waiting.values()) reject(new Error("The inspector hung up."));
  });
  socket.addEventListener("message", ({ data }) => {
    const message: { id?: number; result?: object; error?: { message: string } } = JSON.parse(String(data));
    const waits = waiting.get(message.id ?? 0);
    waiting.delete(message.id ?? 0);
    if (message.error) waits?.reject(new Error(message.error.message));
    else waits?.settle(message.result);
  });
  const call: Call = (method, params = {}) =>
    new Promise((settle, reject) => {
      const id = ++calls;
      waiting.set(id, { settle, reject });
      socket.send(JSON.stringify({ id, method, params }));
    });
  return { call, close: () => socket.close() };
}
