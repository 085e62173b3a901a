import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseEnv } from "node:util";
import * as v from "valibot";
import { keyRing, pepperRing, signingKeys } from "../src/settings.ts";
import { readArguments } from "./command-line.ts";
import { DEV_VARS, loadVariables, makeSigningKey, namedSecret, readDevVars } from "./variables.ts";

const USAGE = `Usage: node drizzle/rotate.ts NAME [--alg Ed25519|ES256] [--file FILE | --local]

Prints the value of NAME one step further: a next key joins the one in use, takes over from it, and then the old one
is dropped. Says on the standard error when the step after may be taken. NAME is TOKEN_SIGNING_KEYS, OPAQUE_TOKEN_KEYS,
TENANT_CONTEXT_KEYS or PASSWORD_PEPPERS, read from the environment or .dev.vars.

  --file FILE   reads it from this file, and writes it back there instead of printing it
  --local       the same with .dev.vars
  --alg         of a next key of TOKEN_SIGNING_KEYS; Ed25519 by default`;

type Algorithm = Parameters<typeof makeSigningKey>[0];

/** How a value holds its keys, each as text. The first is in use; another one is the next, or else retired. */
type Form = {
  schema: v.GenericSchema;
  split: (value: string) => string[];
  join: (keys: string[]) => string;
  makeNext: (alg: Algorithm) => string | Promise<string>;
  isNext: (key: string) => boolean;
  promote: (key: string) => string;
  retire: (key: string) => string;
};

const ring: Form = {
  schema: keyRing,
  split: (value) => value.split(","),
  join: (keys) => keys.join(","),
  makeNext: () => `+${namedSecret()}`,
  isNext: (key) => key.startsWith("+"),
  promote: (key) => key.slice("+".length),
  retire: (key) => key,
};

const jwkSet: Form = {
  schema: signingKeys,
  split: (value) => JSON.parse(value).keys.map((jwk: object) => JSON.stringify(jwk)),
  join: (keys) => `{"keys":[${keys.join(",")}]}`,
  makeNext: async (alg) => JSON.stringify(await makeSigningKey(alg)),
  isNext: (key) => "d" in JSON.parse(key),
  promote: (key) => key,
  retire: (key) => JSON.stringify({ ...JSON.parse(key), d: undefined }),
};

const ONCE_DEPLOYED = "as soon as every Worker has this value";

/** Each variable's form, and when the step after one may be taken. */
const ROTATIONS: Record<
  string,
  {
    form: Form;
    after: { next: string; current: string };
    /** What it is where it is not set. */ initial?: string;
  }
> = {
  TOKEN_SIGNING_KEYS: {
    form: jwkSet,
    after: {
      // KEY_SET_MAX_AGE_S
      next: "5 minutes after every Worker has this value, when no verifier keeps a key set without the next key",
      // ACCESS_TOKEN_TTL_S
      current: "11 minutes after every Worker has this value, when the last token of the old key has expired",
    },
  },
  OPAQUE_TOKEN_KEYS: {
    form: ring,
    after: {
      next: ONCE_DEPLOYED,
      // REFRESH_TTL_S
      current:
        "30 days after every Worker has this value, or all who were not back by then have to sign in again",
    },
  },
  TENANT_CONTEXT_KEYS: {
    form: ring,
    after: {
      next: "once `npm run db:migrate` has run with this value and every Worker has it",
      // CONTEXT_TTL_S
      current:
        "2 minutes after every Worker has this value, and then with `npm run db:migrate` before any has it",
    },
  },
  PASSWORD_PEPPERS: {
    form: { ...ring, schema: pepperRing },
    initial: "original",
    after: {
      next: ONCE_DEPLOYED,
      current:
        "when those who still count have signed in: whoever has not by then has to reset their password, and to use a recovery code",
    },
  },
};

/** The value of this variable one step further, and what that step was. Its errors do not tell the value. */
export async function rotate(name: string, value: string, alg: Algorithm = "Ed25519") {
  const rotation = ROTATIONS[name];
  if (!rotation)
    throw new Error(
      `${name} does not rotate with this: ${Object.keys(ROTATIONS).join(", ")} do. docs/operate.md says how others are replaced.`,
    );
  const { form, after } = rotation;
  if (!v.is(form.schema, value)) throw new Error(`${name} is not well formed.`);
  const [current = "", other, ...more] = form.split(value);
  if (more.length > 0) throw new Error(`${name} has more than two keys, and no step leads on from there.`);
  if (other === undefined)
    return {
      value: form.join([current, await form.makeNext(alg)]),
      told: `a next key has joined the one in use. It takes over with the next step, ${after.next}.`,
    };
  if (form.isNext(other))
    return {
      value: form.join([form.promote(other), form.retire(current)]),
      told: `the next key is in use. The old one is dropped with the next step, ${after.current}.`,
    };
  return { value: form.join([current]), told: "the old key is gone, and the rotation is done." };
}

/** Puts the value in place of the variable's in a file of NAME='value' lines, all at once. */
function rewrite(file: string, name: string, value: string): void {
  const line = new RegExp(`^${name}=.*$`, "m");
  const text = readFileSync(file, "utf8");
  const changed = line.test(text)
    ? text.replace(line, () => `${name}='${value}'`)
    : `${text.trimEnd()}\n${name}='${value}'\n`;
  writeFileSync(`${file}.new`, changed, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** The variable's value in the file, or else in the environment or .dev.vars. */
function known(name: string, file: string | undefined): string {
  const initial = ROTATIONS[name]?.initial;
  if (file) return parseEnv(readFileSync(file, "utf8"))[name] ?? initial ?? "";
  const isSet = (process.env[name] ?? readDevVars()[name] ?? "") !== "";
  return initial !== undefined && !isSet ? initial : (loadVariables([name])[name] ?? "");
}

async function main(): Promise<void> {
  const { values, positionals } = readArguments(USAGE, {
    allowPositionals: true,
    options: {
      alg: { type: "string", default: "Ed25519" },
      file: { type: "string" },
      local: { type: "boolean", default: false },
    },
  });
  const [name, ...more] = positionals;
  const { alg } = values;
  if (!name || more.length > 0 || (alg !== "Ed25519" && alg !== "ES256")) throw new Error(USAGE);
  const file = values.local ? DEV_VARS : values.file;
  if (file !== undefined && !existsSync(file)) throw new Error(`There is no file ${file}.`);
  const { value, told } = await rotate(name, known(name, file), alg);
  if (file) rewrite(file, name, value);
  else console.log(value);
  console.error(`${name}: ${told}`);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
