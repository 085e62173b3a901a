import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { unstable_readConfig } from "wrangler";
import type { Bundle, Served } from "./workerd.ts";

const requireOfWrangler = createRequire(createRequire(import.meta.url).resolve("wrangler"));
const config = unstable_readConfig({ config: join(import.meta.dirname, "../../wrangler.toml") });

/** What is used of wrangler's simulator, whose types wrangler does not pass on. */
type Simulator = {
  Miniflare: new (options: unknown) => {
    ready: Promise<URL>;
    getInspectorURL(): Promise<URL>;
    dispose(): Promise<void>;
    getWorker(): Promise<{ scheduled(options: object): Promise<{ outcome: string }> }>;
  };
  convertV4MiniflareOptions: (options: object) => unknown;
};
/** `sweep` calls the Worker as its cron does, until it is done. */
export type ServedWhole = Served & { sweep(): Promise<void> };
type Class = { name: string; class_name: string };

/** Serves a bundle with the Workflows and the R2 that wrangler simulates, which bare workerd has not, until `bench` ends. */
export async function serveWhole(
  bench: AsyncDisposableStack,
  { dir, modules }: Bundle,
  variables: Record<string, string>,
  persist: string,
): Promise<ServedWhole> {
  const { Miniflare, convertV4MiniflareOptions } = requireOfWrangler("miniflare") as Simulator;
  const before = new Set(children());
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "partywall",
      host: "127.0.0.1",
      port: 0,
      inspectorPort: 0,
      modulesRoot: dir,
      modules: modules.map((name) => ({
        type: name.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
        path: join(dir, name),
      })),
      compatibilityDate: config.compatibility_date,
      compatibilityFlags: config.compatibility_flags,
      bindings: variables,
      durableObjects: Object.fromEntries(
        config.durable_objects.bindings.map(({ name, class_name: className }: Class) => [
          name,
          { className, useSQLite: true },
        ]),
      ),
      ratelimits: Object.fromEntries(
        config.ratelimits.map(({ name }: { name: string }) => [
          name,
          { namespace_id: name, simple: { limit: 1_000_000, period: 60 } },
        ]),
      ),
      workflows: Object.fromEntries(
        config.workflows.map(({ binding, name, class_name: className }: Class & { binding: string }) => [
          binding,
          { name, className },
        ]),
      ),
      r2Buckets: config.r2_buckets.map(({ binding }: { binding: string }) => binding),
      durableObjectsPersist: persist,
      r2Persist: persist,
      workflowsPersist: persist,
    }),
  );
  const stop = () => miniflare.dispose();
  bench.defer(stop);
  const { port } = await miniflare.ready;
  const pid = children().find((child) => !before.has(child)) ?? 0;
  const sweep = async (): Promise<void> => {
    const { outcome } = await (await miniflare.getWorker()).scheduled({ scheduledTime: new Date() });
    if (outcome !== "ok") throw new Error(`The sweep ended as ${outcome}.`);
  };
  const inspectorPort = Number((await miniflare.getInspectorURL()).port);
  return { port: Number(port), pid, inspectorPort, stop, sweep };
}

/** The processes that this one has started, where the system says so. */
function children(): number[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && parentOf(name) === process.pid)
      .map(Number);
  } catch {
    return [];
  }
}

function parentOf(pid: string): number {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return 0;
  }
}

/** The most memory that a process has ever used, in MiB; NaN where the system does not say. */
export function peakOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}
