import { SqlError } from "./errors.ts";

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;

/** JSON with access to the source text, which TypeScript does not know yet. */
const { parse, rawJSON } = JSON as unknown as {
  parse: (text: string, reviver: Reviver) => unknown;
  rawJSON: (text: string) => unknown;
};

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * What a request's body says, its numbers kept as they are written, to the last digit. As with Neon, a body is refused
 * that is not JSON, not UTF-8, or has half of a surrogate pair in a string.
 */
export function parsePayload(body: Buffer): unknown {
  try {
    return parse(utf8.decode(body), exactly);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SqlError(400, `could not parse the HTTP request body: ${reason}`);
  }
}

const exactly: Reviver = (key, value, { source }) => {
  if (!key.isWellFormed() || (typeof value === "string" && !value.isWellFormed()))
    throw new Error("a surrogate stands alone");
  return typeof value === "number" && source !== undefined ? rawJSON(source) : value;
};
