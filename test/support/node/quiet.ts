import { stripVTControlCharacters } from "node:util";

// What workerd writes to the log by itself although a test meant it to happen. All else there means something.

const MEANT = [
  // An error that a test's own code threw, in the place of an object or a client that fails.
  /^uncaught exception; source = Uncaught [^\n]*\n +at [^\n]*\/test\/[\w./-]+\.test\.ts:/,
  // A mail that Cloudflare's local binding refused, as a test had it.
  /^uncaught exception; source = Uncaught \(in promise\); stack = Error: email from \S+ not allowed/,
  // A connection that a test refused or broke.
  /\bdisconnected: |Error: (?:Network connection lost\.|the client has gone)/,
  // A header that no client should send, and one of a test's does.
  /^A header value for "[\w-]+" contains non-ASCII characters/,
  // Each project of the suite has secrets of its own.
  /^Using secrets defined in process\.env/,
];

/** Leaves out of this process's log what tests mean to happen. */
export function leaveOutWhatIsMeant(): void {
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream) as (text: unknown, ...rest: unknown[]) => boolean;
    stream.write = (text: unknown, ...rest: unknown[]) => {
      const plain = stripVTControlCharacters(String(text));
      return MEANT.some((meant) => meant.test(plain)) || write(text, ...rest);
    };
  }
}
