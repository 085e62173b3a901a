import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { unstable_readConfig } from "wrangler";
import { OFFLINE, STARTED, WRANGLER } from "../../drizzle/wrangler.ts";
import { copyWithTestsProduct } from "../support/node/product.ts";

/** Resolves what wrangler depends on: its workerd is the one that `wrangler dev` runs. */
const requireOfWrangler = createRequire(createRequire(import.meta.url).resolve("wrangler"));
const root = join(import.meta.dirname, "../..");

const config = unstable_readConfig({ config: join(root, "wrangler.toml") });
const { default: workerd }: { default: string } = requireOfWrangler("workerd");

/** A Worker's modules as they would be uploaded, in a folder, the entry first; and what beside variables it binds. */
export type Bundle = { dir: string; modules: string[]; bindings: Bindings };

/** Where in a bundle's folder is what browsers load, if it has any. */
const ASSETS = "assets";

type Bindings = { objects: { name: string; class_name: string }[]; rateLimits: { name: string }[] };
const NO_BINDINGS: Bindings = { objects: [], rateLimits: [] };

/** `inspectorPort` is 0 where no inspector was asked for. */
export type Served = { port: number; pid: number; inspectorPort: number; stop(): Promise<void> };

/** Whether a bundle keeps its names and line ends, for people to read, or is minified as the deployed one. */
export type Bundling = { readable?: boolean };

/** Makes a folder that `bench` deletes. Throws once the bench is over, so that nothing is started after that. */
export function makeFolder(bench: AsyncDisposableStack): string {
  if (bench.disposed) throw new Error("The bench is over.");
  const dir = mkdtempSync(join(tmpdir(), "partywall-bench-"));
  bench.defer(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** The whole Worker of wrangler.toml, as `wrangler deploy` would upload it, with the tests' product. */
export async function bundleDeployed(
  bench: AsyncDisposableStack,
  { readable = false }: Bundling = {},
): Promise<Bundle> {
  const copy = makeFolder(bench);
  copyWithTestsProduct(copy);
  const bindings = { objects: config.durable_objects.bindings, rateLimits: config.ratelimits };
  const flags = [`--config=${join(copy, "wrangler.toml")}`, ...(readable ? ["--no-minify"] : [])];
  const made = await bundle(bench, moduleOf(config.main ?? ""), flags, bindings, copy);
  renameSync(join(copy, config.assets?.directory ?? ""), join(made.dir, ASSETS));
  return made;
}

/** The whole Worker of another checkout, with what is in its src/product, as `wrangler deploy` would upload it. */
export function bundleCheckout(bench: AsyncDisposableStack, folder: string): Promise<Bundle> {
  const bindings = { objects: config.durable_objects.bindings, rateLimits: config.ratelimits };
  const flags = [`--config=${join(folder, "wrangler.toml")}`];
  return bundle(bench, moduleOf(config.main ?? ""), flags, bindings, folder);
}

/** Another Worker, with its object classes, bundled with the deployed one's compatibility, minification and guards. */
export function bundleWorker(
  bench: AsyncDisposableStack,
  main: string,
  objects: Bindings["objects"] = [],
  { readable = false }: Bundling = {},
): Promise<Bundle> {
  const { compatibility_date, compatibility_flags, keep_names } = config;
  const own = join(makeFolder(bench), "wrangler.json");
  const alias = Object.fromEntries(
    Object.entries(config.alias ?? {}).map(([name, file]) => [name, resolve(root, String(file))]),
  );
  writeFileSync(
    own,
    JSON.stringify({
      name: "bench",
      main,
      compatibility_date,
      compatibility_flags,
      minify: config.minify && !readable,
      keep_names,
      alias,
    }),
  );
  return bundle(bench, moduleOf(main), [`--config=${own}`], { objects, rateLimits: config.ratelimits });
}

/** A Worker of one module, given as its text. */
export function bundleText(bench: AsyncDisposableStack, text: string): Bundle {
  const dir = makeFolder(bench);
  writeFileSync(join(dir, "index.js"), text);
  return { dir, modules: ["index.js"], bindings: NO_BINDINGS };
}

/** Bytes of all modules, as they are and gzipped. */
export function sizeOf({ dir, modules }: Bundle): { raw: number; gzip: number } {
  const files = modules.map((name) => readFileSync(join(dir, name)));
  const sum = (sizes: number[]) => sizes.reduce((total, size) => total + size, 0);
  return {
    raw: sum(files.map((file) => file.length)),
    gzip: sum(files.map((file) => gzipSync(file).length)),
  };
}

const moduleOf = (main: string): string => `${basename(main, ".ts")}.js`;

async function bundle(
  bench: AsyncDisposableStack,
  entry: string,
  flags: readonly string[],
  bindings: Bindings,
  cwd = root,
): Promise<Bundle> {
  const dir = makeFolder(bench);
  const child = spawn(
    process.execPath,
    [WRANGLER, "deploy", "--dry-run", "--metafile", `--outdir=${dir}`, ...flags],
    {
      cwd,
      env: { ...process.env, ...OFFLINE, ...STARTED },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const ended = once(child, "close");
  // Killed late, it would write into a folder that is gone.
  bench.defer(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => said.push(chunk));
  const [code]: unknown[] = await ended;
  if (code !== 0) throw new Error(`wrangler could not bundle ${entry}:\n${Buffer.concat(said).toString()}`);
  const modules = readdirSync(dir).filter((name) => /\.(js|wasm)$/.test(name));
  return { dir, modules: [entry, ...modules.filter((name) => name !== entry)], bindings };
}

type Serving = { objects?: string; flags?: string[]; inspected?: boolean };

/**
 * Serves a bundle on bare workerd, on a free port of loopback, until `bench` or its own `stop()` ends it. Its objects
 * are stored in a new folder, or go on in the one given; `flags` are compatibility flags beside the deployed Worker's.
 * An inspected one takes a debugger on a second port.
 */
export async function serve(
  bench: AsyncDisposableStack,
  made: Bundle,
  variables: Record<string, string>,
  serving?: Serving,
): Promise<Served> {
  const [served] = await serveIsolates(bench, made, [variables], serving);
  if (!served) throw new Error("workerd serves nothing");
  return served;
}

/**
 * Serves a bundle in one process and several isolates, one for each set of variables, on a port each. They share
 * nothing but their objects, which live in the first.
 */
export async function serveIsolates(
  bench: AsyncDisposableStack,
  made: Bundle,
  isolates: Record<string, string>[],
  { objects = makeFolder(bench), flags = [], inspected = false }: Serving = {},
): Promise<Served[]> {
  // Beside the modules: an absolute path would be searched for among the imports.
  const file = join(made.dir, `${randomUUID()}.capnp`);
  writeFileSync(file, capnp(made, isolates, objects, flags));
  const inspector = inspected ? ["--inspector-addr=127.0.0.1:0"] : [];
  const child = spawn(workerd, ["serve", "--experimental", "--control-fd=3", ...inspector, file], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    detached: true, // Ctrl-C comes to this process, which then stops all in order.
  });
  const ended = once(child, "close");
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
  };
  bench.defer(stop);
  const complaint: string[] = [];
  child.stderr?.on("data", (chunk: Buffer) => complaint.push(chunk.toString()));
  const reports = child.stdio[3];
  if (!(reports instanceof Readable)) throw new Error("workerd has no control pipe");
  const names = [...isolates.keys().map(String), ...(inspected ? [INSPECTOR] : [])];
  const ports = await listened(reports, names);
  if (!ports) {
    await ended;
    throw new Error(`workerd did not start:\n${complaint.join("")}`);
  }
  return isolates.map((_, index) => ({
    port: ports.get(String(index)) ?? 0,
    pid: child.pid ?? 0,
    inspectorPort: ports.get(INSPECTOR) ?? 0,
    stop,
  }));
}

/** What workerd reports an inspector's port as; a socket's it reports with the socket's name. */
const INSPECTOR = "listen-inspector";

/** The ports of these sockets, once workerd listens on all; undefined when it ends before. */
async function listened(
  reports: Readable,
  names: readonly string[],
): Promise<Map<string, number> | undefined> {
  const ports = new Map<string, number>();
  for await (const line of createInterface({ input: reports })) {
    const {
      event,
      socket = event,
      port,
    }: { event: string; socket?: string; port: number } = JSON.parse(line);
    ports.set(socket, port);
    if (names.every((name) => ports.has(name))) return ports;
  }
  return undefined;
}

/** A config for workerd: the Worker's isolates, their objects on disk, a flood guard that lets all pass, and loopback alone. */
function capnp(
  { dir, modules, bindings }: Bundle,
  isolates: Record<string, string>[],
  objects: string,
  flags: string[],
): string {
  const assets = join(dir, ASSETS);
  const hasAssets = existsSync(assets);
  const files = modules.map((name) => {
    const kind = name.endsWith(".wasm") ? "wasm" : "esModule";
    return `(name = ${quoted(name)}, ${kind} = embed ${quoted(name)})`;
  });
  const namespaces = bindings.objects.map(
    ({ class_name }) =>
      `(className = ${quoted(class_name)}, uniqueKey = ${quoted(class_name)}, enableSql = true)`,
  );
  const compatibility =
    `compatibilityDate = ${quoted(config.compatibility_date ?? "")}, ` +
    `compatibilityFlags = [${[...config.compatibility_flags, ...flags].map(quoted).join(", ")}]`;
  const worker = (variables: Record<string, string>, index: number): string => {
    const bound = [
      ...Object.entries(variables).map(
        ([name, value]) => `(name = ${quoted(name)}, text = ${quoted(value)})`,
      ),
      ...bindings.objects.map(
        ({ name, class_name }) =>
          `(name = ${quoted(name)}, durableObjectNamespace = (className = ${quoted(class_name)}, serviceName = "main0"))`,
      ),
      // Bare workerd has no binding of this kind.
      ...bindings.rateLimits.map(
        ({ name }) => `(name = ${quoted(name)}, service = (name = "guard", entrypoint = "Guard"))`,
      ),
      ...(hasAssets ? [`(name = "ASSETS", service = "assets")`] : []),
    ];
    const own = `durableObjectNamespaces = [${namespaces.join(", ")}], durableObjectStorage = (localDisk = "objects"),`;
    return `const main${index} :Workerd.Worker = (
  modules = [${files.join(", ")}],
  bindings = [${bound.join(",\n    ")}],
  ${index === 0 ? own : ""}
  ${compatibility},
);`;
  };
  const sockets = isolates.map(
    (_, index) => `(name = "${index}", address = "127.0.0.1:0", http = (), service = "main${index}")`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ${isolates.map((_, index) => `(name = "main${index}", worker = .main${index}),`).join(" ")}
    (name = "guard", worker = .guard),
    (name = "objects", disk = (path = ${quoted(objects)}, writable = true)),
    ${hasAssets ? `(name = "assets", disk = (path = ${quoted(assets)})),` : ""}
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [${sockets.join(", ")}],
);
${isolates.map(worker).join("\n")}
const guard :Workerd.Worker = (
  modules = [(name = "guard.js", esModule = ${quoted(GUARD)})],
  ${compatibility},
);
`;
}

const GUARD = `import { WorkerEntrypoint } from "cloudflare:workers";
export class Guard extends WorkerEntrypoint { limit() { return { success: true }; } }
export default {};`;

/** Cap'n Proto's strings escape as JSON's do, for the ASCII that is here. */
const quoted = (text: string): string => JSON.stringify(text);
