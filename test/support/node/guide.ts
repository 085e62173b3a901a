import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";

/** What an adopter edits, and nothing else. */
export const BORDER = /^(src\/product\/|drizzle\/content\/|test\/product\/|wrangler\.toml$|README\.md$)/;

/** A block of code in a document: what a file is to hold or to gain, or what to run. */
export type Step = { language: string; file: string; body: string };

/** The blocks of code under a document's heading of level two, in their order. Throws if there is no such heading. */
export function stepsOf(document: string, title: string): Step[] {
  const section = readFileSync(document, "utf8")
    .split(/^## /m)
    .find((part) => part.startsWith(`${title}\n`));
  if (section === undefined) throw new Error(`${document} has no heading ${title}`);
  const fence = /^( *)```(\w+) ?(\S*)\n([\s\S]*?)^\1```$/gm;
  return [...section.matchAll(fence)].map(([, indent = "", language = "", file = "", body = ""]) => ({
    language,
    file,
    body: body.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  }));
}

/** The same without what names no file, which is an example: what somebody does who follows the document. */
export const stepsToFollow = (document: string, title: string): Step[] =>
  stepsOf(document, title).filter(({ language, file }) => language === "sh" || file !== "");

/** Does in a folder what a step says. Returns what it printed; throws with all of that if a command fails. */
export async function follow(
  { language, file, body }: Step,
  folder: string,
  variables?: Record<string, string>,
): Promise<string> {
  if (language === "sh") return run(folder, "bash", ["-euc", body], variables);
  const path = join(folder, file);
  writeFileSync(path, language === "diff" ? insert(readFileSync(path, "utf8"), body) : body);
  return "";
}

/** The added lines, after the one line that the diff shows of what is there. */
function insert(whole: string, diff: string): string {
  const lines = diff.trimEnd().split("\n");
  const [after = ""] = lines.filter((line) => !line.startsWith("+")).map((line) => line.slice(1));
  const added = lines.filter((line) => line.startsWith("+")).map((line) => line.slice(1));
  const parts = whole.split(`${after}\n`);
  if (parts.length !== 2) throw new Error(`The guide's line is not there just once: ${after}`);
  return parts.join(`${[after, ...added].join("\n")}\n`);
}

/** Runs a command in a folder to its end. Returns its output; throws with all that was printed if it fails. */
export async function run(
  folder: string,
  command: string,
  args: string[],
  variables: Record<string, string> = {},
): Promise<string> {
  // GUIDE too: a copy's own test of the guide would run all tests again.
  const { VITEST: _, VITEST_POOL_ID: __, VITEST_WORKER_ID: ___, GUIDE: ____, ...env } = process.env;
  const child = spawn(command, args, {
    cwd: folder,
    env: { ...env, ...variables },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, error, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number]>,
  ]);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}\n${out}${error}`);
  return out;
}

/** Migrates a local server from a copy: the copy's migrations, its wall. */
export function migrateFrom(folder: string, superuserUrl: string, variables: object): Promise<string> {
  const program = `const { prepareLocalDatabase } = await import("./drizzle/local-database.ts");
    await prepareLocalDatabase(process.argv[1], JSON.parse(process.argv[2]));`;
  const args = ["--input-type=module", "-e", program, superuserUrl, JSON.stringify(variables)];
  return run(folder, process.execPath, args);
}
