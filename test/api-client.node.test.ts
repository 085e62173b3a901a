import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, inject, it } from "vitest";

// src/client/client.ts as a front end builds it.

const root = join(import.meta.dirname, "..");
const client = join(root, "src/client/client.ts");

it("is under 5 KB beside openapi-fetch, minified and compressed", () => {
  const esbuild = join(root, "node_modules/.bin/esbuild");
  const options = ["--bundle", "--minify", "--format=esm", "--external:openapi-fetch"];
  const bundle = execFileSync(esbuild, [client, ...options]);
  expect(bundle.toString()).toContain('from"openapi-fetch"');
  expect(gzipSync(bundle).length).toBeLessThan(5_000);
});

/** The first TypeScript of a section. */
function exampleIn(document: string, heading: string): string {
  const section = readFileSync(join(root, document), "utf8").split(`\n## ${heading}\n`)[1] ?? "";
  return /```ts\n([\s\S]*?)```/.exec(section)?.[1] ?? "";
}

/** What the compiler says of this program beside the client and its types, for a browser. */
function faultsOf(name: string, program: string): string {
  const folder = join(inject("folder"), name);
  mkdirSync(folder);
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  copyFileSync(client, join(folder, "client.ts"));
  copyFileSync(join(root, "test/product/api.d.ts"), join(folder, "api.d.ts"));
  writeFileSync(join(folder, "example.ts"), program);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: "es2022",
    lib: ["es2022", "dom", "dom.iterable", "dom.asynciterable"],
    types: [],
    module: "esnext",
    moduleResolution: "bundler",
    allowImportingTsExtensions: true,
    skipLibCheck: true,
  };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions, files: ["client.ts", "example.ts"] }),
  );
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const args = [tsc, "-p", folder, "--pretty", "false"];
  return spawnSync(process.execPath, args, { encoding: "utf8" }).stdout;
}

it("fits the types and a browser, as docs/api.md shows it", () => {
  const example = exampleIn("docs/api.md", "A typed client");
  expect(example.trim().split("\n").length).toBeLessThanOrEqual(15);
  const wrong = `
    // @ts-expect-error Not a list.
    pages(client, "/v1/me");
    // @ts-expect-error No such filter.
    pages(client, "/v1/members", { query: { colour: "red" } });
    // @ts-expect-error The iterator has the cursor.
    pages(client, "/v1/members", { query: { cursor: "x" } });
    // @ts-expect-error This POST takes no key.
    client.POST("/v1/sessions", { body, params: { header: newIdempotencyKey() } });
    // @ts-expect-error No such code.
    try {} catch (error) { if (isProblem<paths>(error)) error.code === "not_fuond"; }
    client.getSession()?.tenant.slug.length;
    // @ts-expect-error No such member.
    client.getSession()?.tenant.colour;
  `;
  expect(faultsOf("api", example + wrong)).toBe("");
});

it("fits the types and a browser, as docs/front-end.md shows it", () => {
  const example = exampleIn("docs/front-end.md", "The client");
  expect(example).toContain("createApiClient<paths>");
  expect(faultsOf("front-end", example)).toBe("");
});
