import type { Context } from "hono";
import { Problem } from "../problem.ts";
import { Readings } from "./readings.ts";

const MAX_BODY_BYTES = 256 * 1024;
/** A body has this long to arrive whole. */
const BODY_TIMEOUT_MS = 10_000;
/** What an isolate, which has 128 MiB, keeps at once of bodies that come without a token. */
const MAX_READING_BYTES = 16 * 1024 * 1024;
/** What is kept for a body to begin with; it doubles as it fills. */
const FIRST_BYTES = 4 * 1024;

const withoutToken = new Readings(MAX_READING_BYTES, BODY_TIMEOUT_MS);

/**
 * The request's body; of no bytes when there is none. Nothing else reads a body, and this only once it is known who
 * calls, or that a route takes no token. Throws `unsupported_media_type` for a content
 * coding, `body_too_large` beyond 256 KiB, `body_timeout` when it is not whole
 * after 10 s or its client breaks off, and, without a token, `unavailable` while this isolate keeps too much of others.
 */
export async function readBody(c: Context): Promise<Uint8Array> {
  const { body, headers } = c.req.raw;
  if (!body) return new Uint8Array();
  refuseContentCoding(headers);
  const length = headers.get("content-length");
  if (Number(length) > MAX_BODY_BYTES) throw new Problem("body_too_large");
  const readings = c.get("caller") ? undefined : withoutToken;
  if (!readings && length !== null) return readAtOnce(c);
  const reading = readings?.start(Date.now());
  const keep = (bytes: number) => {
    if (!reading || readings?.mayKeep(reading, bytes, Date.now())) return;
    throw new Problem("unavailable", {
      detail: "Too many bodies arrive here at once without a token.",
      headers: { "retry-after": "1" },
    });
  };
  const reader = body.getReader();
  try {
    return await c.get("deadline").within(BODY_TIMEOUT_MS, readAll(reader, keep));
  } catch (cause) {
    // What is left of it is wanted no more.
    void reader.cancel().catch(() => {});
    throw cause instanceof Problem ? cause : new Problem("body_timeout", { cause });
  } finally {
    if (reading) readings?.end(reading);
  }
}

/** Reads the body at once, at half the cost, for a caller with a token who has said its length. HTTP delivers no more bytes. */
async function readAtOnce(c: Context): Promise<Uint8Array> {
  try {
    return new Uint8Array(await c.get("deadline").within(BODY_TIMEOUT_MS, c.req.raw.arrayBuffer()));
  } catch (cause) {
    throw new Problem("body_timeout", { cause });
  }
}

/**
 * Whether the request has no body, or one of no bytes, as many clients send with a POST without one; for a request whose
 * media type is not accepted. Nothing is read if the request names a type or a length. Otherwise this waits for the first
 * bytes, and throws `body_timeout` as readBody() does.
 */
export async function hasNoBytes(c: Context): Promise<boolean> {
  const { body, headers } = c.req.raw;
  const length = headers.get("content-length");
  if (!body || length === "0") return true;
  if (length !== null || headers.get("content-type")) return false;
  const reader = body.getReader();
  try {
    return (await c.get("deadline").within(BODY_TIMEOUT_MS, reader.read())).done;
  } catch (cause) {
    throw new Problem("body_timeout", { cause });
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** Counts while it reads. `keep` hears of all memory before it is taken, and may throw. */
async function readAll(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  keep: (bytes: number) => void,
): Promise<Uint8Array> {
  let kept = new Uint8Array();
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return kept.subarray(0, size);
    const end = size + value.length;
    if (end > MAX_BODY_BYTES) throw new Problem("body_too_large");
    if (end > kept.length) {
      const room = Math.min(MAX_BODY_BYTES, Math.max(end, FIRST_BYTES, 2 * kept.length));
      keep(room - kept.length);
      const grown = new Uint8Array(room);
      grown.set(kept.subarray(0, size));
      kept = grown;
    }
    kept.set(value, size);
    size = end;
  }
}

/**
 * Throws `unsupported_media_type` for a body in a content coding, such as gzip: none is decoded here, and the answer says so
 * (RFC 9110, 15.5.16).
 */
function refuseContentCoding(headers: Headers): void {
  const codings = (headers.get("content-encoding") ?? "").split(",").map((coding) => coding.trim());
  if (codings.every((coding) => /^(identity)?$/i.test(coding))) return;
  throw new Problem("unsupported_media_type", {
    detail: "Send the body as it is, without a Content-Encoding.",
    headers: { "accept-encoding": "identity" },
  });
}
