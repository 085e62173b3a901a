import { once } from "node:events";
import type { Served } from "./workerd.ts";

const SAMPLED_EVERY_US = 250;

export type Node = {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number; columnNumber: number };
};
/** Of the inspector's `Profiler.stop`: a node id for each sample. */
export type Profile = { nodes: Node[]; samples: number[] };

/** Has V8 sample the Worker's isolate for as long as `run` takes. */
export async function profiling<T>(
  worker: Served,
  run: () => Promise<T>,
): Promise<{ result: T; profile: Profile }> {
  const list = await fetch(`http://127.0.0.1:${worker.inspectorPort}/json`);
  const targets = (await list.json()) as { id: string; webSocketDebuggerUrl: string }[];
  const url = targets.find(({ id }) => id === "main0")?.webSocketDebuggerUrl;
  if (!url) throw new Error(`The inspector has no such Worker: ${JSON.stringify(targets)}`);
  const socket = new WebSocket(url);
  await once(socket, "open");
  let calls = 0;
  const call = (method: string, params: object = {}): Promise<{ profile?: Profile }> => {
    const id = ++calls;
    return new Promise((settle, reject) => {
      socket.addEventListener("close", () => reject(new Error(`The inspector hung up on ${method}.`)));
      socket.addEventListener("message", ({ data }) => {
        const message: { id?: number; result?: object; error?: { message: string } } = JSON.parse(
          String(data),
        );
        if (message.id !== id) return;
        if (message.error) reject(new Error(`${method}: ${message.error.message}`));
        else settle(message.result ?? {});
      });
      socket.send(JSON.stringify({ id, method, params }));
    });
  };
  try {
    await call("Profiler.enable");
    await call("Profiler.setSamplingInterval", { interval: SAMPLED_EVERY_US });
    await call("Profiler.start");
    const result = await run();
    const { profile: taken } = await call("Profiler.stop");
    if (!taken) throw new Error("The inspector gave no profile.");
    return { result, profile: taken };
  } finally {
    socket.close();
  }
}
