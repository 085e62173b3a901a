/**
 * Puts together what browsers load, in `.wrangler/assets`, from where the Worker serves it. wrangler runs this before it
 * bundles the Worker, and again when a source changes: see [build] in wrangler.toml. A page of the product's has its files
 * beside it: src/product/<page>/<name>.client.{js,css} become /<page>/<name>.{js,css}.
 */
import { globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
// The one that wrangler bundles the Worker with.
import { build } from "esbuild";
import plugin from "@scalar/fastify-api-reference";

const root = join(import.meta.dirname, "..");
/** Where wrangler finds them. */
const ASSETS = join(root, ".wrangler/assets");

/** The pages' own, by what they become. What they import is put into them, but for uPlot and Scalar. */
const ENTRIES: [from: string, to: string][] = [
  ["src/routes/docs-page.client.js", "docs/page"],
  ["src/console/client/main.client.js", "operator/console"],
  ["src/console/client/console.client.css", "operator/console"],
  ["node_modules/uplot/dist/uPlot.esm.js", "operator/uplot"],
];
if (import.meta.main) await makeAssets();

/** Makes the folder what the sources say, and leaves alone what is that already. Throws where a source has a fault. */
export async function makeAssets(): Promise<void> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [...ENTRIES, ...productFiles()].map(([from, to]) => ({ in: from, out: to })),
    outdir: ASSETS,
    bundle: true,
    format: "esm",
    target: "es2024",
    minify: true,
    legalComments: "inline",
    write: false,
    logLevel: "warning",
  });
  const files = new Map<string, Uint8Array>();
  for (const { path, contents } of outputFiles) files.set(path, contents);
  files.set(join(ASSETS, "docs/scalar.js"), Buffer.from(scalar()));
  for (const [path, contents] of files) put(path, contents);
  const known = globSync("**/*.*", { cwd: ASSETS }).map((path) => join(ASSETS, path));
  for (const path of known) if (!files.has(path)) rmSync(path);
}

/** What the product's pages load. */
function productFiles(): [from: string, to: string][] {
  return globSync("src/product/*/*.client.{js,css}", { cwd: root }).map((path) => [
    path,
    relative("src/product", path).replace(/\.client\.\w+$/, ""),
  ]);
}

/**
 * Scalar, whole, as its plugin for Fastify has it. The package that it comes from brings 300 MB that only those need who
 * build on it.
 */
function scalar(): string {
  const scripts: string[] = [];
  const reply = { header: () => reply, send: (text: string) => scripts.push(text) };
  const route = ({ url, handler }: { url: string; handler: (asked: object, reply: object) => void }) => {
    if (url.endsWith(".js")) handler({}, reply);
  };
  plugin({ route }, { configuration: { url: "/openapi.json" } }, () => undefined);
  const [script] = scripts;
  if (!script) throw new Error("Scalar's plugin serves no script any more.");
  return script;
}

/** Writes the file, unless it is the same already. Whoever reads it meanwhile gets all of it or none. */
function put(path: string, contents: Uint8Array): void {
  if (readIfThere(path)?.equals(contents)) return;
  mkdirSync(dirname(path), { recursive: true });
  const made = `${ASSETS}-${process.pid}`;
  writeFileSync(made, contents);
  renameSync(made, path);
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
