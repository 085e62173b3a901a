import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dictionary } from "@zxcvbn-ts/language-common";

// `node test/contract/passwords.ts` writes src/identity/common-passwords.ts from the list of a package; `--check` says whether
// it is what the package has. The Worker carries no more of it than a guesser gets to try.

const FILE = join(import.meta.dirname, "../../src/identity/common-passwords.ts");
/** Sign-ins to an account are slowed down after 50 failures a minute: this many take more than an hour. */
const MOST = 4000;
const SHORTEST = 8;

const passwords = (dictionary["passwords-common"] as readonly string[])
  .map((password) => password.toLowerCase())
  .filter((password) => password.length >= SHORTEST && /^[!-~]+$/.test(password) && !/[`\\$]/.test(password));
const most = [...new Set(passwords)].slice(0, MOST);

const text = `// Made by \`node test/contract/passwords.ts\`: the most common passwords of ${SHORTEST} characters and more, in lower case.

const TEXT = \`${most.join(" ")}\`;
const COMMON = new Set(TEXT.split(" "));

/** Whether a password is among the ${MOST} most common ones, in whatever case. */
export const isCommon = (password: string): boolean => COMMON.has(password.toLowerCase());
`;

if (process.argv.includes("--check")) {
  if (readFileSync(FILE, "utf8") !== text) {
    console.error(
      "src/identity/common-passwords.ts is not what the package has: run node test/contract/passwords.ts",
    );
    process.exitCode = 1;
  }
} else writeFileSync(FILE, text);
