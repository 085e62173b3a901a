import { parseArgs } from "node:util";

const DEFAULT_CONNECTIONS = 20;

export const USAGE = `Usage: offline-neon-endpoint [options]

Serves SQL over HTTP, as Neon does, in front of a PostgreSQL of its own, on 127.0.0.1, until Ctrl-C.

  --dir DIR             where the database is kept; without it, it is deleted at the end
  --port N              of the endpoint; without it, a free one
  --postgres-port N     of PostgreSQL; without it, a free one
  --max-connections N   most connections of the endpoint to PostgreSQL (${DEFAULT_CONNECTIONS})
  --fresh               deletes first what an earlier start left in DIR
  --ephemeral           deletes DIR at the end; faster, because nothing has to survive a crash
  --help                prints this`;

/** What the command line says. Throws one sentence on what it does not know. */
export function readFlags(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      dir: { type: "string" },
      port: { type: "string", default: "0" },
      "postgres-port": { type: "string", default: "0" },
      "max-connections": { type: "string", default: String(DEFAULT_CONNECTIONS) },
      fresh: { type: "boolean", default: false },
      ephemeral: { type: "boolean", default: false },
      // For startStack() alone: reports are JSON, and the end of stdin is the end.
      attached: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    dir: values.dir,
    port: wholeNumber("port", values.port, 65_535),
    postgresPort: wholeNumber("postgres-port", values["postgres-port"], 65_535),
    maxConnections: Math.max(1, wholeNumber("max-connections", values["max-connections"], 10_000)),
    fresh: values.fresh,
    // Without a name, nobody could find the folder again.
    ephemeral: values.ephemeral || values.dir === undefined,
    help: values.help,
  };
}

function wholeNumber(name: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw new Error(`--${name} must be a whole number from 0 to ${most}, not ${text}.`);
}
