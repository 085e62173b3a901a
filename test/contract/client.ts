import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { readDocument } from "./document.ts";

// npm run client [-- <file>]: the types of a client, from /openapi.json. With --check: fails when the file is stale.

const { values, positionals } = parseArgs({
  options: { check: { type: "boolean" } },
  allowPositionals: true,
});
const file = positionals[0] ?? join(import.meta.dirname, "../product/api.d.ts");

// openapi-typescript writes with the compiler's own API, which TypeScript has no more since 7.
registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier === "typescript" ? "typescript-5" : specifier, context),
});
const { astToString, default: openapiTS } = await import("openapi-typescript");

const types = await openapiTS(await readDocument(), { alphabetize: true, emptyObjectsUnknown: true });
const text = `// Made by \`npm run client\` from /openapi.json.\n\n${astToString(types)}`;
if (!values.check) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`The types are in ${file}. The client to copy beside them is src/client/client.ts.`);
} else if (readFileSync(file, "utf8") !== text) {
  console.error("test/product/api.d.ts is not what the routes say any more: npm run client");
  process.exitCode = 1;
}
