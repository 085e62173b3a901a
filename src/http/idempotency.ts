import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import type { Context } from "hono";
import * as v from "valibot";
import type { Edge, Parsed } from "../context.ts";
import { postgresFault } from "../db/client.ts";
import { batchOf, keeping, keptOf, readKept, ready, type Kept, type KeptRows } from "../db/kept.ts";
import { built, query, type Given } from "../db/query.ts";
import { Problem, type ProblemCode } from "../problem.ts";
import type { Batch, Queries } from "../tenant-db.ts";

/** `Idempotency-Key`: a string of RFC 9651, or, as many clients send it, the same without quotes. */
export const IdempotencyKey = v.object({
  "idempotency-key": v.optional(
    v.pipe(
      v.string(),
      v.regex(
        /^(?:"(?:[ !#-[\]-~]|\\["\\]){1,255}"|[!#-+\--~]{1,255})$/,
        "1 to 255 ASCII characters without spaces, commas or quotes, such as 8e03978e-40d5-43dd-bc93-6894a57f9324",
      ),
      v.transform((text) => (text.startsWith('"') ? text.slice(1, -1).replaceAll(/\\(.)/g, "$1") : text)),
      v.description("Makes it safe to repeat the request: within 24 hours it gets its first answer again."),
    ),
  ),
});
export const IDEMPOTENCY_PROBLEMS = [
  "invalid_header",
  "idempotency_key_in_use",
  "idempotency_key_reused",
] as const satisfies ProblemCode[];

/** The context of a route that parses `Idempotency-Key`. */
export type Keyed = Parsed<{ header: v.InferOutput<typeof IdempotencyKey> }>;

const claim = query((db, { key, hash }: Given<{ key: string; hash: string }>) =>
  db.execute(sql`select claim_key(${key}, ${hash}::bytea)`),
);

/** What claim_key() raises instead of claiming: the same request has its answer, or another one has the key. */
const ANSWERED = "PW001";
const TAKEN = "PW002";

/**
 * Runs the queries in one transaction, and returns the rows of each by its name. With an `Idempotency-Key` they run once:
 * all of them and the key commit together, and for 24 hours the caller's same request gets the first one's rows, however
 * many come at once; a failed one leaves no key. Each is one round trip. Throws `idempotency_key_reused` when the key
 * came with another request, `idempotency_key_in_use` when that one takes longer than a lock may be waited for.
 *
 *     const { invoice, lines } = await once(c, (q) => ({
 *       invoice: q.insert(invoices).values(…).returning(),
 *       lines: q.insert(invoiceLines).values(…).returning(),
 *     }));
 */
export async function once<B extends Batch>(c: Keyed, queries: Queries<B>): Promise<Kept<B>> {
  const db = c.get("db");
  const statements = ready(built(queries));
  const key = c.req.valid("header")["idempotency-key"];
  if (key === undefined) return keptOf(statements, await db.write(batchOf(statements)));
  const claimed = { "": claim({ key, hash: await hashOf(c) }) };
  try {
    const results = await db.write({ ...claimed, ...batchOf(keeping(statements, key)) });
    return keptOf(statements, results);
  } catch (cause) {
    const { code, constraint = "", where = "" } = postgresFault(cause) ?? {};
    if (code === TAKEN) throw new Problem("idempotency_key_reused", { cause });
    if (code === "55P03" && where.includes("claim_key("))
      throw new Problem("idempotency_key_in_use", { cause, headers: { "retry-after": "1" } });
    if (code !== ANSWERED) throw cause;
    c.header("Idempotency-Replayed", "true");
    return readKept(statements, JSON.parse(constraint) as KeptRows);
  }
}

/** Tells requests apart by what the client sent, whatever a handler makes of it; equal JSON in another order is equal. */
async function hashOf(c: Context<Edge>): Promise<string> {
  const body: unknown = c.req.raw.body ? await c.req.json() : null;
  const sorted = (_: string, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  const hash = createHash("sha256").update(
    JSON.stringify([c.req.method, new URL(c.req.url).search, c.req.path, body], sorted),
  );
  return `\\x${hash.digest("hex")}`;
}
