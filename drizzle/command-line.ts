import { parseArgs, type ParseArgsConfig } from "node:util";
import { messageOf } from "./connected.ts";

/** What a command has done or found: lines for people, and the same for programs. */
export type Told = { lines: string[]; data: unknown };

/** A command of a program: the words that follow its name, the options that it alone has, and what it does. */
export type Command<Flags> = {
  words?: readonly string[];
  options?: readonly (keyof Flags & string)[];
  run: (words: string[], flags: Flags) => Promise<Told>;
};

/**
 * What a program of the command line was told. Prints the usage and ends the program for --help; throws a sentence for an
 * option that it does not have.
 */
export function readArguments<const Config extends ParseArgsConfig>(usage: string, config: Config) {
  if (process.argv.slice(2).some((word) => word === "--help" || word === "-h")) {
    console.log(usage);
    process.exit();
  }
  try {
    return parseArgs(config);
  } catch (error) {
    // Node goes on with how a word may begin with a hyphen.
    const [sentence = ""] = messageOf(error).split(". ");
    throw new Error(`${sentence}. --help says what there is.`, { cause: error });
  }
}

/**
 * Runs the command that the program was told, and prints what it tells: as JSON with --json. What it throws is printed as a
 * sentence, with exit status 1; so is a command that misses a word, or is told a word or an option that it does not take.
 */
export async function runCommand<Flags extends { json: boolean }>(
  usage: string,
  { commands, options, ofAll }: Program<Flags>,
): Promise<void> {
  try {
    const { values, positionals } = readArguments(usage, { allowPositionals: true, options });
    if (positionals.length === 0) throw new Error(usage);
    const length = commands[positionals.slice(0, 2).join(" ")] ? 2 : 1;
    const name = positionals.slice(0, length).join(" ");
    const command = commands[name];
    if (!command) throw new Error(`There is no command ${name}. --help names them.`);
    const words = positionals.slice(length);
    const own = Object.keys(values).filter(
      (option) => values[option] !== false && !ofAll.some((known) => known === option),
    );
    requireTaken(name, command, words, own);
    const { lines, data } = await command.run(words, values as Flags);
    console.log(values["json"] ? JSON.stringify(data, null, 2) : lines.join("\n"));
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}

type Program<Flags> = {
  commands: Record<string, Command<Flags>>;
  options: NonNullable<ParseArgsConfig["options"]>;
  /** The options that every command takes. */
  ofAll: readonly (keyof Flags & string)[];
};

function requireTaken<Flags>(
  name: string,
  { words = [], options = [] }: Command<Flags>,
  given: readonly string[],
  flags: readonly string[],
): void {
  if (given.length < words.length) throw new Error(`Say which: ${[name, ...words].join(" ")}`);
  const [extra] = given.slice(words.length);
  if (extra !== undefined)
    throw new Error(`\`${name}\` does not take "${extra}". --help says what it takes.`);
  const foreign = flags.find((flag) => !options.some((known) => known === flag));
  if (foreign !== undefined)
    throw new Error(`\`${name}\` does not take --${foreign}. --help says what it takes.`);
}
