import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { getTableName, is } from "drizzle-orm";
import { PgTable } from "drizzle-orm/pg-core";
import { describe, expect, it } from "vitest";
import * as control from "../src/db/control.ts";
import * as site from "../src/db/site.ts";
import { PROBLEMS } from "../src/problem.ts";
import { PRODUCT_PROBLEMS } from "../src/product/problems.ts";
import { VARIABLES } from "../src/settings.ts";

// The references in docs/, held against the code, both ways: nothing is missing, and nothing is there that is no more.

const root = join(import.meta.dirname, "..");
const read = (name: string) => readFileSync(join(root, name), "utf8");
const sorted = (names: Iterable<string>) => [...new Set(names)].toSorted();
/** The first group of each match. */
const found = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, group = ""]) => group);

/** The Worker's own sources, as one text. */
const sources = (pattern = "src/**/*.ts") =>
  globSync(pattern, { cwd: root })
    .filter((name) => !/^src\/(product|console\/client)\//.test(name))
    .map(read)
    .join("\n");

/** The text under a heading of level two. Throws if there is no such heading. */
function sectionOf(document: string, heading: string): string {
  const section = read(document)
    .split(/^## /m)
    .find((part) => part.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`${document} has no heading ${heading}`);
  return section;
}

/** The cells of each line of a document's tables, heads left out. */
const rowsIn = (markdown: string): string[][] =>
  found(markdown, /^\|.*\|\n\| ?-.*\n((?:\|.*\|\n?)+)/gm).flatMap((body) =>
    body
      .trimEnd()
      .split("\n")
      .map((line) =>
        line
          .split(/(?<!\\)\|/)
          .slice(1, -1)
          .map((cell) => cell.trim()),
      ),
  );
const firstsIn = (markdown: string): string[] =>
  rowsIn(markdown).map(([first = ""]) => first.replaceAll("`", ""));

describe("docs/settings.md", () => {
  it("has each setting of the Worker, and what it is where it is not set", () => {
    const document = sectionOf("docs/settings.md", "Secrets") + sectionOf("docs/settings.md", "Variables");
    const described = rowsIn(document).map(([name, value]) => [name, value]);
    const inCode = Object.entries(VARIABLES).map(([name, [schema]]) => {
      const value: unknown = Reflect.get(schema, "default");
      const isRequired = schema.type !== "optional";
      return [`\`${name}\``, isRequired ? "required" : value ? `\`${String(value)}\`` : "–"];
    });
    expect(described.map(String).toSorted()).toEqual(inCode.map(String).toSorted());
  });

  it("has each binding that the Worker uses", () => {
    const used = found(sources(), /\bbindings\.([A-Z_]+)\b/g);
    expect(used.length).toBeGreaterThan(10);
    expect(sorted(firstsIn(sectionOf("docs/settings.md", "Bindings")))).toEqual(sorted(used));
  });

  it("has each variable that commands read", () => {
    const commands = sources("drizzle/*.ts");
    const described = firstsIn(sectionOf("docs/settings.md", "For commands only"));
    for (const name of described) expect(commands).toMatch(new RegExp(`\\b${name}\\b`));
    const reads = found(commands, /process\.env\["([A-Z_]+)"\]/g).filter((name) => !(name in VARIABLES));
    expect(described).toEqual(expect.arrayContaining(sorted(reads)));
  });
});

describe("docs/commands.md", () => {
  const document = read("docs/commands.md");

  it("has each npm script, and none that is not there", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const described = found(document, /`npm (?:run )?([\w:]+)/g);
    expect(sorted(described)).toEqual(sorted(Object.keys(scripts)));
  });

  it.each([
    ["drizzle/tenants.ts", "Tenants and sites"],
    ["drizzle/operators.ts", "Operators"],
  ])("has each command of %s, and each of its flags", (program, heading) => {
    const [usage = ""] = found(read(program), /const USAGE = `([\s\S]*?)`;/g);
    const commandIn = (line: string) => /^[a-z]+(?: [a-z]+)?(?= |$)/.exec(line)?.[0] ?? "";
    const section = sectionOf("docs/commands.md", heading);
    const inUsage = found(usage, /^ {2}([a-z].*)$/gm).map((line) =>
      commandIn(line.split(/ {2}| </)[0] ?? ""),
    );
    expect(inUsage.length).toBeGreaterThan(4);
    expect(sorted(firstsIn(section).map(commandIn))).toEqual(sorted(inUsage));
    expect(sorted(found(section, /(--[a-z][a-z-]*)/g))).toEqual(sorted(found(usage, /(--[a-z][a-z-]*)/g)));
  });

  it.each(["dev", "doctor", "deploy", "rotate"])("has each flag of drizzle/%s.ts", (program) => {
    const flags = found(
      read(`drizzle/${program}.ts`),
      /^ *.*?"?([a-z-]+)"?: \{ type: "(?:string|boolean)"/gm,
    );
    expect(flags.length).toBeGreaterThan(0);
    for (const flag of flags) expect(document).toContain(`--${flag}`);
  });
});

it("docs/problems.md has each of partywall's problems as it is", () => {
  const own = Object.entries(PROBLEMS).filter(([code]) => !Object.hasOwn(PRODUCT_PROBLEMS, code));
  const inCode = own.map(([code, { status, title, help }]) => [String(status), `\`${code}\``, title, help]);
  expect(inCode.length).toBeGreaterThan(50);
  expect(rowsIn(read("docs/problems.md")).map(String).toSorted()).toEqual(inCode.map(String).toSorted());
});

describe("docs/logs.md", () => {
  const described = firstsIn(sectionOf("docs/logs.md", "Each line"));
  const code = sources();

  it("has each line that the Worker writes, and none that it does not", () => {
    const messages = [
      ...found(code, /console\.\w+\(\s*(?:JSON\.stringify\()?\{\s*message: "([^"]+)"/g),
      ...found(code, /\battempt\(\s*"([^"]+)"/g),
    ];
    expect(messages.length).toBeGreaterThan(15);
    // What is answered with 500 or more is logged by its code.
    const logged = Object.entries(PROBLEMS).filter(([, { status }]) => status >= 500);
    expect(sorted(described)).toEqual(sorted([...messages, ...logged.map(([problem]) => problem)]));
  });

  it("is about all that writes into the log", () => {
    const writes = found(code, /console\.(?:log|error|warn|info|debug)\(\s*(.*)/g);
    const known = /^(\{|JSON\.stringify\(|`mail to )/;
    expect(writes.length).toBeGreaterThan(10);
    expect(writes.filter((write) => !known.test(write))).toEqual([]);
  });

  it("shows each member of a request's line", () => {
    const [line = ""] = found(read("src/edge/log.ts"), /JSON\.stringify\(\{([\s\S]*?)\}\),/g);
    const [json = "{}"] = found(sectionOf("docs/logs.md", "A request's line"), /```json\n([\s\S]*?)```/g);
    expect(Object.keys(JSON.parse(json) as object)).toEqual(found(line, /^ *(\w+)[:,]/gm));
  });
});

describe("docs/storage.md", () => {
  const tablesOf = (module: object) =>
    Object.values(module).flatMap((each: unknown) => (is(each, PgTable) ? [getTableName(each)] : []));

  it.each([
    ["The control plane", control, 20],
    ["A site", site, 7],
  ])("has each table: %s", (heading, module, least) => {
    const tables = tablesOf(module);
    expect(tables.length).toBeGreaterThan(least);
    expect(sorted(firstsIn(sectionOf("docs/storage.md", heading)))).toEqual(sorted(tables));
  });

  it("has each key of a tenant's object", () => {
    const code = sources("src/tenant/*.ts");
    const keys = [
      ...found(code, /storage\.(?:kv\.)?(?:get|put|delete)(?:<[^(]*>)?\("([a-z]+)"/g),
      ...found(code, /const FLOOR = "(\w+) "/g),
    ];
    expect(sorted(keys).length).toBeGreaterThan(4);
    const described = firstsIn(sectionOf("docs/storage.md", "The tenant's Durable Object"));
    expect(sorted(described.map((key) => key.trim()))).toEqual(sorted(keys));
  });

  it("has each kind of key in R2", () => {
    const code = sources("src/lifecycle/*.ts");
    const prefixes = [
      ...found(code, /const LEDGER = "([a-z]+\/)"/g),
      ...found(code, /objectsOf = \(tenant: string\) => `([a-z]+\/)/g),
    ];
    const described = firstsIn(sectionOf("docs/storage.md", "R2"));
    expect(sorted(found(described.join("\n"), /^([a-z]+\/)/gm))).toEqual(sorted(prefixes));
    const [kinds = ""] = found(code, /archiveOf = \(tenant: string, kind: (.*?), job/g);
    for (const kind of found(kinds, /"(\w+)"/g)) expect(described.join("\n")).toContain(`/${kind}/`);
  });
});
